/**
 * How many instances a deployment keeps at least, by weekday and hour. Pure: the time is a value, and what the clock on the wall
 * shows follows from it and the time zone.
 *
 * A rule holds while the clock on the wall of its time zone shows a time of it. So an hour that a change to summer time leaves
 * out is not waited for, and one that comes twice counts twice.
 */
import type { ScaleSettings, Schedule, ScheduleRule } from "./deployment.ts";

export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Weekday = (typeof weekdays)[number];

export const dayMinutes = 1_440;
const weekMinutes = 7 * dayMinutes;
const minuteMs = 60_000;

export type Minimum = {
  readonly instances: number;
  /** The rule that says so; null where `min_instances` does. */
  readonly rule: ScheduleRule | null;
  /** When the schedule asks for another number, and for which; null where it never does. */
  readonly next: { readonly atMs: number; readonly instances: number } | null;
};

/** What is asked for now: the most that a rule which holds asks for; without one `minInstances`. */
export function minimumAt(settings: ScaleSettings, now: number): Minimum {
  const { schedule } = settings;
  if (schedule === undefined) return { instances: settings.minInstances, rule: null, next: null };
  const known = lastFound.get(settings);
  const isKnown = known !== undefined && now >= known.fromMs && now < (known.minimum.next?.atMs ?? now + 1);
  if (isKnown) return known.minimum;
  const minimum = findMinimum(settings, schedule, now);
  lastFound.set(settings, { fromMs: now, minimum });
  return minimum;
}

/** What was found holds until the next change; reading clocks of time zones is slow, and each look and each list asks. */
const lastFound = new WeakMap<ScaleSettings, { readonly fromMs: number; readonly minimum: Minimum }>();

function findMinimum({ minInstances }: ScaleSettings, schedule: Schedule, now: number): Minimum {
  const instances = (rule: ScheduleRule | null) => rule?.minInstances ?? minInstances;
  const rule = ruleAt(schedule, now);
  const atMs = nextChange(schedule, now, (other) => instances(other) !== instances(rule));
  const next = atMs === null ? null : { atMs, instances: instances(ruleAt(schedule, atMs)) };
  return { instances: instances(rule), rule, next };
}

/** The settings with the minimum that holds now. */
export function settingsAt(settings: ScaleSettings, now: number): ScaleSettings {
  if (settings.schedule === undefined) return settings;
  return { ...settings, minInstances: minimumAt(settings, now).instances };
}

