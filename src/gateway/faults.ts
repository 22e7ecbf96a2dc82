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
  /** Instances with an answer that takes longer than a first token may, by deployment. */
  readonly #late = new Map<string, ReadonlySet<string>>();
  readonly #now: () => number;
  readonly #onLate: () => void;

  /** @param onLate what `tell` says has changed while no request began or ended */
  constructor(now: () => number, onLate: () => void = () => undefined) {
    this.#now = now;
    this.#onLate = onLate;
  }

  /** Forgets deployments that are no longer there. */
  setModels(models: readonly RouteModel[]): void {
    const listed = new Set(models.map((model) => model.deploymentId));
    for (const memory of [this.#budgets, this.#healths, this.#late]) {
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
    // Whoever else is late: one that answers is no engine that has stopped.
    this.late(model, instanceId, false);
  }

  /** Whether an answer that comes whole is long in coming: that may be its length, or the engine. */
  late({ deploymentId, instances }: RouteModel, instanceId: string, isLate: boolean): void {
    if (!isLate && !this.#late.has(deploymentId)) return;
    const before = this.#late.get(deploymentId) ?? new Set();
    const listed = new Set(instances.map(({ id }) => id)).add(instanceId);
    const next = new Set([...before].filter((id) => listed.has(id) && id !== instanceId));
    if (isLate) next.add(instanceId);
    if (next.size > 0) this.#late.set(deploymentId, next);
    else this.#late.delete(deploymentId);
    this.#onLate();
  }

  /** Answers for how many milliseconds the instance is left alone. */
  failed(model: RouteModel, instanceId: string, isSilent = false): number {
    const listed = model.instances.filter(({ isDraining }) => !isDraining).map(({ id }) => id);
    const before = this.#healths.get(model.deploymentId) ?? noFailures;
    const { health, pauseMs } = noteFailure(before, instanceId, listed, this.#now(), isSilent);
    this.#healths.set(model.deploymentId, health);
    return pauseMs;
  }

  /** Names in the load what fails again and again or gives nothing for long, so that control looks at it. */
  tell(loads: Readonly<Record<string, ModelLoad>>): Record<string, ModelLoad> {
    const told = { ...loads };
    for (const id of new Set([...this.#healths.keys(), ...this.#late.keys()])) {
      const load = told[id];
      const named = new Set([
        ...suspects(this.#healths.get(id) ?? noFailures),
        ...(this.#late.get(id) ?? []),
      ]);
      if (load !== undefined && named.size > 0) told[id] = { ...load, suspects: [...named] };
    }
    return told;
  }
}

function slotsOf({ instances }: RouteModel): number {
  return instances.reduce((sum, { slots }) => sum + slots, 0);
}
