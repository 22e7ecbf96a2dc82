/**
 * What an engine's answer to a probe means for its instance: still loading, ready, lost, or out of time. Pure; the
 * watch of an instance acts on it.
 */
import { type Failure, failure } from "../../core/failure.ts";
import { lastWords } from "../../core/last-words.ts";
import type { EngineHealth } from "../../ports/engine.ts";

export type HealthLimits = {
  /** Longest time from start to ready. */
  readonly readyTimeoutMs: number;
  /** Pause between probes of an engine that is ready. */
  readonly probeIntervalMs: number;
  /** Probes in a row that a once ready engine may leave unanswered before it counts as hung. */
  readonly silentProbes: number;
};

export type HealthFacts = {
  readonly now: number;
  readonly startedAtMs: number;
  /** Null until the engine was ready for the first time. */
  readonly readyAtMs: number | null;
  /** Probes in a row before this one that found it not ready. */
  readonly silentBefore: number;
};

export type Verdict =
  | { readonly kind: "loading"; readonly progress: number | null; readonly probeInMs: number }
  | {
      readonly kind: "ready";
      readonly slots: number;
      readonly contextTokens: number;
      readonly note: string | null;
    }
  /** Was ready and is not now; it gets another chance. */
  | { readonly kind: "silent" }
  | { readonly kind: "end"; readonly failure: Failure };

export function judgeHealth(health: EngineHealth, facts: HealthFacts, limits: HealthLimits): Verdict {
  if (health.state === "ready") {
    const { slots, contextTokens, note } = health;
    return { kind: "ready", slots, contextTokens, note };
  }
  if (facts.readyAtMs !== null) {
    if (facts.silentBefore + 1 < limits.silentProbes) return { kind: "silent" };
    return { kind: "end", failure: hungFailure(limits) };
  }
  const elapsedMs = facts.now - facts.startedAtMs;
  if (elapsedMs >= limits.readyTimeoutMs) return { kind: "end", failure: slowFailure(limits) };
  const progress = health.state === "loading" ? health.progress : null;
  return { kind: "loading", progress, probeInMs: loadingPauseMs(elapsedMs) };
}

/** Short loads are noticed within 25 ms; longer ones within a twentieth of their length, at most 250 ms. */
function loadingPauseMs(elapsedMs: number): number {
  return Math.min(250, Math.max(25, elapsedMs / 20));
}

function slowFailure({ readyTimeoutMs }: HealthLimits): Failure {
  return failure(
    "engine_timeout",
    `The engine was still loading after ${describeMs(readyTimeoutMs)}, the limit, and was ended.`,
    "See the deployment's logs for what it was doing; BERTH_LOAD_S gives it more time.",
  );
}

function hungFailure({ probeIntervalMs, silentProbes }: HealthLimits): Failure {
  return failure(
    "engine_timeout",
    `The engine left ${silentProbes} health checks in ${describeMs(probeIntervalMs * silentProbes)} unanswered, so it had hung and was ended.`,
    "See the deployment's logs for its last lines.",
  );
}

/** What an engine printed last may say what it was at when it was given up. */
export function withLastWords(cause: Failure, lines: readonly string[]): Failure {
  const words = lastWords(lines);
  const said = words === null ? "It had printed nothing." : `The last it printed was: ${words}.`;
  return { ...cause, message: `${cause.message} ${said}` };
}

function describeMs(ms: number): string {
  return `${Number((ms / 1000).toPrecision(2))} s`;
}
