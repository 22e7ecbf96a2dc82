import fc from "fast-check";
import { expect, test } from "vitest";
import { type Deployment, nothingSeen } from "./deployment.ts";
import type { InstanceRecord, RecordedObservation } from "./instance.ts";
import { addToRate, quiet, readRate } from "./live-rate.ts";
import { gpuUsdPerHour, noPrices, tokenPricesOf } from "./prices.ts";
import { decideRuns, type InstanceRun, lookEveryMs, runMsWithin } from "./rent.ts";

const deployment: Deployment = {
  id: "d1",
  account: "ann",
  name: "ann/m",
  isPublic: false,
  config: {
    gpu: "H100-80GB",
    numGpus: 2,
    maxBatchSize: 4,
    weights: { repo: "a/b", revision: null },
    baseModel: null,
    extraArgs: [],
  },
  settings: { minInstances: 0, maxInstances: 1, inactiveShutdownS: null },
  desired: "run",
  createdAtMs: 0,
  updatedAtMs: 0,
  ...nothingSeen,
};
const deployments = new Map([["d1", deployment]]);

function instance(id: string, startedAtMs: number, state: RecordedObservation["state"]): InstanceRecord {
  return {
    id,
    deploymentId: "d1",
    intent: "run",
    createdAtMs: 0,
    drainSinceMs: null,
    observed: {
      id,
      deploymentId: "d1",
      state,
      endpoint: { kind: "unix", path: "/x" },
      slots: 1,
      contextTokens: 1,
      loadProgress: null,
      note: null,
      placement: { node: "n", gpus: [] },
      startedAtMs,
      readyAtMs: null,
      failure: null,
    },
  };
}

const decide = (open: InstanceRun[], instances: InstanceRecord[], nowMs: number) =>
  decideRuns(open, instances, deployments, () => 2, nowMs);

test("a run begins with its process and ends when it is seen to have ended", () => {
  const [begun] = decide([], [instance("i1", 100, "starting")], 150);
  expect(begun).toMatchObject({
    account: "ann",
    gpus: 2,
    usdPerGpuHour: 2,
    startedAtMs: 100,
    endedAtMs: null,
  });
  const [going] = decide(begun === undefined ? [] : [begun], [instance("i1", 100, "running")], 200);
  expect(going).toMatchObject({ seenAtMs: 200, endedAtMs: null });
  const open = going === undefined ? [] : [going];
  expect(decide(open, [instance("i1", 100, "exited")], 250)).toMatchObject([{ endedAtMs: 250 }]);
  expect(decide(open, [], 250)).toMatchObject([{ endedAtMs: 250 }]);
});

test("what ended while nobody was looking counts until it was last seen", () => {
  const open = decide([], [instance("i1", 100, "running")], 200);
  expect(decide(open, [], 201 + 2 * lookEveryMs)).toMatchObject([{ endedAtMs: 200 }]);
});

test("an instance that was never seen, or belongs to nothing, is no run", () => {
  expect(decide([], [{ ...instance("i1", 1, "running"), observed: null }], 5)).toEqual([]);
  expect(decideRuns([], [instance("i1", 1, "running")], new Map(), () => 0, 5)).toEqual([]);
});

test("over any history and at any loss of looks, never more time counts than was used", () => {
  const looks = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 30 });
  const life = fc.tuple(fc.integer({ min: 0, max: 500_000 }), fc.integer({ min: 1, max: 500_000 }));
  fc.assert(
    fc.property(looks, life, (pauses, [startedAtMs, lengthMs]) => {
      const endedAtMs = startedAtMs + lengthMs;
      let nowMs = 0;
      let runs = new Map<string, InstanceRun>();
      let lastPause = 0;
      for (const pause of pauses) {
        nowMs += pause;
        lastPause = pause;
        const living =
          nowMs >= startedAtMs && nowMs < endedAtMs ? [instance("i1", startedAtMs, "running")] : [];
        const open = [...runs.values()].filter((run) => run.endedAtMs === null);
        runs = new Map([
          ...runs,
          ...decide(open, living, nowMs).map((run) => [run.instanceId, run] as const),
        ]);
      }
      const all = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER };
      const counted = [...runs.values()].reduce((sum, run) => sum + runMsWithin(run, all, nowMs), 0);
      const used = Math.max(0, Math.min(nowMs, endedAtMs) - startedAtMs);
      // Seen late by at most the watch, never by more.
      expect(counted).toBeLessThanOrEqual(used + 2 * lookEveryMs);
      expect(runs.size).toBeLessThanOrEqual(1);
      expect(lastPause).toBeGreaterThan(0);
    }),
  );
});

test("a window cuts a run at both ends, and windows side by side are the whole", () => {
  const [run] = decide([], [instance("i1", 100, "running")], 150);
  if (run === undefined) throw new Error("there is no run");
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2000 }), (cutMs) => {
      const nowMs = 1000;
      const parts = [
        { fromMs: 0, toMs: cutMs },
        { fromMs: cutMs, toMs: 5000 },
      ].map((window) => runMsWithin(run, window, nowMs));
      expect((parts[0] ?? 0) + (parts[1] ?? 0)).toBe(900);
    }),
  );
});

test("prices are a model's own, else everyone's, else nothing", () => {
  const own = { inputUsd: 1, outputUsd: 2, cachedUsd: 0 };
  const any = { inputUsd: 3, outputUsd: 4, cachedUsd: 0 };
  const models = new Map([
    ["ann/m", own],
    ["*", any],
  ]);
  expect(tokenPricesOf(models, "ann/m")).toBe(own);
  expect(tokenPricesOf(models, "ann/n")).toBe(any);
  expect(tokenPricesOf(noPrices.models, "ann/n").inputUsd).toBe(0);
  expect(gpuUsdPerHour(noPrices, "H100-80GB")).toBe(0);
});

test("the live rate is that of the last minute", () => {
  const record = {
    ...{ id: "r", requestId: "q", account: "ann", tokenId: "t", scopeId: null, deploymentId: "d1" },
    ...{ model: "ann/m", instanceId: null, kind: "llm" as const, status: 200, error: null },
    ...{ inputTokens: 1, outputTokens: 120, cachedTokens: 0, waitedMs: 0, costNanoUsd: 0 },
    ...{ startedAtMs: 99_000, durationMs: 1_000, ttftMs: 500 },
  };
  const rate = addToRate(quiet, [record, record, { ...record, ttftMs: null, startedAtMs: 1 }], 100_500);
  expect(readRate(rate, 101_000)).toEqual({ requestsPerS: 2 / 60, tokensPerS: 4, ttftS: 0.5 });
  expect(readRate(rate, 200_000)).toEqual({ requestsPerS: 0, tokensPerS: 0, ttftS: null });
  expect(addToRate(rate, [], 300_000).seconds).toEqual([]);
});
