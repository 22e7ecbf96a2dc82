/**
 * What to do next about one deployment, from everything that is known of it. Pure and level-triggered: it can start
 * from any state of the world, and once nothing changes any more it returns no actions. Every action has a reason.
 * Does not act, does not remember.
 */
import { type Action, act, join, nothing, type Plan, type ScaleInputs } from "./action.ts";
import { retryTime } from "./backoff.ts";
import { doubtInstances } from "./doubt.ts";
import { planDraining } from "./drain.ts";
import { type Failure, failure } from "./failure.ts";
import { refuseUnfit } from "./fit-deployment.ts";
import { lostAgain, lostCause, stableMs } from "./giving-up.ts";
import type { InstanceRecord, NodeCapacity, Placement } from "./instance.ts";
import { type PlaceOutcome, placeInstance } from "./place.ts";
import { chooseRecycled } from "./recycle.ts";
import { isOnTrial } from "./revision.ts";
import { isRollingOut, planRollout, type RolloutStep } from "./rollout.ts";
import { mustLeaveRoom } from "./scale-share.ts";
import { claimOf, leastUseful, scaleOf } from "./scale-world.ts";
import type { World } from "./world.ts";

export function planDeployment(world: World): Plan {
  const { deployment } = world;
  const exits = planExits(world);
  const cleanUp = join(exits, planDraining(world));
  if (deployment.desired !== "run") {
    const why = deployment.desired === "stop" ? "the deployment was stopped" : "the deployment was deleted";
    return join(cleanUp, planNothingRuns(world, why));
  }
  if (deployment.failure !== null) return join(cleanUp, planNothingRuns(world, "the deployment has failed"));

  const givenUp = planGivingUp(world);
  if (givenUp !== null) return join(cleanUp, givenUp);
  // Exits are recorded first: the next look decides with the tries they count.
  if (exits.actions.some((action) => action.do === "record-exit")) return cleanUp;

  const retryAtMs = retryTime(deployment.tries, world.now);
  const later: Plan = { actions: [], againAtMs: retryAtMs };
  const mustWait = retryAtMs > world.now;
  if (deployment.resolved === null) {
    if (world.underWay.resolve) return cleanUp;
    if (mustWait) return join(cleanUp, later);
    return join(cleanUp, act({ do: "resolve", reason: "the repository is not resolved to a commit yet" }));
  }
  if (deployment.weightsReadyAtMs === null) {
    if (world.underWay.fetch) return cleanUp;
    // What cannot run is not worth a download.
    const unfit = whyUnfit(world);
    if (unfit !== null) return join(cleanUp, act({ do: "fail", failure: unfit, reason: unfit.message }));
    if (mustWait) return join(cleanUp, later);
    const commit = deployment.resolved.commit;
    return join(cleanUp, act({ do: "fetch", reason: `the files of commit ${commit} are not checked yet` }));
  }
  return join(cleanUp, planInstances(world, retryAtMs));
}

/** Instances whose process is gone, or that cannot answer. One that was draining ended as it should. */
function planExits(world: World): Plan {
  const { deployment } = world;
  const { wanted, fallback } = deployment.revisions;
  const actions: Action[] = [];
  for (const record of world.instances) {
    const { id, intent, observed, revision } = record;
    const isMute = intent === "run" && world.warmFailures.has(id);
    const lost = observed === null ? null : lostGpu(world.nodes, observed);
    const isOver = observed?.state === "exited" || isMute || lost !== null;
    if (!isOver || world.underWay.removing.has(id)) continue;
    const serves = lost === null && observed?.state === "running" && !isOnTrial(deployment.revisions, record);
    if (serves && intent === "run" && (actions.length > 0 || isReplacing(world))) continue;
    if (intent === "drain") actions.push({ do: "remove", instanceId: id, reason: "it has ended" });
    else {
      const cause = lost ?? observed?.failure ?? world.warmFailures.get(id) ?? unexplainedExit;
      const of = fallback !== null && revision === wanted.id ? "update" : "deployment";
      actions.push({ do: "record-exit", instanceId: id, of, failure: cause, reason: cause.message });
    }
  }
  return { actions, againAtMs: null };
}

/**
 * What answers nothing is replaced one at a time: where something outside fails all of them, a file system or a GPU's driver,
 * those that are left may recover, and ending them all at once would leave nothing at all.
 */
function isReplacing({ instances, underWay }: World): boolean {
  return instances.some(
    ({ id, intent, observed }) =>
      underWay.removing.has(id) ||
      (intent === "run" && observed?.state !== "running" && observed?.state !== "exited"),
  );
}

