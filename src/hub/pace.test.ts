import fc from "fast-check";
import { expect, test } from "vitest";
import { isTooSlow, nextPace, type Pace, shareWidth, startPace } from "./pace.ts";

function run(bytesPerS: (width: number) => number, looks: number, maxWidth = 32): Pace {
  let pace = startPace(maxWidth);
  for (let look = 0; look < looks; look += 1) {
    pace = nextPace(pace, { bytesPerS: bytesPerS(pace.width), pushedBack: false, hasWork: true }, maxWidth);
  }
  return pace;
}

test("opens more connections while each has its own limit, up to the bound", () => {
  expect(run((width) => width * 50e6, 10).width).toBe(32);
});

test("stays where more connections bring nothing", () => {
  expect(run(() => 500e6, 200).width).toBeLessThanOrEqual(18);
  expect(run(() => 500e6, 10).width).toBe(12);
});

test("does not grow without work or bytes", () => {
  const pace: Pace = { width: 8, rateBefore: 0, rest: 0 };
  expect(nextPace(pace, { bytesPerS: 1, pushedBack: false, hasWork: false }, 32).width).toBe(8);
  expect(nextPace(pace, { bytesPerS: 0, pushedBack: false, hasWork: true }, 32).width).toBe(8);
});

test("gives way when servers push back, and rests before it grows again", () => {
  const pushed = nextPace(startPace(16), { bytesPerS: 1e6, pushedBack: true, hasWork: true }, 16);
  expect(pushed.width).toBe(4);
  expect(nextPace(pushed, { bytesPerS: 1e6, pushedBack: false, hasWork: true }, 16).width).toBe(4);
});

test("is always between one and the bound", () => {
  const look = fc.record({
    bytesPerS: fc.double({ min: 0, max: 1e10, noNaN: true }),
    pushedBack: fc.boolean(),
    hasWork: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.array(look, { maxLength: 50 }), (maxWidth, looks) => {
      let pace = startPace(maxWidth);
      for (const one of looks) {
        pace = nextPace(pace, one, maxWidth);
        expect(pace.width).toBeGreaterThanOrEqual(1);
        expect(pace.width).toBeLessThanOrEqual(maxWidth);
      }
    }),
  );
});

test("shares fairly: nobody without, nobody more than it can use, nothing left while somebody wants", () => {
  const anyWants = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), anyWants, (width, wants) => {
      const shares = shareWidth(width, wants);
      const sum = shares.reduce((a, b) => a + b, 0);
      expect(shares.every((share, index) => share >= 1 && share <= (wants[index] ?? 0))).toBe(true);
      expect(sum).toBeLessThanOrEqual(Math.max(width, wants.length));
      const wanted = wants.reduce((a, b) => a + b, 0);
      expect(sum).toBe(Math.max(wants.length, Math.min(width, wanted)));
    }),
  );
});

test("a connection below the floor, or far below its like, is too slow", () => {
  expect(isTooSlow(10, [], 100)).toBe(true);
  expect(isTooSlow(200, [], 100)).toBe(false);
  expect(isTooSlow(200, [5000], 100)).toBe(false);
  expect(isTooSlow(200, [5000, 4000, 3000], 100)).toBe(true);
  expect(isTooSlow(2000, [5000, 4000, 3000], 100)).toBe(false);
});
