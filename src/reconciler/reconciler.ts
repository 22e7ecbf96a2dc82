/**
 * Observe -> plan -> act, one deployment at a time. The only room that calls a driver or the hub on behalf of a
 * deployment. Level-triggered: each look reads stored facts and the driver's observations anew, so start-up, recovery
 * and ordinary work are one path, and a hint that is lost costs at most one sweep. Decides nothing itself: `core/plan`
 * does.
 */

import { isStale, type Plan } from "../core/action.ts";
import type { Deployment } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import { measurementOf } from "../core/fit-deployment.ts";
import { type MeasuredMemory, readMeasurement } from "../core/fit-measured.ts";
import type {
  InstanceMemory,
  InstanceRecord,
  ObservedInstance,
  RecordedObservation,
} from "../core/instance.ts";
import { LoadBoard } from "../core/load-board.ts";
import { planDeployment } from "../core/plan.ts";
import type { LoadReport } from "../core/routing.ts";
import { noteWork } from "../core/scale.ts";
import { WorkHistory } from "../core/scale-history.ts";
import { byClaim, type Claim } from "../core/scale-share.ts";
import type { World } from "../core/world.ts";
import { type Actor, createActor } from "./act.ts";
import { withDeadlines } from "./deadlines.ts";
import { createMailboxes } from "./mailbox.ts";
import type { ReconcilerOptions } from "./options.ts";
import { createRoom } from "./room.ts";

export type Reconciler = {
  /** Takes over what is running, ends what nobody wants; afterwards statuses are true. Then goes on by itself. */
  start(): Promise<void>;
  /** Looks at a deployment soon: it was written, or something of it may have changed. */
  poke(deploymentId: string): void;
  /** A gateway's newest picture of its load. */
  takeLoad(report: LoadReport): void;
  /** A gateway has gone; what it had is over. */
  dropGateway(gatewayId: string): void;
  /** The download under way, null when there is none. */
  progressOf(deploymentId: string): DownloadProgress | null;
  /** Secrets of the instances that were seen, by instance id; kept in memory alone. */
  readonly secrets: ReadonlyMap<string, string>;
  /** Ends every instance and starts none any more: for `berth down`. */
  endAll(): Promise<void>;
  /** Stops looking. Instances keep running. */
  stop(): Promise<void>;
};

/** A look that fails (the store or the driver refuses) is repeated after 1 s, 2 s, 4 s … up to this time. */
const maxRetryLookMs = 30_000;

