import { expect, it } from "vitest";
import { judgeHealth, withLastWords } from "./health.ts";

const limits = { readyTimeoutMs: 60_000, probeIntervalMs: 5_000, silentProbes: 6 };
const loading = { now: 1_000, startedAtMs: 0, readyAtMs: null, silentBefore: 0 };
const ready = { now: 1_000_000, startedAtMs: 0, readyAtMs: 2_000, silentBefore: 0 };
const silent = { state: "silent" } as const;

it("asks a loading engine often at first and seldom later", () => {
  const pauseAt = (now: number) => judgeHealth(silent, { ...loading, now }, limits);
  expect([0, 500, 2_000, 30_000].map(pauseAt)).toEqual(
    [25, 25, 100, 250].map((probeInMs) => ({ kind: "loading", progress: null, probeInMs })),
  );
  expect(judgeHealth({ state: "loading", progress: 0.4 }, loading, limits)).toMatchObject({ progress: 0.4 });
});

it("takes what a ready engine reports, also at the last moment", () => {
  const health = { state: "ready", slots: 4, contextTokens: 2048, note: "fewer" } as const;
  const verdict = { kind: "ready", slots: 4, contextTokens: 2048, note: "fewer" };
  expect(judgeHealth(health, { ...loading, now: 99_999 }, limits)).toEqual(verdict);
  expect(judgeHealth(health, { ...ready, silentBefore: 5 }, limits)).toEqual(verdict);
});

it("gives up one that loads for longer than the limit", () => {
  const verdict = judgeHealth({ state: "loading", progress: 0.9 }, { ...loading, now: 60_000 }, limits);
  expect(verdict).toMatchObject({ kind: "end", failure: { code: "engine_timeout" } });
});

it("gives up one that was ready at the sixth answer in a row that is none, whatever its age", () => {
  expect(judgeHealth(silent, { ...ready, silentBefore: 4 }, limits)).toEqual({ kind: "silent" });
  expect(judgeHealth({ state: "loading", progress: null }, ready, limits)).toEqual({ kind: "silent" });
  expect(judgeHealth(silent, { ...ready, silentBefore: 5 }, limits)).toMatchObject({
    kind: "end",
    failure: { code: "engine_timeout", message: expect.stringContaining("6 health checks in 30 s") },
  });
});

it("says what was printed last by an engine that was given up", () => {
  const cause = { code: "engine_timeout", message: "It had hung.", next: "See." } as const;
  expect(withLastWords(cause, ["loading 40 %.", ""]).message).toBe(
    "It had hung. The last it printed was: loading 40 %.",
  );
  expect(withLastWords(cause, [])).toEqual({ ...cause, message: "It had hung. It had printed nothing." });
});
