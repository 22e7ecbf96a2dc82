/** Amounts of a replay as a person reads them. Pure. */

/** "0.18 s", "42 s", "58 min", "26 h". */
export function describeTime(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

export function describePart(part: number): string {
  // Never 100 % when something was missed.
  return `${(Math.floor(part * 1000) / 10).toFixed(1)} %`;
}

export function describeHours(hours: number): string {
  return hours < 100 ? hours.toFixed(2) : String(Math.round(hours));
}
