import { expect, test } from "vitest";
import { dayNames } from "../schema/schedule.ts";
import { buildSchedule, collectRule, describeRules } from "./schedule.ts";

const rule = (days: readonly string[], from: string, until: string, instances: number) => ({
  ...{ days, from, until, min_instances: instances },
});

test.each([
  ["mon-fri 08:00-20:00 2", rule(["mon", "tue", "wed", "thu", "fri"], "08:00", "20:00", 2)],
  ["sat,sun 00:00-24:00 0", rule(["sat", "sun"], "00:00", "24:00", 0)],
  ["fri-mon 22:30-06:00 1", rule(["fri", "sat", "sun", "mon"], "22:30", "06:00", 1)],
  ["daily 09:00-10:00 3", rule([...dayNames], "09:00", "10:00", 3)],
])("%s", (text, expected) => {
  expect(collectRule(text, undefined)).toEqual([expected]);
});

test.each([
  ...["", "mon", "mon 8-20 2", "mon 08:00-25:00 2", "moon 08:00-09:00 2", "mon- 08:00-09:00 1"],
  ...["mon 08:00-09:00 -1", "mon 08:00-09:00 1 2"],
])("%j is refused with examples", (text) => {
  expect(() => collectRule(text, [])).toThrow(/mon-fri 08:00-20:00 2/);
});

test("rules gather, and are told in one line", () => {
  const rules = collectRule("sat 10:00-12:00 1", collectRule("sun 10:00-12:00 2", false));
  const schedule = buildSchedule(rules, "Europe/Berlin");
  expect(
    describeRules({ ...schedule, rules: rules.map(({ days = [], ...rest }) => ({ days, ...rest })) }),
  ).toBe("at least 2 sun 10:00-12:00 (Europe/Berlin); at least 1 sat 10:00-12:00 (Europe/Berlin)");
  expect(buildSchedule([], undefined).time_zone).not.toBe("");
});
