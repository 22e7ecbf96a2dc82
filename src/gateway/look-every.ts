/**
 * How often it is looked who has waited too long. One look at all is cheaper than a timer for each. Pure. Owns how late a limit
 * may be noticed; must not know what is limited.
 */

/** Limits are looked at so many times within the shortest of them: that part of it is how late they may be. */
const looksPerLimit = 8;
const longestMs = 250;

/** Milliseconds between two looks. */
export function lookEveryMs(shortestLimitMs: number): number {
  return Math.min(longestMs, Math.ceil(shortestLimitMs / looksPerLimit));
}
