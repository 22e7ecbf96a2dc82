/** The schedule of a deployment's minimum between the wire and the core. Pure. */
import type { ScaleSettings, Schedule } from "../core/deployment.ts";
import { clockText, describeRule, isTimeZone, weekdays } from "../core/schedule.ts";
import type { ScheduleIn, ScheduleOut } from "../schema/schedule.ts";
import { valueError } from "../schema/validation.ts";
import { InputError } from "./refusal.ts";

/** Null is no schedule. Throws an InputError that names the field. */
export function readSchedule(given: ScheduleIn | null | undefined): Schedule | undefined {
  if (given === null || given === undefined || given.rules.length === 0) return undefined;
  if (!isTimeZone(given.time_zone)) {
    const sentence = "time_zone must be a name of the IANA database, for example Europe/Berlin or UTC.";
    throw new InputError([valueError(["body", "settings", "schedule", "time_zone"], sentence)]);
  }
  return {
    timeZone: given.time_zone,
    rules: given.rules.map(({ days, from, until, min_instances }, index) => {
      const [fromMinute, untilMinute] = [minuteOf(from), minuteOf(until)];
      if (fromMinute === untilMinute) {
        const sentence = "from and until must differ; the whole day is 00:00 to 24:00.";
        throw new InputError([
          valueError(["body", "settings", "schedule", "rules", index, "until"], sentence),
        ]);
      }
      return {
        ...{ fromMinute, untilMinute, minInstances: min_instances },
        days: weekdays.filter((day) => days === undefined || days.includes(day)),
      };
    }),
  };
}

export function toScheduleOut({ timeZone, rules }: Schedule): ScheduleOut {
  return {
    time_zone: timeZone,
    rules: rules.map(({ days, fromMinute, untilMinute, minInstances }) => ({
      days: [...days],
      from: clockText(fromMinute),
      until: clockText(untilMinute),
      min_instances: minInstances,
    })),
  };
}

/** For a person, after the bounds; "" where there is none. */
export function describeSchedule({ schedule }: ScaleSettings): string {
  if (schedule === undefined) return "";
  const rules = schedule.rules.map((rule) => `at least ${rule.minInstances} ${describeRule(rule, schedule)}`);
  return `, ${rules.join(", ")}`;
}

function minuteOf(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
}
