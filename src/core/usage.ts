/**
 * What one inference request used, as the gateway leaves it and control stores it: the one source of statistics, limits,
 * costs and rent. Plain values and the sums over them; no I/O. Never holds a prompt, an answer or a secret.
 */

/** What was asked for; `time` counts by duration (native calls of other tasks). */
export type UsageKind = "llm" | "embeddings" | "time";

export type UsageRecord = {
  /** Unique for ever; a record that is delivered twice is stored once. */
  readonly id: string;
  readonly requestId: string;
  readonly account: string;
  /** The API token that called; a JWT counts as its parent. */
  readonly tokenId: string;
  /** The scoped JWT that called (see core/jwt), null for the token itself. */
  readonly scopeId: string | null;
  readonly deploymentId: string;
  /** Full name. */
  readonly model: string;
  /** The instance that served last; null when none did. */
  readonly instanceId: string | null;
  readonly kind: UsageKind;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** What the client was sent; 499 when it left before. */
  readonly status: number;
  /** Code of the error that ended it, null when none did. */
  readonly error: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of the input, those that came from a cache. */
  readonly cachedTokens: number;
  /** Milliseconds from the request's arrival until it had a slot. */
  readonly waitedMs: number;
  /** Milliseconds from the request's arrival to the first byte of the answer; null when none came. */
  readonly ttftMs: number | null;
  /** Billionths of a US dollar, by the prices that were in force then. */
  readonly costNanoUsd: number;
};

/** Tokens of one request, as the engine counted them. */
export type TokenUsage = {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
};

export const noTokens: TokenUsage = { inputTokens: 0, outputTokens: 0, cachedTokens: 0 };

/** US dollars per million tokens; 0 by default: the hardware is yours. */
export type TokenPrices = {
  readonly inputUsd: number;
  readonly outputUsd: number;
  readonly cachedUsd: number;
};

export const freeOfCharge: TokenPrices = { inputUsd: 0, outputUsd: 0, cachedUsd: 0 };

/** Cost in billionths of a US dollar: a dollar per million tokens is 1000 of them a token. Cached input counts as cached alone. */
export function costNanoUsd(usage: TokenUsage, prices: TokenPrices): number {
  const fresh = Math.max(0, usage.inputTokens - usage.cachedTokens);
  const usdMillionths =
    fresh * prices.inputUsd + usage.cachedTokens * prices.cachedUsd + usage.outputTokens * prices.outputUsd;
  return Math.round(usdMillionths * 1000);
}
