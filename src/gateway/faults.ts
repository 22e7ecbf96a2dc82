/**
 * What has gone wrong at one deployment's instances lately, for the decisions in core/outliers and core/retry-budget.
 * Owns that memory and nothing else: what is done about it is line.ts's and offer.ts's.
 */
import { type Health, noFailures, noteFailure, noteSuccess } from "../core/outliers.ts";
import { noteRequest, openBudget, type RetryBudget, takeRetry } from "../core/retry-budget.ts";
import type { RouteInstance } from "../core/routing.ts";

export class Faults {
  /** Null until something has failed: most deployments never need one. */
  #budget: RetryBudget | null = null;
  #health: Health = noFailures;
  #instances: readonly RouteInstance[] = [];
  #slots = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  setInstances(instances: readonly RouteInstance[]): void {
    this.#instances = instances;
    this.#slots = instances.reduce((sum, { slots }) => sum + slots, 0);
  }

  requested(): void {
    if (this.#budget !== null) this.#budget = noteRequest(this.#budget, this.#slots, this.#now());
  }

  /** True when one more try is within the budget; it is taken from it. */
  mayRetry(): boolean {
    const nowMs = this.#now();
    const budget = this.#budget ?? openBudget(this.#slots, nowMs);
    const next = takeRetry(budget, this.#slots, nowMs);
    this.#budget = next ?? budget;
    return next !== null;
  }

  succeeded(instanceId: string): void {
    this.#health = noteSuccess(this.#health, instanceId);
  }

  /** Answers for how many milliseconds the instance is left alone. */
  failed(instanceId: string): number {
    const listed = this.#instances.filter(({ isDraining }) => !isDraining).map(({ id }) => id);
    const { health, pauseMs } = noteFailure(this.#health, instanceId, listed, this.#now());
    this.#health = health;
    return pauseMs;
  }
}
