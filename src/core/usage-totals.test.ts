import fc from "fast-check";
import { expect, test } from "vitest";
import { quantileOf } from "./sketch.ts";
import type { UsageRecord } from "./usage.ts";
import { addTotals, byHour, hourLengthMs, hourOf, noTotals, splitWindow, totalsOf } from "./usage-totals.ts";

const sample: UsageRecord = {
  id: "r1",
  requestId: "q1",
  account: "ann",
  tokenId: "t1",
  scopeId: null,
  deploymentId: "d1",
  model: "ann/m",
  instanceId: "i1",
  kind: "llm",
  startedAtMs: 1_000,
  durationMs: 1_100,
  status: 200,
  error: null,
  inputTokens: 7,
  outputTokens: 11,
  cachedTokens: 3,
  waitedMs: 20,
  ttftMs: 100,
  costNanoUsd: 5,
};

test("what requests come to", () => {
  const totals = totalsOf([
    sample,
    { ...sample, durationMs: 300, outputTokens: 1 },
    { ...sample, status: 502, error: "engine_failed", ttftMs: null, outputTokens: 0, costNanoUsd: 0 },
    { ...sample, error: "engine_failed" },
    { ...sample, status: 499 },
  ]);
  expect(totals).toMatchObject({
    requests: 5,
    errors: 2,
    inputTokens: 35,
    outputTokens: 34,
    costNanoUsd: 20,
  });
  // Times are those of answers that were whole.
  expect([totals.timesMs.count, totals.timesMs.sum]).toEqual([2, 1400]);
  expect(totals.ttftsMs.count).toBe(2);
  expect([totals.perTokenMs.count, totals.perTokenMs.sum]).toEqual([1, 100]);
});

test("the time of a token of an embedding is that of its input at the engine", () => {
  const { perTokenMs } = totalsOf([{ ...sample, kind: "embeddings", outputTokens: 0, inputTokens: 10 }]);
  expect(perTokenMs.sum).toBe(108);
});

const anyRecord = fc
  .record({
    startedAtMs: fc.integer({ min: 0, max: 5 * hourLengthMs }),
    durationMs: fc.integer({ min: 0, max: 100_000 }),
    outputTokens: fc.integer({ min: 0, max: 50 }),
    account: fc.constantFrom("ann", "bob"),
    kind: fc.constantFrom("llm" as const, "embeddings" as const, "time" as const),
    status: fc.constantFrom(200, 429, 499, 502),
  })
  .map((some) => ({ ...sample, ...some }));

test("hours, added up, are the whole", () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { maxLength: 50 }), (records) => {
      const hours = byHour(records);
      for (const { hour, records: own } of hours)
        expect(own.every((record) => hourOf(record.startedAtMs) === hour.hourMs)).toBe(true);
      const added = hours.map((one) => totalsOf(one.records)).reduce(addTotals, noTotals);
      const whole = totalsOf(records);
      expect({ ...added, timesMs: 0, ttftsMs: 0, perTokenMs: 0 }).toEqual({
        ...whole,
        timesMs: 0,
        ttftsMs: 0,
        perTokenMs: 0,
      });
      expect(quantileOf(added.timesMs, 0.95)).toBe(quantileOf(whole.timesMs, 0.95));
      expect(added.perTokenMs.count).toBe(whole.perTokenMs.count);
    }),
  );
});

const time = fc.integer({ min: 0, max: 6 * hourLengthMs });

test("with its records kept, a window is answered to the millisecond", () => {
  fc.assert(
    fc.property(time, time, time, (a, b, atMs) => {
      const window = { fromMs: Math.min(a, b), toMs: Math.max(a, b) };
      const { hours, ends } = splitWindow(window, 0);
      expect([hourOf(hours.fromMs) === hours.fromMs || hours.fromMs === hours.toMs]).toEqual([true]);
      const isIn = (part: { fromMs: number; toMs: number }) => atMs >= part.fromMs && atMs < part.toMs;
      expect([hours, ...ends].filter(isIn)).toHaveLength(isIn(window) ? 1 : 0);
    }),
  );
});

test("without them, each end is a whole hour or none, whichever is nearer", () => {
  fc.assert(
    fc.property(time, time, (a, b) => {
      const window = { fromMs: Math.min(a, b), toMs: Math.max(a, b) };
      const { hours, ends } = splitWindow(window, Number.MAX_SAFE_INTEGER);
      expect(ends).toEqual([]);
      expect(Math.abs(hours.toMs - hours.fromMs - (window.toMs - window.fromMs))).toBeLessThanOrEqual(
        hourLengthMs,
      );
    }),
  );
});
