/**
 * Lets an answer of control wait until this gateway goes by routes that know of it, so that a client which deploys and
 * then asks, or revokes and then tries, never meets the routes of a moment ago.
 */
import type { Clock } from "./options.ts";

export type VersionGate = {
  /** Routes of this version are in force now. */
  reach(version: number): void;
  /** Resolves when routes of this version or a later one are in force, or after `limitMs`: late is better than never. */
  reached(version: number): Promise<void>;
};

export function createVersionGate(clock: Clock, limitMs: number): VersionGate {
  const waiting = new Map<AbortController, number>();
  let current = 0;
  return {
    reach(version) {
      current = version;
      for (const [waiter, wanted] of waiting) if (wanted <= version) waiter.abort();
    },
    async reached(version) {
      if (current >= version) return;
      const waiter = new AbortController();
      waiting.set(waiter, version);
      await clock.sleep(limitMs, waiter.signal).catch(() => undefined); // aborted: the version is reached
      waiting.delete(waiter);
    },
  };
}