const unexplainedExit = failure(
  "engine_crashed",
  "The engine ended without saying why.",
  "See the deployment's logs.",
);

/** An engine whose GPU has gone cannot serve, though its process may hang on for long. */
function lostGpu(nodes: readonly NodeCapacity[], { placement }: { placement: Placement }): Failure | null {
  const node = nodes.find((each) => each.node === placement.node);
  const gpu = node?.gpus.find((each) => each.outage === "lost" && placement.gpus.includes(each.id));
  if (gpu === undefined) return null;
  return failure(
    "gpu_lost",
    `The GPU ${gpu.id} (${gpu.name}) of an instance cannot be reached any more: ${gpu.reason}.`,
    "Look at the machine's kernel log; a reset of the GPU or a reboot of the machine usually brings it back.",
  );
}

function planNothingRuns(world: World, why: string): Plan {
  const { resolve, fetch } = world.underWay;
  const cancel: Plan = resolve || fetch ? act({ do: "cancel", reason: why }) : nothing;
  const drains = living(world).map((record): Action => ({ do: "drain", instanceId: record.id, reason: why }));
  return join(cancel, { actions: drains, againAtMs: null });
}

/** Failures that no further try can mend. */
function planGivingUp(world: World): Plan | null {
  const { deployment, limits } = world;
  const place = findPlace(world, world.occupiedGpus);
  // One that has run waits instead: GPUs that were lost may come back.
  if (place.kind === "never" && !deployment.hasRun) {
    return act({ do: "fail", failure: place.failure, reason: place.failure.message });
  }
  const { tries, hasRun } = deployment;
  const serves = living(world).some(({ observed }) => observed?.state === "running");
  if (hasRun && serves) return null;
  const lost = hasRun ? lostAgain(tries, limits.restarts ?? 0) : lostCause(tries, limits.loadTries);
  return lost === null ? null : act({ do: "fail", failure: lost, reason: lost.message });
}

/** Instances that say they are well while requests keep failing there. */
function planDoubts(world: World, live: readonly InstanceRecord[]): Plan {
  const { ask, againAtMs } = doubtInstances({
    ...{ now: world.now, live, suspects: world.load.suspects ?? [] },
    asking: world.underWay.warming,
    answeredAtMs: world.answeredAtMs ?? new Map(),
  });
  const actions = ask.map(
    (instanceId): Action => ({ do: "doubt", instanceId, reason: "requests keep failing at it" }),
  );
  return { actions, againAtMs };
}

function whyUnfit(world: World): Failure | null {
  return refuseUnfit({
    ...world,
    engineMemory: world.engineMemory ?? null,
    measured: world.measured ?? null,
  });
}

function planInstances(world: World, retryAtMs: number): Plan {
  const { deployment, now } = world;
  const { revisions } = deployment;
  const live = living(world);
  const scale = scaleOf(world, live);
  const marks = join(planMarks(world, live), planDoubts(world, live));
  const base = join(marks, { actions: [], againAtMs: scale.againAtMs });
  if (isRollingOut(revisions, live)) return join(base, planUpdate(world, live, scale, retryAtMs));
  if (live.length > scale.wanted) {
    const spare = leastUseful(world, live).slice(0, live.length - scale.wanted);
    const { reason, inputs } = scale;
    const actions = spare.map(({ id }): Action => ({ do: "drain", instanceId: id, reason, inputs }));
    return join(base, { actions, againAtMs: null });
  }
  if (live.length === scale.wanted) {
    const { inFlight, queued } = world.load;
    const grown = chooseRecycled({ now, live, memory: world.memory ?? new Map(), inFlight, queued });
    return grown === null ? base : join(base, act({ do: "drain", ...grown }));
  }
  if (retryAtMs > now) return join(base, { actions: [], againAtMs: retryAtMs });
  const claim = claimOf(world, live.length, scale);
  if (mustLeaveRoom(claim, world.claims ?? [])) {
    return {
      ...join(base, nothing),
      waitsFor: "another deployment has the better claim to what is free",
      claim,
    };
  }
  const starts = planStarts(world, scale.wanted - live.length, scale.reason, scale.inputs);
  return join(base, isShortOfGpus(world, starts) ? { ...starts, claim } : starts);
}

/** Nobody can help out of a quota, nor where there is no such GPU. */
function isShortOfGpus(world: World, { waitsFor, actions }: Plan): boolean {
  if (waitsFor === undefined || world.deployment.config.gpu === "other") return false;
  const place = findPlace({ ...world, quota: undefined }, world.occupiedGpus, actions.length);
  return place.kind !== "never" && !isAtQuota(world, actions.length);
}

