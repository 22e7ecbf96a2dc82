/** How long what failed is left alone before it is tried again. Pure. */
import type { Tries } from "./deployment.ts";

const maxBackoffMs = 300_000;

/** Wait before the next try: none after the first failure, then 1 s, 2 s, 4 s … up to 5 minutes. */
export function backoffMs(failedTries: number): number {
  if (failedTries <= 1) return 0;
  return Math.min(maxBackoffMs, 1000 * 2 ** (failedTries - 2));
}

/** A try that lies in the future was made before the clock was put back: waiting for that time could take for ever. */
export function retryTime(tries: Tries, now: number): number {
  if (tries.lastAtMs === null || tries.lastAtMs > now) return 0;
  return tries.lastAtMs + backoffMs(tries.count);
}
