import fc from "fast-check";
import { expect, test } from "vitest";
import { noteRequest, openBudget, takeRetry } from "./retry-budget.ts";

/** Retries that are granted when `ask` are wanted at once. */
function granted(ask: number, slots: number, start = openBudget(slots, 0), nowMs = 0): number {
  let budget = start;
  for (let i = 0; i < ask; i += 1) {
    const next = takeRetry(budget, slots, nowMs);
    if (next === null) return i;
    budget = next;
  }
  return ask;
}

test("what one dying instance had in flight is tried again, and no more", () => {
  expect(granted(1000, 64)).toBe(64);
  expect(granted(1000, 1)).toBe(10);
});

test("it fills up with time and with requests", () => {
  let budget = { left: 0, atMs: 0 };
  expect(takeRetry(budget, 10, 1999)).toBeNull();
  expect(takeRetry(budget, 10, 2000)).toEqual({ left: 0, atMs: 2000 });
  for (let i = 0; i < 5; i += 1) budget = noteRequest(budget, 10, 0);
  expect(granted(5, 10, budget)).toBe(1);
});

test("however requests and failures follow each other, retries stay within a fifth of the requests and the fills", () => {
  const steps = fc.array(fc.record({ ms: fc.nat(500), fails: fc.boolean() }), { maxLength: 300 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 50 }), (requests, slots) => {
      let budget = openBudget(slots, 0);
      let [nowMs, retries] = [0, 0];
      for (const { ms, fails } of requests) {
        nowMs += ms;
        budget = noteRequest(budget, slots, nowMs);
        const next = fails ? takeRetry(budget, slots, nowMs) : null;
        if (next === null) continue;
        budget = next;
        retries += 1;
      }
      const capacity = Math.max(10, slots);
      expect(retries).toBeLessThanOrEqual(
        capacity + requests.length * 0.2 + (capacity * nowMs) / 20_000 + 1e-6,
      );
    }),
  );
});
