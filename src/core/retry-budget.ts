/**
 * How many requests of one deployment may be tried again. Pure: time is a value. Retries help while a few requests fail;
 * where most do they only multiply the load, so that they have a budget: what one dying instance can have in flight, filled
 * up slowly by time and by requests. Must not know why a request failed.
 */

export type RetryBudget = {
  /** Retries that are left; fractions count up. */
  readonly left: number;
  readonly atMs: number;
};

/** Each request adds so much: in the long run retries are no more than this part of the requests. */
const perRequest = 0.2;
/** An empty budget is full again after so long, whatever is asked. */
const fillMs = 20_000;
/** Held at least, however few slots there are. */
const leastCapacity = 10;

/** @param slots requests that all instances serve at once: an instance that dies takes at most so many with it */
export function openBudget(slots: number, nowMs: number): RetryBudget {
  return { left: capacityFor(slots), atMs: nowMs };
}

export function noteRequest(budget: RetryBudget, slots: number, nowMs: number): RetryBudget {
  return fill(budget, slots, nowMs, perRequest);
}

/** Takes one retry; null when there is none left. */
export function takeRetry(budget: RetryBudget, slots: number, nowMs: number): RetryBudget | null {
  const filled = fill(budget, slots, nowMs, 0);
  return filled.left < 1 ? null : { ...filled, left: filled.left - 1 };
}

function fill({ left, atMs }: RetryBudget, slots: number, nowMs: number, more: number): RetryBudget {
  const capacity = capacityFor(slots);
  const byTime = (capacity * Math.max(0, nowMs - atMs)) / fillMs;
  return { left: Math.min(capacity, left + byTime + more), atMs: Math.max(atMs, nowMs) };
}

function capacityFor(slots: number): number {
  return Math.max(leastCapacity, slots);
}
