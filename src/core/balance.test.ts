import fc from "fast-check";
import { expect, test } from "vitest";
import { type Candidate, chooseInstance } from "./balance.ts";

const candidate = (id: string, given: Partial<Candidate> = {}): Candidate => ({
  ...{ id, slots: 4, inFlight: 0, recent: 0, cachedBlocks: 0 },
  ...given,
});

test("with nothing cached the fewest in flight win, then more slots, then fewer lately, then the first", () => {
  expect(chooseInstance([])).toBeNull();
  const busy = candidate("busy", { slots: 8, inFlight: 2 });
  const small = candidate("small", { slots: 2, inFlight: 1 });
  const big = candidate("big", { slots: 4, inFlight: 1 });
  expect(chooseInstance([busy, small, big])).toBe("big");
  expect(chooseInstance([small, { ...small, id: "twin" }])).toBe("small");
  expect(
    chooseInstance([
      { ...small, recent: 3 },
      { ...small, id: "rested" },
    ]),
  ).toBe("rested");
});

test("a long cached beginning is worth some load, a short one is not", () => {
  const cached = candidate("cached", { inFlight: 1, cachedBlocks: 40 });
  expect(chooseInstance([candidate("free"), cached])).toBe("cached");
  expect(chooseInstance([candidate("free"), { ...cached, cachedBlocks: 2 }])).toBe("free");
});

test("a beginning that everybody shares does not draw everybody", () => {
  const counts = new Map(["a", "b", "c"].map((id) => [id, 0]));
  for (let i = 0; i < 300; i += 1) {
    const candidates = [...counts].map(([id, recent]) =>
      candidate(id, { recent, cachedBlocks: recent > 0 ? 8 : 0 }),
    );
    const chosen = chooseInstance(candidates) ?? "";
    counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
  }
  expect(Math.max(...counts.values())).toBeLessThanOrEqual(125);
});

const parts = fc.record({
  slots: fc.integer({ min: 1, max: 9 }),
  inFlight: fc.nat(8),
  recent: fc.double({ min: 0, max: 1e6, noNaN: true }),
  cachedBlocks: fc.nat(1024),
});

test("with nothing cached nobody with fewer in flight is passed over", () => {
  fc.assert(
    fc.property(fc.array(parts, { minLength: 1 }), (list) => {
      const candidates = list.map((part, i) => ({ id: String(i), ...part, cachedBlocks: 0 }));
      const chosen = candidates.find(({ id }) => id === chooseInstance(candidates));
      expect(chosen?.inFlight).toBe(Math.min(...list.map((part) => part.inFlight)));
    }),
  );
});

test("whatever is cached, the chosen one is within the bound of load", () => {
  fc.assert(
    fc.property(fc.array(parts, { minLength: 1 }), (list) => {
      const candidates = list.map((part, i) => ({ id: String(i), ...part }));
      const chosen = candidates.find(({ id }) => id === chooseInstance(candidates));
      const inFlight = list.reduce((sum, part) => sum + part.inFlight, 0);
      expect(chosen?.inFlight).toBeLessThanOrEqual(Math.ceil((1.5 * (inFlight + 1)) / list.length));
    }),
  );
});
