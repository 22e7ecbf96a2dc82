/**
 * How many instances a deployment should have now. Pure: the time is a value among the others. Today it keeps the
 * minimum and handles zero; scaling under load will change this file alone.
 */
import type { ScaleSettings } from "./deployment.ts";
import type { ModelLoad } from "./routing.ts";

export type ScaleInput = {
  readonly settings: ScaleSettings;
  readonly load: ModelLoad;
  /** Instances that run or are being started and are not draining. */
  readonly live: number;
  /** When the deployment was last known to be in use, milliseconds since the epoch. */
  readonly lastActivityMs: number;
  readonly now: number;
  /** Idle time to zero where the deployment names none, milliseconds. */
  readonly defaultInactiveShutdownMs: number;
};

export type ScaleDecision = {
  readonly wanted: number;
  readonly reason: string;
  /** When the answer may change by the passing of time alone, milliseconds since the epoch; null when it cannot. */
  readonly againAtMs: number | null;
};

export function decideScale(input: ScaleInput): ScaleDecision {
  const { minInstances, maxInstances, inactiveShutdownS } = input.settings;
  if (maxInstances === 0) return { wanted: 0, reason: "max_instances is 0", againAtMs: null };
  if (minInstances > 0) {
    return { wanted: minInstances, reason: `min_instances is ${minInstances}`, againAtMs: null };
  }
  const atWork = input.load.queued + input.load.running;
  if (atWork > 0) {
    const requests = atWork === 1 ? "1 request waits or runs" : `${atWork} requests wait or run`;
    return { wanted: Math.max(1, Math.min(input.live, maxInstances)), reason: requests, againAtMs: null };
  }
  if (input.live === 0)
    return { wanted: 0, reason: "min_instances is 0 and no request waits", againAtMs: null };
  const idleLimitMs = inactiveShutdownS === null ? input.defaultInactiveShutdownMs : inactiveShutdownS * 1000;
  const idleEndsAtMs = input.lastActivityMs + idleLimitMs;
  if (input.now < idleEndsAtMs) {
    return {
      wanted: Math.min(input.live, maxInstances),
      reason: "used within inactive_shutdown",
      againAtMs: idleEndsAtMs,
    };
  }
  return { wanted: 0, reason: `no request for ${Math.round(idleLimitMs / 1000)} s`, againAtMs: null };
}
