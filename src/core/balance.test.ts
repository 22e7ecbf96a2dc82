import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseInstance } from "./balance.ts";

test("the fewest in flight win, then more free slots, then the first", () => {
  expect(chooseInstance([])).toBeNull();
  const busy = { id: "busy", slots: 8, inFlight: 2 };
  const small = { id: "small", slots: 2, inFlight: 1 };
  const big = { id: "big", slots: 4, inFlight: 1 };
  expect(chooseInstance([busy, small, big])).toBe("big");
  expect(chooseInstance([small, { ...small, id: "twin" }])).toBe("small");
});

test("nobody with fewer in flight is passed over", () => {
  const candidate = fc.record({ slots: fc.integer({ min: 1, max: 9 }), inFlight: fc.nat(8) });
  fc.assert(
    fc.property(fc.array(candidate, { minLength: 1 }), (parts) => {
      const candidates = parts.map((part, i) => ({ id: String(i), ...part }));
      const chosen = candidates.find(({ id }) => id === chooseInstance(candidates));
      expect(chosen?.inFlight).toBe(Math.min(...parts.map((part) => part.inFlight)));
    }),
  );
});
