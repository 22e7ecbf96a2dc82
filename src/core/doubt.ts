/**
 * Which instances are asked for a token although they say that they are well: those at which requests keep failing. What does
 * not give one is replaced, as if it had ended. Pure.
 */
import type { InstanceRecord } from "./instance.ts";

export type DoubtInput = {
  readonly now: number;
  /** Instances that serve or will. */
  readonly live: readonly InstanceRecord[];
  /** Instances at which requests keep failing, as gateways see it. */
  readonly suspects: readonly string[];
  /** Instances that are being asked. */
  readonly asking: ReadonlySet<string>;
  /** When instances last answered such a question. */
  readonly answeredAtMs: ReadonlyMap<string, number>;
};

/** One that has answered is left alone for so long, whatever becomes of requests: the fault may be theirs. */
export const doubtPauseMs = 30_000;

/** Whom to ask now, and when to look again because of one that has answered; null: not because of that. */
export function doubtInstances(input: DoubtInput): {
  readonly ask: readonly string[];
  readonly againAtMs: number | null;
} {
  const { now, suspects, asking, answeredAtMs } = input;
  const doubted = input.live
    .filter(({ id, observed }) => observed?.state === "running" && suspects.includes(id) && !asking.has(id))
    .map(({ id }) => ({ id, dueAtMs: (answeredAtMs.get(id) ?? Number.NEGATIVE_INFINITY) + doubtPauseMs }));
  const later = doubted.filter(({ dueAtMs }) => dueAtMs > now).map(({ dueAtMs }) => dueAtMs);
  return {
    ask: doubted.filter(({ dueAtMs }) => dueAtMs <= now).map(({ id }) => id),
    againAtMs: later.length === 0 ? null : Math.min(...later),
  };
}
