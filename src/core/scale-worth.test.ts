import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Losses, worthwhile } from "./scale-worth.ts";

const tickMs = 5_000;
/** Instances of ten slots; each tick needed so many slots on average. */
const lossesOf = (...levels: readonly number[]) =>
  new Losses(
    levels.map((level) => level * tickMs),
    tickMs,
    10,
  );
const levels = fc.array(fc.integer({ min: 0, max: 120 }), { minLength: 1, maxLength: 60 });

describe("what would have been lost", () => {
  it("is what finds no slot within two seconds", () => {
    expect(lossesOf(25).lostMs(0)).toBe(25 * tickMs);
    // Ten slots do 50 s of work in a tick and hold 20 s more.
    expect(lossesOf(25).lostMs(1)).toBe(125_000 - 50_000 - 20_000);
    expect(lossesOf(14).lostMs(1)).toBe(0);
    expect(lossesOf(14, 14).lostMs(1)).toBe(20_000);
    expect(lossesOf(14, 6, 14).lostMs(1)).toBe(0);
  });

  it("is less with each further instance, by less and less", () => {
    fc.assert(
      fc.property(levels, (needed) => {
        const losses = lossesOf(...needed);
        const saved = Array.from({ length: 14 }, (_, at) => losses.lostMs(at) - losses.lostMs(at + 1));
        for (const [at, ms] of saved.entries()) {
          expect(ms).toBeGreaterThanOrEqual(-1e-6);
          expect(ms).toBeLessThanOrEqual((saved[at - 1] ?? Number.POSITIVE_INFINITY) + 1e-6);
        }
      }),
    );
  });
});

describe("what is worth it", () => {
  it("is an instance that was needed for more than the part", () => {
    // Every tenth tick needs a second instance, whole.
    const needed = Array.from({ length: 60 }, (_, at) => (at % 10 === 9 ? 24 : 5));
    expect(worthwhile(lossesOf(...needed), 0.15, 0, 8)).toBe(1);
    expect(worthwhile(lossesOf(...needed), 0.05, 0, 8)).toBe(2);
    expect(worthwhile(lossesOf(), 0.05, 0, 8)).toBe(0);
  });

  it("keeps what is there for half of what a start takes, and so does not go up and down", () => {
    const needed = Array.from({ length: 60 }, (_, at) => (at % 10 === 9 ? 24 : 5));
    const part = 0.12;
    expect(worthwhile(lossesOf(...needed), part, 1, 8)).toBe(1);
    expect(worthwhile(lossesOf(...needed), part, 2, 8)).toBe(2);
    fc.assert(
      fc.property(levels, fc.double({ min: 0.001, max: 0.9, noNaN: true }), fc.nat(12), (some, one, live) => {
        const losses = lossesOf(...some);
        const wanted = worthwhile(losses, one, live, 12);
        expect(wanted).toBeLessThanOrEqual(12);
        expect(worthwhile(losses, one, wanted, 12)).toBe(wanted);
        expect(worthwhile(losses, one / 2, 0, 12)).toBeGreaterThanOrEqual(worthwhile(losses, one, 0, 12));
      }),
    );
  });
});
