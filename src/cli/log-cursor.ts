/**
 * Reads a deployment's log onwards without losing or repeating lines, over an API that only knows "from a time on".
 * Lines of one instance may share a time, and lines of different instances may arrive out of order; so each look
 * begins a little before the newest line, and what was seen is left out. Pure but for its own memory.
 */

export type LogLine = { readonly instance: string; readonly time: string; readonly text: string };

type Seen = { readonly timeNs: bigint; readonly count: number };

const nsPerS = 1_000_000_000n;
/** How far back a look begins: lines of several instances become visible in order within this. */
const overlapNs = 5n * nsPerS;

export type LogCursor = {
  /** Sets where reading begins, in unix seconds; without it, at the first line ever. */
  startAt(unixS: number): void;
  /** The `from` of the next query: unix seconds with nine decimals. */
  from(): string;
  /** The lines of an answer that were not taken before, oldest first. */
  take(entries: Readonly<Record<string, readonly (readonly [string, string])[]>>): LogLine[];
  /** After an answer that was full: the next look begins where that one ended, so that reading gets on. */
  turnPage(): void;
};

export function createLogCursor(): LogCursor {
  const seen = new Map<string, Seen>();
  let startNs = 0n;
  let newestNs: bigint | null = null;
  let pageEndNs: bigint | null = null;
  let hasNew = false;
  return {
    startAt(unixS) {
      startNs = BigInt(Math.max(0, Math.floor(unixS))) * nsPerS;
    },
    from() {
      if (pageEndNs !== null) return formatNs(pageEndNs);
      return formatNs(newestNs === null ? startNs : max(startNs, newestNs - overlapNs));
    },
    take(entries) {
      const lines: (LogLine & { readonly timeNs: bigint })[] = [];
      for (const [instance, rows] of Object.entries(entries)) {
        const before = seen.get(instance) ?? { timeNs: -1n, count: 0 };
        let last = before;
        let atBefore = 0;
        for (const [time, text] of rows) {
          const timeNs = parseNs(time);
          if (timeNs < before.timeNs) continue;
          if (timeNs === before.timeNs) {
            atBefore += 1;
            if (atBefore <= before.count) continue;
          }
          last = { timeNs, count: timeNs === last.timeNs ? last.count + 1 : 1 };
          lines.push({ instance, time, text, timeNs });
        }
        seen.set(instance, last);
        if (newestNs === null || last.timeNs > newestNs) newestNs = last.timeNs;
      }
      hasNew = lines.length > 0;
      pageEndNs = null;
      return lines
        .sort((a, b) => (a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : 0))
        .map(({ instance, time, text }) => ({ instance, time, text }));
    },
    turnPage() {
      // A full page of lines that were all seen would be answered for ever: step past its last time.
      pageEndNs = (newestNs ?? startNs) + (hasNew ? 0n : 1n);
    },
  };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function parseNs(time: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,9}))?/.exec(time);
  if (match === null) return 0n;
  return BigInt(match[1] ?? "0") * nsPerS + BigInt((match[2] ?? "").padEnd(9, "0"));
}

function formatNs(ns: bigint): string {
  return `${ns / nsPerS}.${(ns % nsPerS).toString().padStart(9, "0")}`;
}
