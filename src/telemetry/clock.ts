/** The machine's clock as a port. The only place that reads it for the deciding rooms. */
import { setTimeout as sleepFor } from "node:timers/promises";
import type { Clock } from "../ports/clock.ts";

/** Longer sleeps overflow Node's timers, which then fire at once. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    await sleepFor(Math.min(ms, longestTimerMs), undefined, signal === undefined ? {} : { signal });
  },
};
