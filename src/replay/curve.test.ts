import { expect, it } from "vitest";
import { chosenFor, compare, frontOf, hoursFor, shareAt, type Tried } from "./curve.ts";

const tried = (tunedHours: number, tunedShare: number, hours = tunedHours, share = tunedShare): Tried => ({
  settings: {},
  tuned: { gpuHours: tunedHours, share: tunedShare },
  scored: { gpuHours: hours, share },
});

it("chooses on the one half alone, and counts the other", () => {
  const front = frontOf([tried(3, 0.6), tried(1, 0.5, 1, 0.1), tried(2, 0.4, 2, 1), tried(3, 0.9, 4, 0.7)]);
  expect(front.map(({ tuned }) => tuned.gpuHours)).toEqual([1, 3]);
  expect(chosenFor(0.8, front)?.scored).toEqual({ gpuHours: 4, share: 0.7 });
  expect(chosenFor(0.95, front)).toBeUndefined();
});

it("compares at equal hours and at equal share, by straight lines", () => {
  const own = [tried(1, 0.5), tried(3, 0.9)];
  expect(shareAt(2, own)).toBeCloseTo(0.7);
  expect(shareAt(4, own)).toBeNull();
  expect(shareAt(0.5, own)).toBeNull();
  expect(hoursFor(0.7, own)).toBeCloseTo(2);
  expect(hoursFor(0.95, own)).toBeNull();
  const found = compare(own, [tried(2, 0.6), tried(5, 0.7)]);
  expect(found.points.map(({ verdict }) => verdict)).toEqual(["better", "not compared"]);
  expect(found.shareMore).toBeCloseTo(0.1);
  expect(found.hoursSaved).toBeCloseTo(0.25);
});

it("calls as much for much less better, for hardly less equal, and less worse", () => {
  const own = [tried(1, 0.5), tried(2, 1), tried(4, 1)];
  const { points } = compare(own, [tried(2.1, 1), tried(3, 1), tried(1.5, 0.8)]);
  expect(points.map(({ verdict }) => verdict)).toEqual(["equal", "better", "worse"]);
  expect(points[2]?.share).toBeCloseTo(0.75);
});
