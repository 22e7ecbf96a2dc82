/** What every store must do with usage; part of the contract that SQLite and PostgreSQL pass. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { InstanceRun } from "../core/rent.ts";
import { quantileOf } from "../core/sketch.ts";
import type { UsageRecord } from "../core/usage.ts";
import { hourLengthMs, totalsOf } from "../core/usage-totals.ts";
import type { Store } from "../ports/store.ts";

export function sampleRecord(more: Partial<UsageRecord> = {}): UsageRecord {
  return {
    id: "r1",
    requestId: "q1",
    account: "ann",
    tokenId: "t1",
    scopeId: null,
    deploymentId: "d1",
    model: "ann/m",
    instanceId: "i1",
    kind: "llm",
    startedAtMs: 10_000,
    durationMs: 1000,
    status: 200,
    error: null,
    inputTokens: 10,
    outputTokens: 20,
    cachedTokens: 3,
    waitedMs: 5,
    ttftMs: 100,
    costNanoUsd: 50,
    ...more,
  };
}

const sampleRun: InstanceRun = {
  instanceId: "i1",
  deploymentId: "d1",
  account: "ann",
  gpu: "H100-80GB",
  gpus: 2,
  usdPerGpuHour: 2.25,
  startedAtMs: 1000,
  seenAtMs: 2000,
  endedAtMs: null,
};

const always = { fromMs: 0, toMs: 1000 * hourLengthMs };
const keepAll = { recordsSinceMs: 0, maxRecords: 1_000_000, sumsSinceMs: 0, maxSteps: 10 };

/** 30 requests over three hours of two deployments, two accounts and two tokens. */
const spread = Array.from({ length: 30 }, (_, index) =>
  sampleRecord({
    id: `s${index}`,
    requestId: `q${index}`,
    startedAtMs: index * 6 * 60_000,
    durationMs: 100 + index,
    account: index % 5 === 0 ? "bob" : "ann",
    tokenId: index % 2 === 0 ? "t1" : "t2",
    deploymentId: index % 3 === 0 ? "d2" : "d1",
    kind: index % 4 === 0 ? "embeddings" : "llm",
    status: index % 7 === 0 ? 502 : 200,
  }),
);

