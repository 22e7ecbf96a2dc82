/**
 * When to try again after a hiccup: exponential back-off with full jitter, the server's Retry-After first, bounded in
 * number and length. Time and chance are passed in. Must not know what is being tried.
 */
import type { Clock } from "../ports/clock.ts";
import { Hiccup, unreachable } from "./failures.ts";

export type RetryRule = {
  /** Tries in all, at least 1. */
  readonly attempts: number;
  /** Upper bound of the first wait, doubled for each further one, milliseconds. */
  readonly firstWaitMs: number;
  /** No wait is longer, whatever the server asks for, milliseconds. */
  readonly maxWaitMs: number;
  readonly clock: Clock;
  /** 0 <= random() < 1 */
  readonly random: () => number;
};

/** Milliseconds to wait after the `failed`th failure in a row (1 for the first). */
export function backoffMs(rule: RetryRule, failed: number, hiccup: Hiccup): number {
  if (hiccup.retryAfterMs !== null) return Math.min(rule.maxWaitMs, hiccup.retryAfterMs);
  const bound = Math.min(rule.maxWaitMs, rule.firstWaitMs * 2 ** (failed - 1));
  // Half fixed, half chance: never at once, and many clients do not return together.
  return bound / 2 + (rule.random() * bound) / 2;
}

/** Runs `action` until it does not end in a Hiccup; throws hub_unreachable, naming `host`, when the tries are used up. */
export async function retrying<T>(
  rule: RetryRule,
  host: string,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  for (let failed = 1; ; failed += 1) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Hiccup)) throw error;
      if (failed >= rule.attempts) throw unreachable(host, error.message, failed);
      await rule.clock.sleep(backoffMs(rule, failed, error), signal);
    }
  }
}

/** Milliseconds that a Retry-After header asks for (seconds or an HTTP date), null when it is absent or unreadable. */
export function parseRetryAfter(header: string | null, nowMs: number): number | null {
  if (header === null) return null;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? null : Math.max(0, dateMs - nowMs);
}
