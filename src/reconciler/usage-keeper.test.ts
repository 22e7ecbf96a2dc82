import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { Store } from "../ports/store.ts";
import { sampleDeployment, sampleInstance } from "../store/samples.ts";
import { openStore } from "../store/store.ts";
import { sampleRecord } from "../store/usage-contract.ts";
import { createUsageKeeper, type UsageKeeper } from "./usage-keeper.ts";

let store: Store;
let nowMs = 0;
let errors: string[] = [];

beforeEach(async () => {
  const home = await mkdtemp(join(tmpdir(), "berth-keeper-"));
  store = await openStore({ home, databaseUrl: null });
  await store.addAccount({ name: "ann", isAdmin: false, createdAtMs: 1 });
  await store.addDeployment(sampleDeployment(), null);
  nowMs = 1_000_000;
  errors = [];
  onTestFinished(async () => {
    await store.close();
    await rm(home, { recursive: true, force: true });
  });
});

function startKeeper(): UsageKeeper {
  const keeper = createUsageKeeper({
    store,
    clock: {
      now: () => nowMs,
      // As short as it may be: looks follow each other, and a poke is not what makes them.
      sleep: async (_ms, signal) => await sleep(5, undefined, { signal }),
    },
    prices: { models: new Map(), gpus: new Map([["other", 0.5]]) },
    limits: { recordsMs: 86_400_000, maxRecords: 1000, sumsMs: 10 * 86_400_000 },
    log: (_level, message, fields) => errors.push(`${message} ${JSON.stringify(fields)}`),
  });
  keeper.start();
  return keeper;
}

const running = (id: string, startedAtMs: number) =>
  sampleInstance({
    id,
    observed: {
      ...{ id, deploymentId: "d1", state: "running", endpoint: { kind: "unix", path: "/x" } },
      ...{ slots: 1, contextTokens: 1, loadProgress: null, note: null, startedAtMs },
      ...{ placement: { node: "n", gpus: [] }, readyAtMs: null, failure: null },
    },
  });

const always = { fromMs: 0, toMs: 1e12 };

test("an instance's run begins and ends with its process, across restarts of control", async () => {
  const keeper = startKeeper();
  await store.putInstance(running("i1", 999_000));
  keeper.poke();
  await eventually(async () => expect(await store.usage.openRuns()).toHaveLength(1));
  await keeper.stop();
  const [run] = await store.usage.openRuns();
  expect(run).toMatchObject({ account: "ann", gpu: "other", usdPerGpuHour: 0.5, startedAtMs: 999_000 });

  nowMs += 600_000;
  await store.removeInstance("i1");
  const next = startKeeper();
  await eventually(async () => expect(await store.usage.openRuns()).toEqual([]));
  await next.stop();
  // It ended while no control ran: it counts until it was last seen.
  expect(await store.usage.runs("ann", always)).toMatchObject([{ endedAtMs: 1_000_000 }]);
  expect(errors).toEqual([]);
});

test("a store that fails is tried again", async () => {
  const broken = vi.spyOn(store.usage, "openRuns").mockRejectedValueOnce(new Error("the disk is full"));
  const keeper = startKeeper();
  await store.putInstance(running("i1", 1));
  await eventually(async () => expect(await store.usage.runs("ann", always)).toHaveLength(1));
  await keeper.stop();
  expect(broken).toHaveBeenCalled();
  expect(errors.join()).toContain("the disk is full");
});

test("records are forgotten when they are old, sums are not", async () => {
  nowMs = 3 * 86_400_000;
  await store.usage.add([
    sampleRecord({ id: "old" }),
    sampleRecord({ id: "new", requestId: "q2", startedAtMs: nowMs }),
  ]);
  const keeper = startKeeper();
  await eventually(async () =>
    expect([...(await store.usage.costs("ann", ["q1", "q2"])).keys()]).toEqual(["q2"]),
  );
  await keeper.stop();
  const [sum] = await store.usage.sums({ account: "ann" }, always);
  expect(sum?.requests).toBe(2);
});