export function isTimeZone(name: string): boolean {
  try {
    formatterOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** For example "mon-fri 08:00-20:00 (Europe/Berlin)". */
export function describeRule(rule: ScheduleRule, { timeZone }: Schedule): string {
  const { days, fromMinute, untilMinute } = rule;
  return `${describeDays(days)} ${clockText(fromMinute)}-${clockText(untilMinute)} (${timeZone})`;
}

/** For example "tue 08:00 (Europe/Berlin)". */
export function describeMoment(atMs: number, { timeZone }: Schedule): string {
  const minute = wallMinute(timeZone, atMs);
  const day = weekdays[Math.floor(minute / dayMinutes)] ?? "mon";
  return `${day} ${clockText(minute % dayMinutes)} (${timeZone})`;
}

/** Runs of three days and more as from-to. */
function describeDays(days: readonly Weekday[]): string {
  const has = weekdays.map((day) => days.includes(day));
  if (!has.includes(false)) return "daily";
  const first = has.indexOf(true);
  const last = has.lastIndexOf(true);
  const isRun = last - first >= 2 && !has.slice(first, last + 1).includes(false);
  if (isRun) return `${weekdays[first]}-${weekdays[last]}`;
  return weekdays.filter((_, index) => has[index]).join(",");
}

export function clockText(minute: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

function ruleAt({ timeZone, rules }: Schedule, atMs: number): ScheduleRule | null {
  const minute = wallMinute(timeZone, atMs);
  const holding = rules.filter((rule) => holds(rule, minute));
  return holding.reduce<ScheduleRule | null>(
    (best, rule) => (best === null || rule.minInstances > best.minInstances ? rule : best),
    null,
  );
}

/** One that ends at or before the time at which it begins goes on into the next day. */
function holds(rule: ScheduleRule, minute: number): boolean {
  const lengthMinutes = lengthOf(rule);
  return rule.days.some((day) => {
    const begins = weekdays.indexOf(day) * dayMinutes + rule.fromMinute;
    return (minute - begins + weekMinutes) % weekMinutes < lengthMinutes;
  });
}

function lengthOf({ fromMinute, untilMinute }: ScheduleRule): number {
  return untilMinute > fromMinute ? untilMinute - fromMinute : untilMinute - fromMinute + dayMinutes;
}

/**
 * The first moment after `now` at which another rule holds that makes a difference. Goes from one edge of a rule to the next
 * as long as the clock on the wall runs evenly, and by the moment of the change where it does not.
 */
function nextChange(
  schedule: Schedule,
  now: number,
  differs: (rule: ScheduleRule | null) => boolean,
): number | null {
  const { timeZone, rules } = schedule;
  const edges = [...new Set(rules.flatMap(edgesOf))];
  // A week has each edge once; a change of the clock may add some.
  const endMs = now + (weekMinutes + 2 * dayMinutes) * minuteMs;
  let atMs = Math.floor(now / minuteMs) * minuteMs;
  while (atMs < endMs) {
    const shiftMinutes = shiftOf(timeZone, atMs);
    const minute = wallMinute(timeZone, atMs);
    const ahead = edges.map((edge) => (edge - minute + weekMinutes - 1) % weekMinutes);
    const nextMs = atMs + (Math.min(...ahead, weekMinutes - 1) + 1) * minuteMs;
    atMs =
      shiftOf(timeZone, nextMs) === shiftMinutes ? nextMs : clockChange(timeZone, atMs, nextMs, shiftMinutes);
    if (differs(ruleAt(schedule, atMs))) return atMs;
  }
  return null;
}

function edgesOf(rule: ScheduleRule): number[] {
  return rule.days.flatMap((day) => {
    const begins = weekdays.indexOf(day) * dayMinutes + rule.fromMinute;
    return [begins, (begins + lengthOf(rule)) % weekMinutes];
  });
}

/** The first minute after `fromMs` at which the clock on the wall is shifted otherwise. */
function clockChange(timeZone: string, fromMs: number, toMs: number, shiftMinutes: number): number {
  let [before, after] = [fromMs / minuteMs, toMs / minuteMs];
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (shiftOf(timeZone, middle * minuteMs) === shiftMinutes) before = middle;
    else after = middle;
  }
  return after * minuteMs;
}

/** Minutes that the clock on the wall is ahead of UTC. */
function shiftOf(timeZone: string, atMs: number): number {
  const atMinute = Math.floor(atMs / minuteMs);
  // 1970 began on a Thursday.
  const utcMinute = (((atMinute + 3 * dayMinutes) % weekMinutes) + weekMinutes) % weekMinutes;
  const difference = (wallMinute(timeZone, atMs) - utcMinute + weekMinutes) % weekMinutes;
  return difference > weekMinutes / 2 ? difference - weekMinutes : difference;
}

/** Minutes since the beginning of Monday on the clock on the wall. */
function wallMinute(timeZone: string, atMs: number): number {
  // For example "Tue 08:05"; in this form in every release of ICU, as it is built from its parts.
  const parts = formatterOf(timeZone).formatToParts(atMs);
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.find((each) => each.type === type)?.value ?? "";
  const day = (weekdays as readonly string[]).indexOf(part("weekday").toLowerCase());
  return day * dayMinutes + Number(part("hour")) * 60 + Number(part("minute"));
}

/** Making one takes far longer than using it. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (formatter === undefined) {
    const form = { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
    formatter = new Intl.DateTimeFormat("en-US", { ...form, timeZone });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}
