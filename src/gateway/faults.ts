/**
 * What has gone wrong at each deployment's instances lately, for the decisions in core/outliers and core/retry-budget.
 * Owns that memory and nothing else: what is done about it is offer.ts's.
 */
import { type Health, noFailures, noteFailure, noteSuccess, suspects } from "../core/outliers.ts";
import { noteRequest, openBudget, type RetryBudget, takeRetry } from "../core/retry-budget.ts";
import type { ModelLoad, RouteModel } from "../core/routing.ts";

export class Faults {
  readonly #budgets = new Map<string, RetryBudget>();
  readonly #healths = new Map<string, Health>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Forgets deployments that are no longer there. */
  setModels(models: readonly RouteModel[]): void {
    const listed = new Set(models.map((model) => model.deploymentId));
    for (const memory of [this.#budgets, this.#healths]) {
      for (const id of memory.keys()) if (!listed.has(id)) memory.delete(id);
    }
  }

  requested(model: RouteModel): void {
    const [slots, nowMs] = [slotsOf(model), this.#now()];
    const budget = this.#budgets.get(model.deploymentId);
    if (budget !== undefined) this.#budgets.set(model.deploymentId, noteRequest(budget, slots, nowMs));
  }

  /** True when one more try is within the budget; it is taken from it. */
  mayRetry(model: RouteModel): boolean {
    const [slots, nowMs] = [slotsOf(model), this.#now()];
    const budget = this.#budgets.get(model.deploymentId) ?? openBudget(slots, nowMs);
    const next = takeRetry(budget, slots, nowMs);
    this.#budgets.set(model.deploymentId, next ?? budget);
    return next !== null;
  }

  succeeded(model: RouteModel, instanceId: string): void {
    const health = this.#healths.get(model.deploymentId);
    if (health !== undefined) this.#healths.set(model.deploymentId, noteSuccess(health, instanceId));
  }

  /** Answers for how many milliseconds the instance is left alone. */
  failed(model: RouteModel, instanceId: string, isSilent = false): number {
    const listed = model.instances.filter(({ isDraining }) => !isDraining).map(({ id }) => id);
    const before = this.#healths.get(model.deploymentId) ?? noFailures;
    const { health, pauseMs } = noteFailure(before, instanceId, listed, this.#now(), isSilent);
    this.#healths.set(model.deploymentId, health);
    return pauseMs;
  }

  /** Names in the load what fails again and again, so that control looks at it. */
  tell(loads: Readonly<Record<string, ModelLoad>>): Record<string, ModelLoad> {
    const told = { ...loads };
    for (const [id, health] of this.#healths) {
      const [load, named] = [told[id], suspects(health)];
      if (load !== undefined && named.length > 0) told[id] = { ...load, suspects: named };
    }
    return told;
  }
}

function slotsOf({ instances }: RouteModel): number {
  return instances.reduce((sum, { slots }) => sum + slots, 0);
}