export function testUsage(store: () => Store): void {
  const usage = () => store().usage;

  test("a record counts once, however often and in whatever batches it comes", async () => {
    const twice = [sampleRecord(), sampleRecord({ id: "r2" }), sampleRecord()];
    expect((await usage().add(twice)).map((record) => record.id)).toEqual(["r1", "r2"]);
    expect(await usage().add([sampleRecord(), sampleRecord({ id: "r3" })])).toEqual([
      sampleRecord({ id: "r3" }),
    ]);
    expect(await usage().add([])).toEqual([]);
    expect((await usage().totals("d1", always)).get("llm")).toMatchObject({ requests: 3, costNanoUsd: 150 });
    expect(await usage().costs("ann", ["q1", "q2"])).toEqual(new Map([["q1", 150]]));
  });

  test("batches that come at the same time are all counted", async () => {
    const batches = Array.from({ length: 10 }, (_, batch) =>
      Array.from({ length: 50 }, (_, index) => sampleRecord({ id: `${batch} ${index}` })),
    );
    await Promise.all([...batches, ...batches].map((batch) => usage().add(batch)));
    expect((await usage().totals("d1", always)).get("llm")?.requests).toBe(500);
  });

  test("a window's figures are those of its records, wherever it begins and ends", async () => {
    await usage().add(spread);
    const time = fc.integer({ min: 0, max: 4 * hourLengthMs });
    await fc.assert(
      fc.asyncProperty(time, time, async (a, b) => {
        const window = { fromMs: Math.min(a, b), toMs: Math.max(a, b) };
        const own = spread.filter(
          ({ startedAtMs, deploymentId }) =>
            deploymentId === "d1" && startedAtMs >= window.fromMs && startedAtMs < window.toMs,
        );
        const totals = await usage().totals("d1", window);
        const sums = await usage().sums({ deploymentIds: ["d1", "d3"] }, window);
        for (const kind of ["llm", "embeddings"] as const) {
          const truth = totalsOf(own.filter((record) => record.kind === kind));
          const told = totals.get(kind);
          expect(told?.requests ?? 0).toBe(truth.requests);
          expect(told?.timesMs.sum ?? 0).toBeCloseTo(truth.timesMs.sum, 6);
          if (told !== undefined)
            expect(quantileOf(told.timesMs, 0.95)).toBe(quantileOf(truth.timesMs, 0.95));
          const sum = sums.find((one) => one.kind === kind);
          expect([sum?.requests ?? 0, sum?.errors ?? 0, sum?.inputTokens ?? 0]).toEqual([
            truth.requests,
            truth.errors,
            truth.inputTokens,
          ]);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("sums of an account are its own, and of a token that token's", async () => {
    await usage().add(spread);
    const count = async (of: Parameters<ReturnType<typeof usage>["sums"]>[0]) =>
      (await usage().sums(of, { fromMs: 1000, toMs: 3 * hourLengthMs - 1000 })).reduce(
        (total, sum) => total + sum.requests,
        0,
      );
    // The request of the very first moment is bob's, and not in the window.
    expect(await count({ account: "bob" })).toBe(5);
    expect(await count({ account: "ann" })).toBe(24);
    expect(await count({ account: "ann", tokenId: "t1" })).toBe(12);
    expect(await count({ account: "carl" })).toBe(0);
    expect(await count({ deploymentIds: [] })).toBe(0);
    expect(await usage().costs("bob", ["q1", "q5"])).toEqual(new Map([["q5", 50]]));
  });

  test("what a scoped JWT has spent is kept, also when its records are not", async () => {
    await usage().add([
      sampleRecord({ id: "a", scopeId: "s1" }),
      sampleRecord({ id: "b", scopeId: "s1" }),
      sampleRecord({ id: "c", scopeId: "s2", costNanoUsd: 0 }),
    ]);
    await usage().add([sampleRecord({ id: "a", scopeId: "s1" }), sampleRecord({ id: "d", scopeId: "s1" })]);
    await usage().prune({ ...keepAll, recordsSinceMs: always.toMs });
    expect(await usage().spentByScope(["s1", "s2", "s3"])).toEqual(new Map([["s1", 150]]));
    expect(await usage().costs("ann", ["q1"])).toEqual(new Map());
  });

  test("without its records an hour still counts, whole", async () => {
    await usage().add(spread);
    const window = { fromMs: 0.25 * hourLengthMs, toMs: 1.75 * hourLengthMs };
    expect((await usage().totals("d1", window)).get("llm")?.requests).toBe(7);
    expect(await usage().prune({ ...keepAll, recordsSinceMs: 2 * hourLengthMs })).toBe(true);
    expect((await usage().totals("d1", window)).get("llm")?.requests).toBe(10);
    // A mark that was set is not taken back: those records are gone.
    expect(await usage().prune(keepAll)).toBe(true);
    expect((await usage().totals("d1", window)).get("llm")?.requests).toBe(10);
    await usage().prune({ ...keepAll, sumsSinceMs: hourLengthMs });
    expect((await usage().totals("d1", { fromMs: 0, toMs: hourLengthMs })).size).toBe(0);
  });

  test("at most so many records are kept, the newest, to the hour", async () => {
    await usage().add(spread);
    await usage().prune({ ...keepAll, maxRecords: 20 });
    const kept = await usage().costs(
      "ann",
      spread.map((record) => record.requestId),
    );
    expect([...kept.keys()].every((id) => Number(id.slice(1)) >= 10)).toBe(true);
    expect(kept.size).toBe(16);
    expect(await usage().prune({ ...keepAll, maxSteps: 0 })).toBe(false);
  });

  test("runs are open until they have ended, and found by the window they touch", async () => {
    const other = { ...sampleRun, instanceId: "i2", account: "bob" };
    await usage().putRuns([sampleRun, other]);
    const ended = { ...sampleRun, endedAtMs: 5000 };
    await usage().putRuns([ended]);
    expect(await usage().openRuns()).toEqual([other]);
    expect(await usage().runs("ann", { fromMs: 0, toMs: 1000 })).toEqual([]);
    expect(await usage().runs("ann", { fromMs: 0, toMs: 1001 })).toEqual([ended]);
    expect(await usage().runs("ann", { fromMs: 5000, toMs: 9000 })).toEqual([]);
    expect(await usage().runs("bob", { fromMs: 5000, toMs: 9000 })).toEqual([other]);
    expect([await usage().firstUseMs("ann"), await usage().firstUseMs("carl")]).toEqual([1000, null]);
  });

  test("every record reads back as it was written", async () => {
    const text = fc.string({ unit: "binary", maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: null }),
        async (model, ttftMs) => {
          const record = sampleRecord({
            id: String(Math.random()),
            model,
            error: model,
            ttftMs: ttftMs === null ? null : ttftMs + 0,
          });
          expect(await usage().add([record])).toEqual([record]);
          expect((await usage().sums({ account: "ann" }, { fromMs: 9_999, toMs: 10_001 })).length).toBe(1);
        },
      ),
      { numRuns: 20 },
    );
  });
}
