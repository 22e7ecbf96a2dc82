/**
 * Scaling as a part of the plan: what of the world the scaler is given, what a deployment without room claims, and which
 * instance is given up first. Pure. The rules themselves are in `scale` and `scale-share`.
 */
import { earlier } from "./action.ts";
import type { ScaleSettings } from "./deployment.ts";
import type { InstanceRecord } from "./instance.ts";
import { countForScale } from "./rollout.ts";
import { decideScale, defaultTuning, type ScaleDecision } from "./scale.ts";
import { askedOf, type Claim } from "./scale-share.ts";
import { describeRule, type Minimum, minimumAt, settingsAt } from "./schedule.ts";
import type { World } from "./world.ts";

export function scaleOf(world: World, live: readonly InstanceRecord[]): ScaleDecision {
  const { deployment, limits } = world;
  const { id, config, revisions } = deployment;
  const minimum = minimumAt(deployment.settings, world.now);
  const decision = decideScale({
    settings: { ...deployment.settings, minInstances: minimum.instances },
    minimumReason: describeMinimum(deployment.settings, minimum),
    load: world.load,
    history: world.history,
    slots: slotsOf(world, live),
    loadTimeMs: deployment.loadTimeMs,
    live: countForScale(revisions, live),
    lastActivityMs: Math.max(
      world.load.lastRequestAtMs ?? 0,
      world.watchingSinceMs,
      ...live.map((record) => record.observed?.readyAtMs ?? record.createdAtMs),
    ),
    watchingSinceMs: world.watchingSinceMs,
    now: world.now,
    defaultInactiveShutdownMs: limits.inactiveShutdownMs,
    asked: askedOf({ deploymentId: id, config }, world.claims ?? [], soonFree(world)),
    tuning: {
      ...defaultTuning,
      downAfterMs: limits.scaleDownMs ?? defaultTuning.downAfterMs,
      fullness: limits.scaleFull ?? defaultTuning.fullness,
      cover: limits.scaleCover ?? defaultTuning.cover,
    },
  });
  return { ...decision, againAtMs: earlier(decision.againAtMs, minimum.next?.atMs ?? null) };
}

/** Most GPUs of the deployment's type that one machine has free, or will have when what drains is gone. */
function soonFree({ nodes, occupiedGpus, leavingGpus, deployment }: World): number {
  const { gpu } = deployment.config;
  const isFree = (id: string) => !occupiedGpus.has(id) || leavingGpus?.has(id) === true;
  const counts = nodes.map(
    ({ gpus }) => gpus.filter(({ id, type, usable }) => type === gpu && usable && isFree(id)).length,
  );
  return Math.max(0, ...counts);
}

/** Absent where `min_instances` says so. */
function describeMinimum({ schedule }: ScaleSettings, { rule, instances }: Minimum): string | undefined {
  if (schedule === undefined || rule === null) return undefined;
  return `its schedule asks for ${instances}, ${describeRule(rule, schedule)}`;
}

/** What engines report; memory may allow fewer than were asked for. */
function slotsOf({ deployment }: World, live: readonly InstanceRecord[]): number {
  const reported = live.flatMap(({ observed }) => (observed?.state === "running" ? [observed.slots] : []));
  if (reported.length === 0) return deployment.config.maxBatchSize;
  return Math.max(1, Math.floor(reported.reduce((sum, slots) => sum + slots, 0) / reported.length));
}

export function claimOf(world: World, live: number, scale: ScaleDecision): Claim {
  const { id, name, config } = world.deployment;
  const settings = settingsAt(world.deployment.settings, world.now);
  const work = world.load.queued + world.load.running;
  return {
    deploymentId: id,
    name,
    config: { gpu: config.gpu, numGpus: config.numGpus },
    belowMinimum: Math.max(0, settings.minInstances - live),
    forWork: Math.max(0, scale.needed - Math.max(live, settings.minInstances)),
    need: live === 0 ? Number.POSITIVE_INFINITY : work / live,
  };
}

/** Those to give up first: not ready yet, then with the least to do, then the newest. */
export function leastUseful({ load }: World, live: readonly InstanceRecord[]): InstanceRecord[] {
  const isReady = (record: InstanceRecord) => (record.observed?.state === "running" ? 1 : 0);
  const busy = ({ id }: InstanceRecord) => load.inFlight[id] ?? 0;
  return [...live].sort(
    (a, b) => isReady(a) - isReady(b) || busy(a) - busy(b) || b.createdAtMs - a.createdAtMs,
  );
}
