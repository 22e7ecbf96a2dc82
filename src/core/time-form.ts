/**
 * Points in time as clients of the statistics write them: unix seconds, `now`, or `now-5h`. Pure; the time it is now is
 * a value. Months of the calendar as payments are asked for by them (`2026.11`, `current-1`) are read here too, in UTC.
 */

const secondMs = 1000;
const unitMs: Readonly<Record<string, number>> = {
  s: secondMs,
  m: 60 * secondMs,
  h: 3600 * secondMs,
  d: 86_400 * secondMs,
  w: 7 * 86_400 * secondMs,
  /** 30 days, so that a distance in time never depends on the day it is asked for. */
  M: 30 * 86_400 * secondMs,
};
/** The longer names, as far as each may be written out. */
const unitNames: readonly (readonly [RegExp, string])[] = [
  [/^s(ecs?|econds?)?$/, "s"],
  [/^m(ins?|inutes?)?$/, "m"],
  [/^h(ours?|rs?)?$/, "h"],
  [/^d(ays?)?$/, "d"],
  [/^w(eeks?)?$/, "w"],
  [/^(M|[Mm]on(ths?)?)$/, "M"],
];

/** The last moment a JavaScript date knows. */
const latestMs = 8.64e15;

/** What is allowed, for the sentence that refuses the rest. */
export const timeFormRule =
  'unix seconds, "now", or a time before now such as "now-5h" (units: s, m, h, d, w, and M for 30 days)';

/** Milliseconds since the epoch; null when it is no point in time. */
export function readTime(text: string, nowMs: number): number | null {
  const unix = /^\d{1,13}(\.\d{1,9})?$/.exec(text);
  if (unix !== null) return within(Math.floor(Number(text) * secondMs));
  const match = /^now(?: ?([-+]) ?(\d{1,9}) ?([A-Za-z]+))?$/.exec(text.trim());
  if (match === null) return null;
  const [, sign, amount, name] = match;
  if (sign === undefined || amount === undefined || name === undefined) return within(nowMs);
  const unit = unitNames.find(([pattern]) => pattern.test(name))?.[1];
  const step = unit === undefined ? undefined : unitMs[unit];
  if (step === undefined) return null;
  // Before the epoch nothing has happened.
  return within(Math.max(0, nowMs + (sign === "-" ? -1 : 1) * Number(amount) * step));
}

function within(ms: number): number | null {
  return ms >= 0 && ms <= latestMs ? ms : null;
}

/** One month of the calendar in UTC; `toMs` is the first moment after it. */
export type Month = { readonly name: string; readonly fromMs: number; readonly toMs: number };

/** What is allowed, for the sentence that refuses the rest. */
export const monthFormRule =
  'a month such as "2026.11", "current", a month before it such as "current-1", or unix seconds';

/** The month that is meant; null when none is. */
export function readMonth(text: string, nowMs: number): Month | null {
  const named = /^(\d{4})\.(\d{1,2})$/.exec(text);
  if (named !== null) {
    const month = Number(named[2]);
    return month >= 1 && month <= 12 ? monthOf(Date.UTC(Number(named[1]), month - 1)) : null;
  }
  const relative = /^current(?:-(\d{1,3})|\(-(\d{1,3})\))?$/.exec(text);
  if (relative !== null) {
    const now = new Date(nowMs);
    return monthOf(
      Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - Number(relative[1] ?? relative[2] ?? 0)),
    );
  }
  const atMs = /^\d/.test(text) ? readTime(text, nowMs) : null;
  return atMs === null ? null : monthOf(atMs);
}

/** The month in which this moment is. */
export function monthOf(atMs: number): Month {
  const date = new Date(atMs);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  const name = `${String(year).padStart(4, "0")}.${String(month + 1).padStart(2, "0")}`;
  return { name, fromMs: Date.UTC(year, month), toMs: Date.UTC(year, month + 1) };
}

/** The months from `first` to `last`, both included, oldest first, at most `most`, the newest of them. */
export function monthsBetween(first: Month, last: Month, most: number): Month[] {
  const months: Month[] = [];
  for (let month = last; month.fromMs >= first.fromMs && months.length < most; ) {
    months.unshift(month);
    month = monthOf(month.fromMs - 1);
  }
  return months;
}
