/**
 * GPU time actually used: one run for each instance, from its process's start to its end. Derived from what exists now
 * and what was noted before, so that a restart at any moment loses nothing that was noted. Pure.
 *
 * A run that ended while nobody was looking (control was away) counts until it was last seen: never more than was used.
 */
import type { Deployment } from "./deployment.ts";
import type { InstanceRecord } from "./instance.ts";

export type InstanceRun = {
  readonly instanceId: string;
  readonly deploymentId: string;
  /** Owner of the deployment. */
  readonly account: string;
  readonly gpu: string;
  readonly gpus: number;
  /** The price in force when it started. */
  readonly usdPerGpuHour: number;
  readonly startedAtMs: number;
  /** When its process was last known to run. */
  readonly seenAtMs: number;
  /** Null while it runs. */
  readonly endedAtMs: number | null;
};

/** Runs are looked at least this often; after twice that time nobody was looking. */
export const lookEveryMs = 30_000;

/**
 * The runs that are new or have changed.
 * @param open runs that had not ended when they were last written
 * @param usdPerGpuHour by GPU type
 */
export function decideRuns(
  open: readonly InstanceRun[],
  instances: readonly InstanceRecord[],
  deployments: ReadonlyMap<string, Deployment>,
  usdPerGpuHour: (gpu: string) => number,
  nowMs: number,
): InstanceRun[] {
  const living = new Map(instances.filter(isLiving).map((record) => [record.id, record]));
  const known = new Set(open.map((run) => run.instanceId));
  const changed: InstanceRun[] = open.map((run) => {
    if (living.has(run.instanceId)) return { ...run, seenAtMs: Math.max(run.seenAtMs, nowMs) };
    const wasWatched = nowMs - run.seenAtMs <= 2 * lookEveryMs;
    const endedAtMs = Math.max(run.startedAtMs, wasWatched ? nowMs : run.seenAtMs);
    return { ...run, endedAtMs };
  });
  for (const [instanceId, record] of living) {
    const deployment = deployments.get(record.deploymentId);
    if (known.has(instanceId) || deployment === undefined || record.observed === null) continue;
    const { gpu, numGpus } = deployment.config;
    changed.push({
      instanceId,
      deploymentId: deployment.id,
      account: deployment.account,
      gpu,
      gpus: numGpus,
      usdPerGpuHour: usdPerGpuHour(gpu),
      startedAtMs: record.observed.startedAtMs,
      seenAtMs: Math.max(nowMs, record.observed.startedAtMs),
      endedAtMs: null,
    });
  }
  return changed;
}

function isLiving({ observed }: InstanceRecord): boolean {
  return observed !== null && observed.state !== "exited";
}

/** Milliseconds of this run in a window; one that goes on counts until `nowMs`. */
export function runMsWithin(
  run: InstanceRun,
  window: { readonly fromMs: number; readonly toMs: number },
  nowMs: number,
): number {
  const endMs = Math.min(run.endedAtMs ?? Math.max(nowMs, run.startedAtMs), window.toMs);
  return Math.max(0, endMs - Math.max(run.startedAtMs, window.fromMs));
}
