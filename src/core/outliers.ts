/**
 * Which instances are left alone for a while because requests keep failing there. Pure: time is a value. Owns the rule that
 * never all of a deployment's instances are: with none left a request has no chance at all. Must not decide whether an
 * instance is restarted: that is the reconciler's, which sees the process.
 */

export type InstanceHealth = {
  /** Failures since the last success. */
  readonly failures: number;
  /** Ejections since the last success. */
  readonly ejections: number;
  readonly ejectedUntilMs: number;
};

/** By instance; one without an entry has never failed. */
export type Health = ReadonlyMap<string, InstanceHealth>;

export const noFailures: Health = new Map();

/** After one failure: the request finds another instance, or this one's successor. */
const shortPauseMs = 500;
/** Failures in a row after which an instance is ejected. */
const failuresToEject = 3;
const firstEjectionMs = 2000;
const maxEjectionMs = 60_000;

export function noteSuccess(health: Health, id: string): Health {
  if (!health.has(id)) return health;
  const next = new Map(health);
  next.delete(id);
  return next;
}

/** Instances at which requests keep failing: something looks well from outside and is not. */
export function suspects(health: Health): string[] {
  return [...health].filter(([, { failures }]) => failures >= failuresToEject).map(([id]) => id);
}

/**
 * A request failed at an instance: it was refused, dropped, broken off, answered with nonsense or not at all.
 * @param listed instances that could take requests
 * @param isSilent it gave no byte for as long as a client may wait: that alone says as much as several other failures
 * @returns for how long this one takes nothing new
 */
export function noteFailure(
  health: Health,
  id: string,
  listed: readonly string[],
  nowMs: number,
  isSilent = false,
): { readonly health: Health; readonly pauseMs: number } {
  const before = health.get(id) ?? { failures: 0, ejections: 0, ejectedUntilMs: 0 };
  const failures = before.failures + (isSilent ? failuresToEject : 1);
  const isOut = (other: string) => (health.get(other)?.ejectedUntilMs ?? 0) > nowMs;
  const hasOther = listed.some((other) => other !== id && !isOut(other));
  const isEjected = failures >= failuresToEject && hasOther;
  const pauseMs = isEjected ? Math.min(maxEjectionMs, firstEjectionMs * 2 ** before.ejections) : shortPauseMs;
  const next = new Map([...health].filter(([other]) => listed.includes(other)));
  next.set(id, {
    failures,
    ejections: before.ejections + (isEjected ? 1 : 0),
    ejectedUntilMs: isEjected ? nowMs + pauseMs : before.ejectedUntilMs,
  });
  return { health: next, pauseMs };
}
