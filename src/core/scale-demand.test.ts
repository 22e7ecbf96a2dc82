import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DemandHistory } from "./scale-demand.ts";

/** Two minutes at each level, a request of ten seconds each for it; then what covers a part of the time. */
function covers(levels: readonly number[], part: number, counted = true): number {
  const demand = new DemandHistory();
  let nowMs = 0;
  let arrived = 0;
  for (const level of levels) {
    for (let second = 0; second < 120; second += 1) {
      demand.note(nowMs, level, counted ? arrived : null);
      nowMs += 1000;
      arrived += level / 10;
    }
  }
  return demand.covering(nowMs, levels.length * 120_000, part);
}

describe("what covers a part of the time", () => {
  it("is the level that so much of it does not exceed", () => {
    expect(covers([2, 2, 2, 20], 0.5)).toBeCloseTo(2, 0);
    expect(covers([2, 2, 2, 20], 0.95)).toBeCloseTo(20, 0);
    expect(covers([], 0.9)).toBe(0);
  });

  it("does not take requests that pile up for more requests", () => {
    const demand = new DemandHistory();
    let arrived = 0;
    for (let second = 0; second < 900; second += 1) {
      // As many come as ever; from the sixth minute on they pile up.
      arrived += 1;
      demand.note(second * 1000, second < 600 ? 10 : 10 + (second - 600), arrived);
    }
    expect(demand.covering(900_000, 900_000, 1)).toBeLessThanOrEqual(15);
  });

  it("is what was open where nobody counts what comes", () => {
    expect(covers([4, 8], 0.99, false)).toBeCloseTo(8);
  });

  it("never exceeds the most that was open, and grows with the part", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 8 }), (levels) => {
        const [half, most] = [covers(levels, 0.5), covers(levels, 0.95)];
        expect(half).toBeLessThanOrEqual(most);
        expect(most).toBeLessThanOrEqual(Math.max(...levels) + 1e-9);
      }),
    );
  });

  it("is bounded, and survives clocks that stand still, jump and go back", () => {
    const demand = new DemandHistory();
    for (const nowMs of [1000, 1000, 500, 1e12, 1e12 + 1, 5]) demand.note(nowMs, 3, null);
    expect(demand.covering(2e12, 1_200_000, 0.5)).toBe(3);
    expect(demand.changesAtMs(2e12)).toBeGreaterThan(2e12);
  });
});
