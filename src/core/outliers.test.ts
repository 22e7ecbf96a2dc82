import fc from "fast-check";
import { expect, test } from "vitest";
import { type Health, noFailures, noteFailure, noteSuccess, suspects } from "./outliers.ts";

function failTimes(times: number, listed: readonly string[], start: Health = noFailures) {
  let state = { health: start, pauseMs: 0 };
  for (let i = 0; i < times; i += 1) state = noteFailure(state.health, "a", listed, 0);
  return state;
}

test("an instance is ejected after three failures in a row, longer each time, and forgiven after a success", () => {
  const both = ["a", "b"];
  expect([1, 2, 3, 4, 5].map((times) => failTimes(times, both).pauseMs)).toEqual([
    500, 500, 2000, 4000, 8000,
  ]);
  expect(failTimes(20, both).pauseMs).toBe(60_000);
  expect(failTimes(2, both, noteSuccess(failTimes(2, both).health, "a")).pauseMs).toBe(500);
});

test("three failures in a row make a suspect, or one silence, until something succeeds", () => {
  expect(suspects(failTimes(2, ["a"]).health)).toEqual([]);
  expect(suspects(failTimes(3, ["a"]).health)).toEqual(["a"]);
  const silent = noteFailure(noFailures, "a", ["a"], 0, true).health;
  expect(suspects(silent)).toEqual(["a"]);
  expect(suspects(noteSuccess(silent, "a"))).toEqual([]);
});

test("a lone instance is never ejected", () => {
  expect(failTimes(10, ["a"]).pauseMs).toBe(500);
});

test("never all are ejected at once, however failures come", () => {
  const ids = ["a", "b", "c"];
  const steps = fc.array(fc.tuple(fc.constantFrom(...ids), fc.boolean(), fc.nat(5000)), { maxLength: 100 });
  fc.assert(
    fc.property(steps, (events) => {
      let health = noFailures;
      let nowMs = 0;
      for (const [id, isFailure, ms] of events) {
        nowMs += ms;
        health = isFailure ? noteFailure(health, id, ids, nowMs).health : noteSuccess(health, id);
        expect(ids.some((one) => (health.get(one)?.ejectedUntilMs ?? 0) <= nowMs)).toBe(true);
      }
    }),
  );
});
