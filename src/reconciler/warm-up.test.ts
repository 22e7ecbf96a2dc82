/** Asking an instance for a first answer: once at a time, its outcome kept until it is forgotten. */
import { expect, test } from "vitest";
import { unknownAbilities } from "../core/abilities.ts";
import { type Deployment, nothingSeen } from "../core/deployment.ts";
import { type Failure, failure } from "../core/failure.ts";
import type { ObservedInstance } from "../core/instance.ts";
import type { Driver } from "../ports/driver.ts";
import type { Engine } from "../ports/engine.ts";
import { createWarmUps } from "./warm-up.ts";

const mute = failure("warm_up_failed", "It did not answer.", "See the logs.");

const deployment: Deployment = {
  ...{ id: "d1", account: "ann", name: "ann/m", isPublic: false, desired: "run" },
  config: {
    ...{ gpu: "other", numGpus: 1, maxBatchSize: 4, baseModel: null, containerImage: null },
    weights: { repo: "o/n", revision: null },
  },
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  ...{ createdAtMs: 0, updatedAtMs: 0 },
  ...nothingSeen,
  resolved: { commit: "c", files: [], engine: "e", entryFile: "f", task: "text-generation" },
};

const observed: ObservedInstance = {
  ...{ id: "i1", deploymentId: "d1", state: "running", secret: "s", slots: 1, contextTokens: 8 },
  endpoint: { kind: "unix", path: "/s" },
  placement: { node: "n", gpus: [] },
  ...{ loadProgress: null, note: null, startedAtMs: 0, readyAtMs: 0, failure: null },
};

function start(instance: ObservedInstance, answers: (Failure | null)[]) {
  const asked: string[] = [];
  const works: Promise<void>[] = [];
  const engine = {
    name: "e",
    abilities: unknownAbilities,
    async warmUp({ servedName }: { servedName: string }) {
      asked.push(servedName);
      return answers.shift() ?? null;
    },
  } as unknown as Engine;
  const warmUps = createWarmUps(
    {
      engines: new Map([["e", engine]]),
      driver: { observe: async () => [instance] } as unknown as Driver,
      clock: { now: () => 7, sleep: async () => undefined },
      limits: { firstTokenMs: 1000 },
    },
    (_id, _what, work) => works.push(work()),
  );
  return { warmUps, asked, settled: () => Promise.all(works) };
}

test("an instance is asked by its full name, once at a time, and its answer is kept", async () => {
  const { warmUps, asked, settled } = start(observed, []);
  await warmUps.begin(deployment, "i1");
  await warmUps.begin(deployment, "i1");
  expect([...warmUps.underWay()]).toEqual(["i1"]);
  await settled();
  expect([asked, [...warmUps.underWay()], warmUps.answeredAtMs().get("i1") ?? null]).toEqual([
    ["ann/m"],
    [],
    7,
  ]);
  warmUps.forget("i1");
  expect(warmUps.answeredAtMs().get("i1") ?? null).toBeNull();
});

test("why it did not answer is kept as well", async () => {
  const { warmUps, settled } = start(observed, [mute]);
  await warmUps.begin(deployment, "i1");
  await settled();
  expect([...warmUps.failures()]).toEqual([["i1", mute]]);
});

test("an instance that has ended is not asked", async () => {
  const { warmUps, asked, settled } = start({ ...observed, state: "exited" }, []);
  await warmUps.begin(deployment, "i1");
  await settled();
  expect([asked, warmUps.answeredAtMs().get("i1") ?? null, warmUps.failures().size]).toEqual([[], null, 0]);
});
