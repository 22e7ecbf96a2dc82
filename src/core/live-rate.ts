/**
 * What the installation does right now: requests and tokens a second and the time to the first token, over the last
 * minute, from the records as they come. Pure: a value that is advanced; it holds one small sum a second.
 */
import type { UsageRecord } from "./usage.ts";

type Second = {
  readonly atS: number;
  requests: number;
  tokens: number;
  ttftMs: number;
  ttfts: number;
};

export type LiveRate = { readonly seconds: readonly Second[] };

export const quiet: LiveRate = { seconds: [] };

const spanS = 60;

/** Takes in records when they come; each counts in the second in which its request ended. */
export function addToRate(rate: LiveRate, records: readonly UsageRecord[], nowMs: number): LiveRate {
  const nowS = Math.floor(nowMs / 1000);
  const seconds = new Map(rate.seconds.filter(isRecent(nowS)).map((second) => [second.atS, { ...second }]));
  for (const record of records) {
    const atS = Math.floor((record.startedAtMs + record.durationMs) / 1000);
    if (!isRecent(nowS)({ atS })) continue; // redelivered late: it says nothing of now
    const second = seconds.get(atS) ?? { atS, requests: 0, tokens: 0, ttftMs: 0, ttfts: 0 };
    seconds.set(atS, second);
    second.requests += 1;
    second.tokens += record.outputTokens;
    if (record.ttftMs !== null) {
      second.ttftMs += record.ttftMs;
      second.ttfts += 1;
    }
  }
  return { seconds: [...seconds.values()] };
}

function isRecent(nowS: number): (second: { readonly atS: number }) => boolean {
  return ({ atS }) => atS > nowS - spanS && atS <= nowS;
}

/** `ttftS` is null when no answer began in the last minute. */
export function readRate(
  rate: LiveRate,
  nowMs: number,
): { readonly requestsPerS: number; readonly tokensPerS: number; readonly ttftS: number | null } {
  const recent = rate.seconds.filter(isRecent(Math.floor(nowMs / 1000)));
  const sum = (of: (second: Second) => number) => recent.reduce((total, second) => total + of(second), 0);
  const ttfts = sum((second) => second.ttfts);
  return {
    requestsPerS: sum((second) => second.requests) / spanS,
    tokensPerS: sum((second) => second.tokens) / spanS,
    ttftS: ttfts === 0 ? null : sum((second) => second.ttftMs) / ttfts / 1000,
  };
}
