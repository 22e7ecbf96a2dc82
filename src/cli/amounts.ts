/** Bytes, times and ages as short text for a terminal. Pure. */

const byteUnits = ["B", "kB", "MB", "GB", "TB"] as const;

/** 412000000 -> "412 MB", 1530000000 -> "1.5 GB". Decimal units, as download tools and disks count. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  // 999.5 would round to "1000".
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${byteUnits[unit]}`;
}

/** 7.34 -> "7.3 s", 16 -> "16 s", 75 -> "1 min 15 s", 7260 -> "2 h 1 min". */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return join(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86_400) return join(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return join(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

function join(major: number, majorUnit: string, minor: number, minorUnit: string): string {
  return minor === 0 ? `${major} ${majorUnit}` : `${major} ${majorUnit} ${minor} ${minorUnit}`;
}

/** Coarse time since `thenMs`: "12s", "3m", "5h", "2d". "?" when the time is not known. */
export function formatAge(thenMs: number, nowMs: number): string {
  if (!Number.isFinite(thenMs)) return "?";
  const s = Math.max(0, Math.floor((nowMs - thenMs) / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86_400)}d`;
}

/** Milliseconds since the epoch of an API timestamp; one without a zone is UTC. NaN when it is no time. */
export function readTimestamp(text: string): number {
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`);
}

const durationUnits: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** "10m" -> 600. Whole numbers of s, m, h or d up to 31 days (the API's window); null when it is not one. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,7})([smhd])$/.exec(text);
  const factor = durationUnits[match?.[2] ?? ""];
  if (match === null || factor === undefined) return null;
  const seconds = Number(match[1]) * factor;
  return seconds >= 1 && seconds <= 31 * 86_400 ? seconds : null;
}
