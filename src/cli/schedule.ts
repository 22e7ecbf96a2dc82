/** Schedules on the command line: `mon-fri 08:00-20:00 2` becomes a rule of `settings.schedule`, and back. Pure. */
import { InvalidArgumentError } from "commander";
import { dayNames, type ScheduleIn, type ScheduleOut, scheduleRuleIn } from "../schema/schedule.ts";
import { CliError, exitCodes } from "./exit.ts";

type Rule = ScheduleIn["rules"][number];

export const scheduleHelp =
  "other fewest instances by weekday and hour, as 'mon-fri 08:00-20:00 2', repeatable";

/** Collects a repeatable option; `false` before it is a `--no-schedule`. */
export function collectRule(text: string, before: readonly Rule[] | false | undefined): Rule[] {
  const [days = "", span = "", instances = "", ...rest] = text.trim().split(/\s+/);
  const [from, until] = span.split("-");
  const found = scheduleRuleIn.safeParse({ days: readDays(days), from, until, min_instances: instances });
  if (found.success && rest.length === 0) return [...(before || []), found.data];
  throw new InvalidArgumentError(
    "Days, a time of 24 hours and a number are expected, for example 'mon-fri 08:00-20:00 2', 'sat,sun 00:00-24:00 0' or 'daily 22:00-06:00 1'.",
  );
}

export const timeZoneHelp = "of the schedule, for example Europe/Berlin; default: this machine's";

/** What the options ask for; undefined for nothing, null to take the schedule away. */
export function scheduleAsked(options: {
  /** False with --no-schedule. */
  readonly schedule?: readonly Rule[] | false;
  readonly timeZone?: string;
}): ScheduleIn | null | undefined {
  const { schedule, timeZone } = options;
  if (schedule === false) return null;
  if (schedule !== undefined) return buildSchedule(schedule, timeZone);
  if (timeZone === undefined) return undefined;
  throw new CliError(exitCodes.usage, "--time-zone belongs to a --schedule.");
}

/** The time zone is this machine's where none is named. */
export function buildSchedule(rules: readonly Rule[], timeZone: string | undefined): ScheduleIn {
  return {
    time_zone: timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    rules: [...rules],
  };
}

export function describeRules({ rules, time_zone }: ScheduleOut): string {
  return rules
    .map(
      (rule) =>
        `at least ${rule.min_instances} ${rule.days.join(",")} ${rule.from}-${rule.until} (${time_zone})`,
    )
    .join("; ");
}

/** "daily", "sat,sun", "fri-mon"; null for what is none. */
function readDays(text: string): string[] | null {
  if (text === "daily") return [...dayNames];
  const days = text.split(",").flatMap((part) => {
    const [first = "", last = first] = part.split("-");
    const [from, until] = [first, last].map((name) => (dayNames as readonly string[]).indexOf(name));
    if (from === undefined || until === undefined || from < 0 || until < 0) return [null];
    const count = ((until - from + dayNames.length) % dayNames.length) + 1;
    return Array.from({ length: count }, (_, index) => dayNames[(from + index) % dayNames.length] ?? null);
  });
  return days.some((day) => day === null) ? null : days.flatMap((day) => day ?? []);
}
