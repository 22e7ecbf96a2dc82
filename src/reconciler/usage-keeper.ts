/**
 * Keeps the books beside the reconciler: which instances have run for how long, and what is old enough to be forgotten.
 * Level-triggered: each look compares what exists with what was noted, so that a crash at any moment costs at most the
 * time since the last look. Decides nothing itself: `core/rent` does.
 */
import type { Deployment } from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { gpuUsdPerHour, type Prices } from "../core/prices.ts";
import { decideRuns, lookEveryMs } from "../core/rent.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";

export type UsageKeeper = {
  /** Instances may have come or gone: look soon. */
  poke(): void;
  start(): void;
  /** Looks a last time, then ends. */
  stop(): Promise<void>;
};

export type UsageLimits = {
  readonly recordsMs: number;
  readonly maxRecords: number;
  readonly sumsMs: number;
};

/** Changes that come together are looked at together. */
const coalesceMs = 200;
const pruneEveryMs = 600_000;
/** Thousands of records that are forgotten at once; what is left has its turn at the next look. */
const pruneSteps = 20;

export function createUsageKeeper(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly prices: Prices;
  readonly limits: UsageLimits;
  log(level: "error", message: string, fields: Record<string, unknown>): void;
}): UsageKeeper {
  const { store, clock, prices, limits } = options;
  const stopping = new AbortController();
  let waking = new AbortController();
  let isPoked = false;
  let pruneAtMs = 0;
  let running: Promise<void> | null = null;

  async function noteRuns(): Promise<void> {
    const open = await store.usage.openRuns();
    const instances = await store.instances();
    if (open.length === 0 && instances.length === 0) return;
    const known = new Set(open.map((run) => run.instanceId));
    const runs = decideRuns(
      open,
      instances,
      await deploymentsOf(instances.filter(({ id }) => !known.has(id))),
      (gpu) => gpuUsdPerHour(prices, gpu),
      clock.now(),
    );
    if (runs.length > 0) await store.usage.putRuns(runs);
  }

  async function deploymentsOf(instances: readonly InstanceRecord[]): Promise<Map<string, Deployment>> {
    const found = new Map<string, Deployment>();
    for (const id of new Set(instances.map((record) => record.deploymentId))) {
      const deployment = await store.deployment(id);
      if (deployment !== null) found.set(id, deployment);
    }
    return found;
  }

  async function prune(): Promise<void> {
    const now = clock.now();
    if (now < pruneAtMs) return;
    const isDone = await store.usage.prune({
      recordsSinceMs: now - limits.recordsMs,
      maxRecords: limits.maxRecords,
      sumsSinceMs: now - limits.sumsMs,
      maxSteps: pruneSteps,
    });
    if (isDone) pruneAtMs = now + pruneEveryMs;
  }

  async function look(): Promise<void> {
    try {
      await noteRuns();
      await prune();
    } catch (error) {
      options.log("error", "usage could not be kept", { error: String(error) });
    }
  }

  /** Resolves after this time, at a poke (unless they are to be gathered), or at the stop. */
  async function wait(ms: number, endsAtPoke: boolean): Promise<void> {
    if (endsAtPoke && isPoked) return;
    waking = new AbortController();
    const signal = endsAtPoke ? AbortSignal.any([stopping.signal, waking.signal]) : stopping.signal;
    await clock.sleep(ms, signal).catch(() => undefined); // aborted: that is what it waited for
  }

  async function lookForEver(): Promise<void> {
    while (!stopping.signal.aborted) {
      isPoked = false;
      await look();
      await wait(lookEveryMs, true);
      await wait(coalesceMs, false);
    }
    await look();
  }

  return {
    poke() {
      isPoked = true;
      waking.abort();
    },
    start() {
      running ??= lookForEver();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
