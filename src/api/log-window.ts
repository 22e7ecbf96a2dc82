/**
 * Which log lines a query gets. Pure. Times are nanoseconds since the epoch, written as seconds with nine decimals, so
 * that clients may compare them as text.
 */
import type { InstanceLog } from "../ports/driver.ts";
import { HttpError } from "../schema/errors.ts";
import type { LogEntry, LogQuery } from "../schema/logs.ts";

export type StampedLine = {
  readonly ns: bigint;
  readonly instanceId: string;
  readonly text: string;
};

const nsPerMs = 1_000_000n;
const nsPerS = 1_000_000_000n;
/** Longest span of one query: a month. */
const monthNs = 31n * 86_400n * nsPerS;

/**
 * All lines in order of time. Lines of the same millisecond get consecutive nanoseconds: a client that goes on from the
 * last time it saw misses none.
 */
export function stampLines(logs: readonly InstanceLog[]): StampedLine[] {
  const lines = logs
    .flatMap(({ instanceId, lines }) => lines.map(({ atMs, text }) => ({ atMs, text, instanceId })))
    .sort((a, b) => a.atMs - b.atMs);
  let last = -1n;
  return lines.map(({ atMs, text, instanceId }) => {
    const own = BigInt(Math.floor(atMs)) * nsPerMs;
    last = own > last ? own : last + 1n;
    return { ns: last, instanceId, text };
  });
}

/**
 * `from` is inclusive, `to` exclusive. Neither: the last `limit` lines of the past month; only `from`: the first after
 * it; only `to`: the last before it; both: the first between them, which may span a month.
 */
export function selectLines(
  lines: readonly StampedLine[],
  query: Pick<LogQuery, "from" | "to" | "limit">,
  nowMs: number,
): StampedLine[] {
  const from = query.from === undefined ? null : toNs(query.from);
  const to = query.to === undefined ? null : toNs(query.to);
  if (from !== null && to !== null && (to < from || to - from > monthNs)) {
    throw new HttpError("bad_request", "to must not be before from, nor more than 31 days after it.");
  }
  const earliest = from ?? (to === null ? BigInt(Math.floor(nowMs)) * nsPerMs - monthNs : null);
  const within = lines.filter(({ ns }) => (earliest === null || ns >= earliest) && (to === null || ns < to));
  return from === null ? within.slice(-query.limit) : within.slice(0, query.limit);
}

export function toEntry({ ns, text }: StampedLine): LogEntry {
  return [`${ns / nsPerS}.${String(ns % nsPerS).padStart(9, "0")}`, text];
}

/** The schema has checked the form: digits with up to nine decimals. */
function toNs(seconds: string): bigint {
  const [whole = "0", fraction = ""] = seconds.split(".");
  return BigInt(whole) * nsPerS + BigInt(fraction.padEnd(9, "0"));
}
