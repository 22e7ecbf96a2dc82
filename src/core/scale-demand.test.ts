import { describe, expect, it } from "vitest";
import { DemandHistory } from "./scale-demand.ts";

const secondMs = 1000;

/** So many requests come each second, each of which is open for ten; two minutes at each rate. */
function watch(rates: readonly number[], counted = true): { demand: DemandHistory; nowMs: number } {
  const demand = new DemandHistory();
  let [nowMs, arrived] = [0, 0];
  for (const rate of rates) {
    for (let second = 0; second < 120; second += 1) {
      demand.note(nowMs, 10 * rate, counted ? arrived : null);
      nowMs += secondMs;
      arrived += rate;
    }
  }
  return { demand, nowMs };
}

/** Slots that were needed within the window, on average. */
const meanOf = (demand: DemandHistory, nowMs: number, windowMs: number) => {
  const losses = demand.losses(nowMs, windowMs, 1);
  return losses.lostMs(0) / losses.oneMs;
};

describe("what was needed", () => {
  it("is what came, for as long as it was open", () => {
    const { demand, nowMs } = watch([1, 1, 3]);
    expect(meanOf(demand, nowMs, 120_000)).toBeCloseTo(30, 0);
    expect(meanOf(demand, nowMs, 360_000)).toBeCloseTo(50 / 3, 0);
    expect(meanOf(demand, nowMs, 60_000)).toBeCloseTo(30, 0);
  });

  it("does not take requests that pile up for more requests", () => {
    const demand = new DemandHistory();
    let arrived = 0;
    for (let second = 0; second < 900; second += 1) {
      // As many come as ever; from the sixth minute on they pile up.
      arrived += 1;
      demand.note(second * secondMs, second < 600 ? 10 : 10 + (second - 600), arrived);
    }
    expect(meanOf(demand, 900_000, 60_000)).toBeCloseTo(15, 0);
  });

  it("is what was open where nobody counts what comes, and nothing where nothing is known", () => {
    const { demand, nowMs } = watch([0.4, 0.8], false);
    expect(meanOf(demand, nowMs, 60_000)).toBeCloseTo(8);
    expect(new DemandHistory().losses(5, 60_000, 1).lostMs(0)).toBe(0);
  });

  it("is worked out anew when a step is over, and for another question", () => {
    const { demand, nowMs } = watch([1]);
    const before = demand.losses(nowMs, 60_000, 4);
    expect(demand.losses(nowMs + 1, 60_000, 4)).toBe(before);
    expect(demand.losses(nowMs, 120_000, 4)).not.toBe(before);
    const again = demand.losses(nowMs, 60_000, 4);
    expect(demand.losses(demand.changesAtMs(nowMs), 60_000, 4)).not.toBe(again);
  });

  it("is bounded, and survives clocks that stand still, jump and go back", () => {
    const demand = new DemandHistory();
    for (const [index, nowMs] of [1000, 1000, 500, 1e12, 1e12 + 1, 5].entries()) demand.note(nowMs, 3, index);
    const losses = demand.losses(2e12, 86_400_000, 1);
    expect(losses.oneMs).toBe(1_800_000);
    expect(losses.lostMs(0) / losses.oneMs).toBeCloseTo(3);
    expect(demand.changesAtMs(2e12)).toBeGreaterThan(2e12);
  });
});

describe("the pace", () => {
  it("is what came on average and what ended at best, and nothing before it is known", () => {
    const { demand, nowMs } = watch([1, 3]);
    const pace = demand.pace(nowMs);
    expect((pace?.comePerMs ?? 0) * secondMs).toBeCloseTo(2, 1);
    expect((pace?.endPerMs ?? 0) * secondMs).toBeCloseTo(3, 1);
    expect(watch([1], false).demand.pace(nowMs)).toBeNull();
    const young = new DemandHistory();
    young.note(0, 1, 0);
    expect(young.pace(40_000)).toBeNull();
  });
});
