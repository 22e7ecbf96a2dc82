/**
 * How tests wait: for a condition, never for a time. Both look often at first, then less, since a look may cost. The limit is
 * for what never comes; it is no bar for speed, so it is far above what a busy machine needs.
 */
import { setTimeout as sleep } from "node:timers/promises";

const defaultLimitMs = 60_000;

/** Waits until there is something to see, and answers it. */
export async function until<T>(
  what: string,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  limitMs = defaultLimitMs,
): Promise<T> {
  const endsAtMs = performance.now() + limitMs;
  for (let pauseMs = 1; ; pauseMs = nextPause(pauseMs)) {
    const seen = await look();
    if (seen !== null && seen !== undefined && seen !== false) return seen;
    if (performance.now() > endsAtMs) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await sleep(pauseMs);
  }
}

/** Waits until an assertion holds; fails as it failed last. */
export async function eventually<T>(check: () => Promise<T> | T): Promise<T> {
  const endsAtMs = performance.now() + defaultLimitMs;
  for (let pauseMs = 1; ; pauseMs = nextPause(pauseMs)) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > endsAtMs) throw error;
    }
    await sleep(pauseMs);
  }
}

function nextPause(pauseMs: number): number {
  return Math.min(pauseMs * 1.5, 50);
}
