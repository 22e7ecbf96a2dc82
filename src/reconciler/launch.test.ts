/** What a start that fails leaves behind: nothing, and no GPU that may be taken after all. */
import { expect, test } from "vitest";
import type { Deployment } from "../core/deployment.ts";
import type { Driver } from "../ports/driver.ts";
import type { Hub } from "../ports/hub.ts";
import type { Store } from "../ports/store.ts";
import { withDeadlines } from "./deadlines.ts";
import type { Facts } from "./facts.ts";
import { createLaunch } from "./launch.ts";
import type { ReconcilerOptions } from "./options.ts";
import { createRoom } from "./room.ts";

const deployment = {
  ...{ id: "d1", account: "ann", name: "ann/m" },
  config: { gpu: "H100-80GB", numGpus: 1, maxBatchSize: 1, weights: { repo: "o/n", revision: null } },
  resolved: { commit: "c", files: [], engine: "e", entryFile: "f", task: "t" },
  revisions: { wanted: { id: 1, args: { standardArgs: {}, extraArgs: [] } }, fallback: null },
} as unknown as Deployment;
const placement = { node: "n", gpus: ["g0"] };
const start = { do: "start", placement, reason: "min_instances is 1" } as const;

test("a start that the driver answers too late keeps its GPU until the driver has answered", async () => {
  let answer: (error?: Error) => void = () => undefined;
  const slow = {
    capacity: async () => [],
    start: () =>
      new Promise<void>((resolve, reject) => {
        answer = (error) => (error === undefined ? resolve() : reject(error));
      }),
  } as unknown as Driver;
  const clock = { now: () => 0, sleep: async () => undefined };
  const store = {
    putInstance: async () => undefined,
    removeInstance: async () => undefined,
    note: async () => null,
  } as unknown as Store;
  const tried: string[] = [];
  const facts = {
    tell: async () => undefined,
    countTry: async (_id: string, cause: { code: string }) => void tried.push(cause.code),
  } as unknown as Facts;
  const hub = { changed: async () => null, snapshotPath: () => "/s" } as unknown as Hub;
  const room = createRoom({ deployment: async () => null }, async () => 8);
  const options = {
    ...{ store, hub, clock, driver: withDeadlines(slow, clock), engines: new Map() },
    ...{ newInstanceId: () => "i1", log: () => undefined },
  } as unknown as ReconcilerOptions;
  await createLaunch(options, facts, room, () => undefined)(deployment, start);
  expect(tried).toEqual(["engine_crashed"]);
  expect(room.take("i2", "d2", placement)).toBe(false);
  answer(new Error("no"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(room.take("i2", "d2", placement)).toBe(true);
});
