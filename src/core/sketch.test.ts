import fc from "fast-check";
import { expect, test } from "vitest";
import { emptySketch, meanOf, mergeSketches, quantileOf, sketchError, sketchOf } from "./sketch.ts";

const durations = fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), {
  minLength: 1,
  maxLength: 200,
});
const share = fc.double({ min: 0.01, max: 1, noNaN: true });

/** The definition, on all values. */
function trueQuantile(values: readonly number[], of: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * of) - 1] ?? 0;
}

test("a quantile is within the error, and the mean is exact", () => {
  fc.assert(
    fc.property(durations, share, (values, of) => {
      const sketch = sketchOf(values);
      const truth = trueQuantile(values, of);
      expect(Math.abs(quantileOf(sketch, of) - truth)).toBeLessThanOrEqual(truth * sketchError * 1.000001);
      expect(meanOf(sketch)).toBeCloseTo(values.reduce((sum, value) => sum + value, 0) / values.length, 3);
    }),
  );
});

test("merged sketches are the sketch of all", () => {
  fc.assert(
    fc.property(durations, durations, (a, b) => {
      const merged = mergeSketches(sketchOf(a), sketchOf(b));
      const whole = sketchOf([...a, ...b]);
      expect(merged.bins).toEqual(whole.bins);
      expect(merged.count).toBe(whole.count);
      expect(merged.sum).toBeCloseTo(whole.sum, 3);
    }),
  );
});

test("zeros, nothing, and what no clock measures", () => {
  expect(quantileOf(emptySketch, 0.95)).toBe(0);
  expect(meanOf(emptySketch)).toBe(0);
  expect(quantileOf(sketchOf([0, 0, 0, 5]), 0.5)).toBe(0);
  expect(mergeSketches(emptySketch, sketchOf([3])).count).toBe(1);
  expect(sketchOf([1e300, 1e15]).bins.size).toBe(1);
});
