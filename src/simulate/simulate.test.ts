/** Small worlds as part of the suite: fixed seeds, so that a change is seen, and fresh ones, which name themselves when they fail. */
import { expect, it } from "vitest";
import { simulate } from "./run.ts";
import { createScenario } from "./scenario.ts";

const fixed = Array.from({ length: 12 }, (_, index) => index + 1);
/** What each of these met, nothing is to meet again. */
const found = [
  565424555, // a start that came too late is ended while a liar is replaced: nobody loses by it
  202292235, // both sides of an update go at once for one claim
  421862512, // a plan of two starts waits long for the first, and the GPU of the second is lost meanwhile
  736397767, // a start fails at once, and another deployment gives way to it meanwhile
  593676875, // arguments that never worked are tried again and again, and the end falls into a pause
];
const fresh = Array.from({ length: 8 }, () => Math.floor(Math.random() * 2 ** 30));

it.each([...fixed, ...found, ...fresh])("seed %i breaks no rule", (seed) => {
  const { violations, answered, refused } = simulate(createScenario(seed));
  expect(violations, `npm run simulate -- --seeds 1 --from ${seed}`).toEqual([]);
  const asked = createScenario(seed).happenings.filter(({ what }) => what === "request");
  expect(answered + refused).toBe(asked.length);
});

it("a seed always goes the same way", () => {
  expect(simulate(createScenario(5))).toEqual(simulate(createScenario(5)));
});
