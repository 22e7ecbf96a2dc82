import { expect, test } from "vitest";
import { TurnClock } from "./turn-clock.ts";

test("the time of a turn stands still, and the next turn has its own", async () => {
  let ms = 0;
  const { now } = new TurnClock(() => {
    ms += 1;
    return ms;
  });
  expect([now(), now(), now()]).toEqual([1, 1, 1]);
  await new Promise((resolve) => setImmediate(resolve));
  expect([now(), now()]).toEqual([2, 2]);
});
