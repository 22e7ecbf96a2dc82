import { expect, it } from "vitest";
import { simulate } from "./run.ts";
import { createScenario } from "./scenario.ts";

const fixed = Array.from({ length: 12 }, (_, index) => index + 1);

it.each(fixed)("seed %i breaks no rule", (seed) => {
  const { violations, answered, refused } = simulate(createScenario(seed));
  expect(violations).toEqual([]);
  const asked = createScenario(seed).happenings.filter(({ what }) => what === "request");
  expect(answered + refused).toBe(asked.length);
});

it("a seed always goes the same way", () => {
  expect(simulate(createScenario(5))).toEqual(simulate(createScenario(5)));
});