/** What a deployment waits for. */
type Waiting = { readonly reason: string; readonly claim: Claim | undefined };

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { store, clock, log } = options;
  const driver = withDeadlines(options.driver, clock);
  /** Looks that failed in a row, by deployment. */
  const failedLooks = new Map<string, number>();
  const loads = new LoadBoard();
  const secrets = new Map<string, string>();
  /** What instances use, as it was seen last. */
  const memories = new Map<string, InstanceMemory>();
  const stopping = new AbortController();
  let watchingSinceMs = 0;
  let gatewaySeenAtMs = 0;
  let unwatch: () => void = () => undefined;
  /** Deployments that wait for room, the one that waits longest first, with what they wait for. */
  const waiting = new Map<string, Waiting>();
  const histories = new Map<string, WorkHistory>();
  /** Counts what was freed: room that came during a look must not be missed. */
  let freed = 0;
  let sweeping: Promise<void> = Promise.resolve();
  let extraSweep: Promise<void> = Promise.resolve();

  const mailboxes = createMailboxes(clock, look);
  const room = createRoom(store, options.gpuLimit ?? (async () => Number.POSITIVE_INFINITY));
  const actor: Actor = createActor({ ...options, driver }, room, mailboxes.poke, pokeWaiting);

  async function look(deploymentId: string): Promise<number | null> {
    try {
      const deployment = await store.deployment(deploymentId);
      if (deployment === null) {
        histories.delete(deploymentId);
        waiting.delete(deploymentId);
        return null;
      }
      const freedBefore = freed;
      const instances = await observe(deploymentId);
      const described = await describeWorld(deployment, instances);
      // From here to the first action nothing is waited for: others are planned side by side, and two shall not give up their
      // GPUs for one claim, nor anybody for a claim that is met.
      const plan = planDeployment({ ...described, ...room.gpus(), claims: claims() });
      for (const action of plan.actions) if (action.do === "drain") room.leave(action.instanceId);
      const before = waiting.get(deploymentId);
      if (plan.waitsFor === undefined) waiting.delete(deploymentId);
      else waiting.set(deploymentId, { reason: plan.waitsFor, claim: plan.claim });
      const decidedAtMs = clock.now();
      for (const action of plan.actions) {
        if (isStale(action, decidedAtMs, clock.now())) {
          mailboxes.poke(deploymentId);
          break;
        }
        await actor.act(deployment, action);
      }
      await tellOfWaiting(deployment, plan, before);
      if (plan.waitsFor !== undefined && freed !== freedBefore) mailboxes.poke(deploymentId);
      failedLooks.delete(deploymentId);
      return plan.againAtMs;
    } catch (error) {
      const failed = failedLooks.get(deploymentId) ?? 0;
      failedLooks.set(deploymentId, failed + 1);
      log("error", "a look at a deployment failed", { deploymentId, error: String(error) });
      return clock.now() + Math.min(maxRetryLookMs, 1_000 * 2 ** failed);
    }
  }

  /** Said once for each reason; what frees room looks at those that wait. */
  async function tellOfWaiting(
    deployment: Deployment,
    { waitsFor, claim }: Plan,
    before: Waiting | undefined,
  ): Promise<void> {
    // Who holds such GPUs may have to give some up, and who left room for this one need not any more.
    if (JSON.stringify(claim) !== JSON.stringify(before?.claim)) await pokeRivals(deployment);
    if (waitsFor === undefined || waitsFor === before?.reason) return;
    const text = `${deployment.name} waits for room: ${waitsFor.replace(/\.$/, "")}.`;
    const next = "It starts by itself when there is room; stop another deployment to make some.";
    const { gpu, numGpus } = deployment.config;
    await actor.tell(deployment.id, "waiting_for_room", text, { gpu, num_gpus: numGpus }, next);
  }

  async function pokeRivals({ id: own }: Deployment): Promise<void> {
    for (const id of new Set((await store.instances()).map((record) => record.deploymentId)))
      if (id !== own) mailboxes.poke(id);
    for (const id of waiting.keys()) if (id !== own) mailboxes.poke(id);
  }

  function claims(): Claim[] {
    return [...waiting.values()].flatMap(({ claim }) => claim ?? []);
  }

  /** Whoever has the strongest claim looks first. */
  function pokeWaiting(): void {
    freed += 1;
    const strongest = byClaim(claims()).map(({ deploymentId }) => deploymentId);
    for (const id of new Set([...strongest, ...waiting.keys()])) mailboxes.poke(id);
  }

  /** The load now, and with it what it was lately. */
  function noteLoad({ id: deploymentId, loadTimeMs }: Deployment, instances: readonly InstanceRecord[]) {
    const load = loads.of(deploymentId, instances);
    const history = histories.get(deploymentId) ?? new WorkHistory();
    histories.set(deploymentId, history);
    noteWork(history, { load, now: clock.now(), loadTimeMs });
    return { load, history };
  }

  /** Brings the store's instance records up to date with what the driver sees. */
  async function observe(deploymentId: string): Promise<InstanceRecord[]> {
    const seen = new Map<string, ObservedInstance>();
    const everything = await driver.observe();
    room.sync(everything);
    for (const instance of everything) {
      if (instance.deploymentId === deploymentId) seen.set(instance.id, instance);
    }
    const records: InstanceRecord[] = [];
    for (const record of await store.instances(deploymentId)) {
      const instance = seen.get(record.id) ?? null;
      seen.delete(record.id);
      if (record.intent === "drain") room.leave(record.id);
      if (instance === null && !actor.isRemoving(record.id)) {
        // Decided, but never started, or ended behind our back: the plan starts another one if it is still wanted.
        secrets.delete(record.id);
        memories.delete(record.id);
        await store.removeInstance(record.id);
        room.release(record.id);
        await actor.tell(deploymentId, "instance_vanished", `Instance ${record.id} is gone.`, {});
        continue;
      }
      records.push(instance === null ? record : await remember(record, instance));
    }
    for (const orphan of seen.values()) actor.removeOrphan(orphan);
    return records;
  }

  async function remember(record: InstanceRecord, instance: ObservedInstance): Promise<InstanceRecord> {
    const { secret, loadReport, memory, ...observed } = instance;
    secrets.set(record.id, secret);
    if (memory !== undefined) memories.set(record.id, memory);
    const warmedAtMs = record.warmedAtMs ?? actor.warmUps.answeredAtMs().get(record.id) ?? null;
    const updated = { ...record, warmedAtMs, observed };
    if (warmedAtMs === record.warmedAtMs && !hasChanged(record.observed, observed)) return updated;
    await store.putInstance(updated);
    if (warmedAtMs !== record.warmedAtMs) {
      const text = `Instance ${record.id} has answered its first request.`;
      await actor.tell(record.deploymentId, "instance_warm", text, { revision: record.revision });
    }
    if (observed.state === "running" && record.observed?.state !== "running") {
      if (loadReport !== undefined) await noteMemory(record.deploymentId, loadReport);
      await noteReady(record, observed);
    }
    return updated;
  }

  /** What was measured corrects the next estimate for the same weights, engine and GPUs. */
  async function noteMemory(deploymentId: string, measured: MeasuredMemory): Promise<void> {
    const deployment = await store.deployment(deploymentId);
    const key = deployment === null ? null : measurementOf(deployment);
    if (key !== null) await store.putNote(key, JSON.stringify(measured));
  }

  /** Asked for only while it matters: before the weights are fetched, and during an update. */
  async function measuredFor(deployment: Deployment): Promise<MeasuredMemory | null> {
    const { weightsReadyAtMs, revisions } = deployment;
    const isDecided = weightsReadyAtMs !== null && revisions.fallback === null;
    const key = isDecided ? null : measurementOf(deployment);
    return key === null ? null : readMeasurement(await store.note(key));
  }

  async function noteReady(record: InstanceRecord, observed: RecordedObservation): Promise<void> {
    const loadMs = (observed.readyAtMs ?? clock.now()) - observed.startedAtMs;
    // What it took is what the next one is expected to take, also after a restart of control.
    await store.changeDeployment(record.deploymentId, (now) => ({ ...now, loadTimeMs: Math.round(loadMs) }));
    const { slots, contextTokens } = observed;
    const remark = observed.note === null ? "" : ` ${observed.note}`;
    const text = `Instance ${record.id} answers after ${(loadMs / 1000).toFixed(1)} s, with ${slots} ${slots === 1 ? "slot" : "slots"} of ${contextTokens} tokens.${remark}`;
    await actor.tell(record.deploymentId, "instance_running", text, { loadMs, slots, contextTokens });
  }

  async function describeWorld(deployment: Deployment, instances: InstanceRecord[]): Promise<World> {
    const engine = options.engines.get(deployment.resolved?.engine ?? "");
    return {
      now: clock.now(),
      deployment,
      instances,
      ...noteLoad(deployment, instances),
      gateways: loads.gateways,
      underWay: actor.underWay(deployment.id),
      warmFailures: actor.warmUps.failures(),
      memory: memories,
      answeredAtMs: actor.warmUps.answeredAtMs(),
      nodes: await driver.capacity(),
      ...(await room.bounds(deployment)),
      engineRunsOn: engine?.runsOn ?? null,
      engineMemory: engine?.memory ?? null,
      measured: await measuredFor(deployment),
      watchingSinceMs,
      gatewaySeenAtMs,
      limits: options.limits,
    };
  }

  /** Looks at everything that may need it: what should run, and whatever has instances. */
  async function sweep(): Promise<void> {
    const ids = new Set((await store.instances()).map((record) => record.deploymentId));
    for (const deployment of await store.deployments({ includeDeleted: false })) {
      if (deployment.desired === "run" && deployment.failure === null) ids.add(deployment.id);
    }
    const seen = await driver.observe();
    room.sync(seen);
    const existing = new Set(seen.map((instance) => instance.id));
    for (const kept of [secrets, memories])
      for (const id of kept.keys()) if (!existing.has(id)) kept.delete(id);
    for (const instance of seen) {
      const isKnown = (await store.deployment(instance.deploymentId)) !== null;
      if (isKnown) ids.add(instance.deploymentId);
      else actor.removeOrphan(instance);
    }
    for (const id of ids) mailboxes.pokeLater(id);
  }

  /** Not waited for: the hint is repeated by the next sweep. */
  function sweepSoon(): void {
    extraSweep = extraSweep.then(async () => {
      if (stopping.signal.aborted) return;
      await sweep().catch((error: unknown) => log("error", "a sweep failed", { error: String(error) }));
    });
  }

  async function sweepForEver(): Promise<void> {
    while (!stopping.signal.aborted) {
      const isAborted = await clock.sleep(options.limits.sweepMs, stopping.signal).then(
        () => false,
        () => true,
      );
      if (isAborted) return;
      await sweep().catch((error: unknown) => log("error", "a sweep failed", { error: String(error) }));
    }
  }

  return {
    secrets,
    async start() {
      watchingSinceMs = clock.now();
      const ends = [driver.watch(mailboxes.poke), driver.watchCapacity(sweepSoon)];
      unwatch = () => {
        for (const end of ends) end();
      };
      // Records first, so that no status read after this is older than this start.
      for (const id of new Set((await store.instances()).map((record) => record.deploymentId)))
        await observe(id);
      await sweep();
      sweeping = sweepForEver();
    },
    poke: mailboxes.poke,
    takeLoad(report) {
      for (const id of loads.put(report)) mailboxes.poke(id);
    },
    dropGateway(gatewayId) {
      gatewaySeenAtMs = clock.now();
      for (const id of loads.drop(gatewayId)) mailboxes.poke(id);
    },
    progressOf: actor.progressOf,
    async endAll() {
      await this.stop();
      const instances = await driver.observe();
      await Promise.all(instances.map((instance) => driver.remove(instance.id, options.limits.stopGraceMs)));
      for (const record of await store.instances()) await store.removeInstance(record.id);
    },
    async stop() {
      stopping.abort();
      unwatch();
      actor.cancelAll();
      await mailboxes.stop();
      await actor.settled();
      await sweeping;
      await extraSweep;
    },
  };
}

/** Load progress alone is not worth a durable write. */
function hasChanged(before: RecordedObservation | null, after: RecordedObservation): boolean {
  const facts = (seen: RecordedObservation | null) => JSON.stringify(seen && { ...seen, loadProgress: null });
  return facts(before) !== facts(after);
}
