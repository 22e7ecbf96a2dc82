import { expect, test } from "vitest";
import { AwakeClock } from "./awake-clock.ts";

test("time passes while somebody asks often enough, and hardly while nobody does", () => {
  let sourceMs = 5000;
  const clock = new AwakeClock(() => sourceMs, 250);
  const passed = (ms: number) => {
    const before = clock.now();
    sourceMs += ms;
    return clock.now() - before;
  };
  expect([passed(0), passed(250), passed(1250), clock.sleeps()]).toEqual([0, 250, 1250, 0]);
  expect([passed(1251), clock.sleeps()]).toEqual([250, 1]);
  expect([passed(3_600_000), passed(250), clock.sleeps()]).toEqual([250, 250, 2]);
});

test("a sleep is noticed by whoever asks first", () => {
  let sourceMs = 0;
  const clock = new AwakeClock(() => sourceMs, 250);
  sourceMs += 60_000;
  expect([clock.sleeps(), clock.now()]).toEqual([1, 250]);
});
