/**
 * Sums over usage records: what an hour of a deployment comes to, what hours come to together, and the figures that are
 * shown of them. Pure. Owns what counts as an error and which requests times are taken of; prices are in the records.
 */
import { emptySketch, mergeSketches, type Sketch, sketchOf } from "./sketch.ts";
import type { UsageKind, UsageRecord } from "./usage.ts";

export type UsageTotals = {
  readonly requests: number;
  readonly errors: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  /** Of all requests together. */
  readonly durationMs: number;
  readonly costNanoUsd: number;
  /** Times of requests that went well: whole, to the first byte, and for one token. */
  readonly timesMs: Sketch;
  readonly ttftsMs: Sketch;
  readonly perTokenMs: Sketch;
};

export const noTotals: UsageTotals = {
  requests: 0,
  errors: 0,
  inputTokens: 0,
  outputTokens: 0,
  cachedTokens: 0,
  durationMs: 0,
  costNanoUsd: 0,
  timesMs: emptySketch,
  ttftsMs: emptySketch,
  perTokenMs: emptySketch,
};

/** What the records of one hour, deployment, account and kind are summed under. */
export type UsageHour = {
  readonly deploymentId: string;
  /** Whose requests they were. */
  readonly account: string;
  readonly tokenId: string;
  readonly kind: UsageKind;
  /** Start of the hour. */
  readonly hourMs: number;
};

export const hourLengthMs = 3_600_000;

export function hourOf(atMs: number): number {
  return Math.floor(atMs / hourLengthMs) * hourLengthMs;
}

/** A client that left before its answer is nobody's error. */
const clientLeft = 499;

export function isError({ status, error }: Pick<UsageRecord, "status" | "error">): boolean {
  return status !== clientLeft && (status >= 400 || error !== null);
}

export function totalsOf(records: readonly UsageRecord[]): UsageTotals {
  const sum = (of: (record: UsageRecord) => number) =>
    records.reduce((total, record) => total + of(record), 0);
  const served = records.filter((record) => record.status < 400 && record.error === null);
  return {
    requests: records.length,
    errors: records.filter(isError).length,
    inputTokens: sum((record) => record.inputTokens),
    outputTokens: sum((record) => record.outputTokens),
    cachedTokens: sum((record) => record.cachedTokens),
    durationMs: Math.round(sum((record) => record.durationMs)),
    costNanoUsd: sum((record) => record.costNanoUsd),
    timesMs: sketchOf(served.map((record) => record.durationMs)),
    ttftsMs: sketchOf(served.flatMap((record) => record.ttftMs ?? [])),
    perTokenMs: sketchOf(served.flatMap((record) => perTokenMs(record) ?? [])),
  };
}

/**
 * Of text: the time between two tokens, from the first byte of the answer to its end. Of embeddings: the time at the
 * engine for one token of the input. Null where there is none.
 */
function perTokenMs(record: UsageRecord): number | null {
  const { kind, durationMs, waitedMs, ttftMs, inputTokens, outputTokens } = record;
  if (kind === "embeddings") return inputTokens > 0 ? Math.max(0, durationMs - waitedMs) / inputTokens : null;
  if (ttftMs === null || outputTokens < 2) return null;
  return Math.max(0, durationMs - ttftMs) / (outputTokens - 1);
}

export function addTotals(a: UsageTotals, b: UsageTotals): UsageTotals {
  return {
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cachedTokens: a.cachedTokens + b.cachedTokens,
    durationMs: a.durationMs + b.durationMs,
    costNanoUsd: a.costNanoUsd + b.costNanoUsd,
    timesMs: mergeSketches(a.timesMs, b.timesMs),
    ttftsMs: mergeSketches(a.ttftsMs, b.ttftsMs),
    perTokenMs: mergeSketches(a.perTokenMs, b.perTokenMs),
  };
}

/** The records by the hours they are summed under; a request counts in the hour in which it came. */
export function byHour(records: readonly UsageRecord[]): { hour: UsageHour; records: UsageRecord[] }[] {
  const groups = new Map<string, { hour: UsageHour; records: UsageRecord[] }>();
  for (const record of records) {
    const { deploymentId, account, tokenId, kind } = record;
    const hourMs = hourOf(record.startedAtMs);
    const key = [deploymentId, account, tokenId, kind, hourMs].join(" ");
    const group = groups.get(key);
    if (group !== undefined) group.records.push(record);
    else groups.set(key, { hour: { deploymentId, account, tokenId, kind, hourMs }, records: [record] });
  }
  return [...groups.values()];
}

/**
 * How a window is answered: whole hours from their sums, its ends from single records. An end whose records are not
 * kept any more counts as the whole hour, if more than half of it is in the window.
 * @param recordsSinceMs records from before that time are not kept any more
 */
export function splitWindow(
  window: { readonly fromMs: number; readonly toMs: number },
  recordsSinceMs: number,
): {
  readonly hours: { readonly fromMs: number; readonly toMs: number };
  readonly ends: readonly { readonly fromMs: number; readonly toMs: number }[];
} {
  const { fromMs, toMs } = window;
  if (toMs <= fromMs) return { hours: { fromMs, toMs: fromMs }, ends: [] };
  const firstWhole = Math.ceil(fromMs / hourLengthMs) * hourLengthMs;
  const lastWhole = hourOf(toMs);
  if (lastWhole < firstWhole) {
    // Within one hour.
    if (fromMs >= recordsSinceMs) return { hours: { fromMs, toMs: fromMs }, ends: [window] };
    const hourMs = hourOf(fromMs);
    const isMost = toMs - fromMs > hourLengthMs / 2;
    return { hours: { fromMs: hourMs, toMs: isMost ? hourMs + hourLengthMs : hourMs }, ends: [] };
  }
  const ends: { fromMs: number; toMs: number }[] = [];
  let hours = { fromMs: firstWhole, toMs: lastWhole };
  if (fromMs < firstWhole) {
    if (fromMs >= recordsSinceMs) ends.push({ fromMs, toMs: firstWhole });
    else if (firstWhole - fromMs > hourLengthMs / 2) hours = { ...hours, fromMs: firstWhole - hourLengthMs };
  }
  if (lastWhole < toMs) {
    if (lastWhole >= recordsSinceMs) ends.push({ fromMs: lastWhole, toMs });
    else if (toMs - lastWhole > hourLengthMs / 2) hours = { ...hours, toMs: lastWhole + hourLengthMs };
  }
  return { hours, ends };
}