function isAtQuota({ quota, deployment }: World, started: number): boolean {
  return quota !== undefined && quota.held + (started + 1) * deployment.config.numGpus > quota.limit;
}

/** What instances that serve say of the deployment: it runs; it has recovered. */
function planMarks(world: World, live: readonly InstanceRecord[]): Plan {
  const { deployment, now } = world;
  const serving = live.filter(
    (record) => record.observed?.state === "running" && !isOnTrial(deployment.revisions, record),
  );
  if (serving.length === 0) return nothing;
  const { wanted } = deployment.revisions;
  const [first] = serving;
  const revision = serving.some((record) => record.revision === wanted.id) ? wanted.id : first?.revision;
  const marks =
    deployment.hasRun || revision === undefined
      ? nothing
      : act({ do: "mark-run", revision, reason: "the first instance answers" });
  if (deployment.tries.count === 0) return marks;
  const readyAtMs = Math.min(...serving.map((record) => record.observed?.readyAtMs ?? now));
  const { lastAtMs } = deployment.tries;
  // One that has served for long says nothing of another that failed since: without its back-off that one starts at once, for ever.
  const stableAtMs = Math.max(readyAtMs, lastAtMs === null || lastAtMs > now ? 0 : lastAtMs) + stableMs;
  const clear: Plan =
    now >= stableAtMs
      ? act({ do: "clear-tries", reason: `it has run for ${stableMs / 1000} s` })
      : { actions: [], againAtMs: stableAtMs };
  return join(marks, clear);
}

/** The next step of an update, or of what is left of one. */
function planUpdate(
  world: World,
  live: readonly InstanceRecord[],
  scale: { readonly wanted: number; readonly reason: string },
  retryAtMs: number,
): Plan {
  const { deployment, now } = world;
  const unfit = whyUpdateUnfit(world);
  if (unfit !== null) return act({ do: "revert-update", failure: unfit, reason: unfit.message });
  const tryAtMs = Math.max(retryAtMs, retryTime(deployment.revisions.tries, now));
  const steps = planRollout({
    revisions: deployment.revisions,
    live,
    leaving: world.instances.length - live.length,
    wanted: scale.wanted,
    reason: scale.reason,
    hasRoom: findPlace(world, world.occupiedGpus).kind === "placed",
    mayTry: tryAtMs <= now,
    warming: world.underWay.warming,
    loadTries: world.limits.loadTries,
  });
  const plans = steps.map((step: RolloutStep) =>
    step.do === "start" ? planStarts(world, step.count, step.reason) : act(step),
  );
  return plans.reduce(join, { actions: [], againAtMs: tryAtMs > now ? tryAtMs : null });
}

/** Arguments that cannot fit are taken back before anything is started; unless what serves should not fit either. */
function whyUpdateUnfit(world: World): Failure | null {
  const { revisions } = world.deployment;
  if (revisions.fallback === null) return null;
  const before = { ...world.deployment, revisions: { ...revisions, wanted: revisions.fallback } };
  return whyUnfit({ ...world, deployment: before }) === null ? whyUnfit(world) : null;
}

function planStarts(world: World, count: number, why: string, inputs?: ScaleInputs): Plan {
  const occupied = new Set(world.occupiedGpus);
  const actions: Action[] = [];
  for (let index = 0; index < count; index += 1) {
    const place = findPlace(world, occupied, index);
    if (place.kind !== "placed") {
      // No timer: whoever frees room, or a GPU that comes back, causes the next look.
      const waitsFor = place.kind === "never" ? place.failure.message : place.reason;
      return { actions, againAtMs: null, waitsFor };
    }
    for (const gpu of place.placement.gpus) occupied.add(gpu);
    const reason = `${why}; placed on ${place.reason}`;
    actions.push({ do: "start", placement: place.placement, reason, ...(inputs && { inputs }) });
  }
  return { actions, againAtMs: null };
}

/** @param started further instances of this deployment that this plan starts already */
function findPlace(world: World, occupiedGpus: ReadonlySet<string>, started = 0): PlaceOutcome {
  const { config, resolved } = world.deployment;
  const { quota } = world;
  return placeInstance({
    ...world,
    config,
    occupiedGpus,
    weightsBytes: resolved?.files.reduce((sum, file) => sum + file.bytes, 0),
    quota: quota && { ...quota, held: quota.held + started * config.numGpus },
  });
}

/** Instances that serve or will. */
function living(world: World): InstanceRecord[] {
  return world.instances.filter(
    (record) =>
      record.intent === "run" &&
      record.observed?.state !== "exited" &&
      !world.underWay.removing.has(record.id),
  );
}
