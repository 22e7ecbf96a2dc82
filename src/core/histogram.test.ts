import fc from "fast-check";
import { expect, test } from "vitest";
import { Histogram } from "./histogram.ts";

test("each count is that of the values at most its bound", () => {
  const values = fc.array(fc.oneof(fc.double({ noNaN: true, min: -10, max: 100 }), fc.constantFrom(1, 2, 5)));
  fc.assert(
    fc.property(values, (given) => {
      const histogram = new Histogram([1, 2, 5]);
      for (const value of given) histogram.observe(value);
      const atMost = (bound: number) => given.filter((value) => value <= bound).length;
      expect(histogram.cumulative()).toEqual([atMost(1), atMost(2), atMost(5), given.length]);
      expect(histogram.sum).toBeCloseTo(
        given.reduce((sum, value) => sum + value, 0),
        6,
      );
    }),
  );
});
