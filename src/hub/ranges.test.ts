import fc from "fast-check";
import { expect, test } from "vitest";
import { type Range, RangeSet } from "./ranges.ts";

const size = 40;
const anyRange = fc
  .tuple(fc.nat(size), fc.nat(size))
  .map(([a, b]): Range => ({ start: Math.min(a, b), end: Math.max(a, b) }));
const anySteps = fc.array(fc.record({ add: fc.boolean(), range: anyRange }), { maxLength: 30 });

function bytesOf(ranges: readonly Range[]): number[] {
  return ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, index) => start + index));
}

test("is the set of bytes it is told, as few ranges as can be, and its gaps are the rest", () => {
  fc.assert(
    fc.property(anySteps, (steps) => {
      const set = new RangeSet();
      const model = new Set<number>();
      for (const { add, range } of steps) {
        if (add) set.add(range);
        else set.remove(range);
        for (const byte of bytesOf([range])) {
          if (add) model.add(byte);
          else model.delete(byte);
        }
      }
      const expected = [...model].sort((a, b) => a - b);
      expect(bytesOf(set.list())).toEqual(expected);
      expect(set.bytes).toBe(expected.length);
      for (const [index, { start }] of set.list().entries()) {
        expect(start).toBeGreaterThan(set.list()[index - 1]?.end ?? -1);
      }
      const rest = Array.from({ length: size }, (_, byte) => byte).filter((byte) => !model.has(byte));
      expect(bytesOf(set.gaps(size))).toEqual(rest);
      expect(set.prefix).toBe(rest[0] ?? size);
    }),
  );
});

test("gives gaps out in pieces", () => {
  const set = new RangeSet([{ start: 10, end: 20 }]);
  expect(set.firstGap(40, 4)).toEqual({ start: 0, end: 4 });
  expect(set.firstGap(40, 100)).toEqual({ start: 0, end: 10 });
  set.add({ start: 0, end: 10 });
  expect(set.firstGap(40, 100)).toEqual({ start: 20, end: 40 });
  expect(set.firstGap(20, 100)).toBeNull();
});
