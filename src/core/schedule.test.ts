/** A minimum by weekday and hour, on the clock on the wall, through the changes to and from summer time. */
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { ScaleSettings, Schedule, ScheduleRule } from "./deployment.ts";
import { describeMoment, describeRule, isTimeZone, minimumAt, settingsAt, weekdays } from "./schedule.ts";

const at = (text: string) => Date.parse(text);
const workdays = ["mon", "tue", "wed", "thu", "fri"] as const;
const hours = (from: number, until: number, minInstances: number, days: ScheduleRule["days"] = weekdays) => ({
  ...{ days, fromMinute: from * 60, untilMinute: until * 60, minInstances },
});
const settings = (schedule: Schedule, minInstances = 0): ScaleSettings => ({
  ...{ minInstances, maxInstances: 9, inactiveShutdownS: null, schedule },
});
const berlin = (...rules: ScheduleRule[]): Schedule => ({ timeZone: "Europe/Berlin", rules });

describe("a rule", () => {
  const office = settings(berlin(hours(8, 20, 2, workdays)));

  it.each([
    ["2026-11-23T06:59:59Z", 0],
    ["2026-11-23T07:00:00Z", 2],
    ["2026-11-23T18:59:59Z", 2],
    ["2026-11-23T19:00:00Z", 0],
    ["2026-11-28T12:00:00Z", 0],
  ])("holds by the clock of its time zone: at %s %i", (time, instances) => {
    expect(minimumAt(office, at(time)).instances).toBe(instances);
    expect(settingsAt(office, at(time)).minInstances).toBe(instances);
  });

  it("says what comes next", () => {
    expect(minimumAt(office, at("2026-11-27T12:00:00Z")).next).toEqual({
      ...{ atMs: at("2026-11-27T19:00:00Z"), instances: 0 },
    });
    expect(minimumAt(office, at("2026-11-27T19:00:00Z")).next).toEqual({
      ...{ atMs: at("2026-11-30T07:00:00Z"), instances: 2 },
    });
  });

  it("that ends before it begins goes on into the next day, also from Sunday to Monday", () => {
    const night = settings(berlin(hours(22, 6, 1, ["sun"])));
    expect(minimumAt(night, at("2026-11-29T21:00:00Z")).instances).toBe(1);
    expect(minimumAt(night, at("2026-11-30T04:59:00Z")).instances).toBe(1);
    expect(minimumAt(night, at("2026-11-30T05:00:00Z")).instances).toBe(0);
  });

  it("may ask for less than min_instances; of several the highest counts", () => {
    const both = settings(berlin(hours(0, 24, 0, ["sat", "sun"]), hours(10, 12, 3)), 2);
    expect(minimumAt(both, at("2026-11-27T12:00:00Z")).instances).toBe(2);
    expect(minimumAt(both, at("2026-11-28T08:00:00Z")).instances).toBe(0);
    expect(minimumAt(both, at("2026-11-28T10:00:00Z")).instances).toBe(3);
  });

  it("that changes nothing is no change", () => {
    expect(minimumAt(settings(berlin(hours(0, 24, 2)), 1), 0).next).toBeNull();
    expect(minimumAt({ minInstances: 1, maxInstances: 1, inactiveShutdownS: null }, 0)).toEqual({
      ...{ instances: 1, rule: null, next: null },
    });
  });
});

describe("the change of the clock", () => {
  // Berlin: 2026-03-29 01:00 UTC forward, 2026-10-25 01:00 UTC back.
  it("moves a rule with the clock on the wall", () => {
    const morning = settings(berlin(hours(8, 9, 1)));
    expect(minimumAt(morning, at("2026-03-28T12:00:00Z")).next?.atMs).toBe(at("2026-03-29T06:00:00Z"));
    expect(minimumAt(morning, at("2026-10-24T12:00:00Z")).next?.atMs).toBe(at("2026-10-25T07:00:00Z"));
  });

  it("begins at once what begins in the hour that is left out", () => {
    const half = settings(berlin({ ...hours(0, 5, 1), fromMinute: 150 }));
    expect(minimumAt(half, at("2026-03-29T00:00:00Z")).next).toEqual({
      ...{ atMs: at("2026-03-29T01:00:00Z"), instances: 1 },
    });
  });

  it("leaves out what is over by then", () => {
    const gone = settings(berlin({ ...hours(2, 3, 1), untilMinute: 170 }));
    expect(minimumAt(gone, at("2026-03-28T12:00:00Z")).next?.atMs).toBe(at("2026-03-30T00:00:00Z"));
  });

  it("does twice what lies in the hour that comes twice", () => {
    const twice = settings(berlin({ ...hours(2, 3, 1), untilMinute: 150 }));
    const changes = [at("2026-10-24T20:00:00Z")];
    for (let count = 0; count < 4; count += 1) {
      changes.push(minimumAt(twice, changes.at(-1) ?? 0).next?.atMs ?? 0);
    }
    expect(changes.slice(1).map((ms) => new Date(ms).toISOString().slice(11, 16))).toEqual([
      ...["00:00", "00:30", "01:00", "01:30"],
    ]);
  });
});

test("the next change is the first moment with another minimum, in any zone at any time", () => {
  const minute = fc.integer({ min: 0, max: 1439 });
  const rule = fc.record({
    days: fc.subarray([...weekdays], { minLength: 1 }),
    fromMinute: minute,
    untilMinute: minute.map((each) => each + 1),
    minInstances: fc.integer({ min: 0, max: 3 }),
  });
  const zone = fc.constantFrom(
    ...["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"],
  );
  const now = fc.integer({ min: at("2026-03-01T00:00:00Z"), max: at("2026-11-30T00:00:00Z") });
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 3 }), zone, now, (rules, timeZone, nowMs) => {
      const usual = rules.map((each) => ({
        ...each,
        untilMinute: each.untilMinute === each.fromMinute ? 1440 : each.untilMinute,
      }));
      const one = settings({ timeZone, rules: usual }, 1);
      const { instances, next } = minimumAt(one, nowMs);
      const untilMs = next?.atMs ?? nowMs + 8 * 86_400_000;
      // A stride that meets every hour of the day in time.
      for (let ms = nowMs; ms < untilMs; ms += 37 * 60_000)
        expect(minimumAt(one, ms).instances).toBe(instances);
      if (next === null) return;
      expect(next.atMs).toBeGreaterThan(nowMs);
      expect(minimumAt(one, next.atMs).instances).toBe(next.instances);
      expect(minimumAt(one, next.atMs - 1).instances).toBe(instances);
      expect(next.instances).not.toBe(instances);
    }),
    { numRuns: 60 },
  );
});

test("the words for a person", () => {
  const schedule = berlin(hours(8, 24, 2, workdays));
  expect(describeRule(hours(8, 24, 2, workdays), schedule)).toBe("mon-fri 08:00-24:00 (Europe/Berlin)");
  expect(describeRule(hours(0, 1, 2, ["mon", "sun"]), schedule)).toBe("mon,sun 00:00-01:00 (Europe/Berlin)");
  expect(describeRule(hours(0, 1, 2), schedule)).toBe("daily 00:00-01:00 (Europe/Berlin)");
  expect(describeMoment(at("2026-11-27T19:05:00Z"), schedule)).toBe("fri 20:05 (Europe/Berlin)");
});

test("time zones are those of the IANA database", () => {
  expect(["UTC", "Europe/Berlin", "Mars/Olympus", ""].map(isTimeZone)).toEqual([true, true, false, false]);
});
