/**
 * Control of a simulated world: observes, asks the real plan, and has its actions carried out, as the reconciler does. What is
 * on its disk survives a crash; its memory does not. Decides nothing itself.
 */
import { type Action, isStale, type Plan } from "../core/action.ts";
import {
  type Deployment,
  firstRevisions,
  noEngineArgs,
  nothingSeen,
  type Schedule,
} from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { planDeployment } from "../core/plan.ts";
import { updateArgs } from "../core/revision.ts";
import type { LoadReport } from "../core/routing.ts";
import { noteWork } from "../core/scale.ts";
import { WorkHistory } from "../core/scale-history.ts";
import type { Claim } from "../core/scale-share.ts";
import { dayMinutes, weekdays } from "../core/schedule.ts";
import type { World } from "../core/world.ts";
import { Acts, type ActsParts } from "./acts.ts";
import { Disk } from "./disk.ts";
import type { Snapshot, SnapshotModel } from "./front.ts";
import type { Process, Quality } from "./machines.ts";
import { Memory } from "./memory.ts";
import type { SimulatedDeployment } from "./scenario.ts";

export const limits = {
  loadTries: 3,
  drainMs: 90_000,
  inactiveShutdownMs: 60_000,
  scaleDownMs: 60_000,
};

const sweepMs = 60_000;
const maxRetryLookMs = 30_000;

export type ControlParts = Pick<ActsParts, "time" | "random" | "driver" | "machines" | "coverage"> & {
  /** Told of a decision before it is carried out. */
  watch(world: World, action: Action): void;
  /** Told of what an observation led to. */
  onLook(deployment: Deployment, records: readonly InstanceRecord[]): void;
  onRoutes(): void;
};

export class Control {
  readonly disk = new Disk();
  isUp = false;
  skewMs = 1_700_000_000_000;
  #memory = new Memory(0);
  #acts: Acts;
  #ids = 0;
  readonly #loadMs = new Map<string, number>();
  readonly #models = new Map<string, SnapshotModel>();
  #snapshot: Snapshot | null = null;
  readonly #parts: ControlParts;

  constructor(parts: ControlParts) {
    this.#parts = parts;
    this.#acts = this.#openActs();
    this.disk.onWrite = (id) => {
      this.#models.delete(id);
      this.#snapshot = null;
    };
    parts.driver.onChange = (id) => this.poke(id);
  }

  now(): number {
    return this.#parts.time.nowMs + this.skewMs;
  }

  deploy(one: SimulatedDeployment): void {
    this.#loadMs.set(one.id, one.loadMs);
    this.disk.putFacts(firstFacts(one, this.now()));
    this.poke(one.id);
  }

  /** What the API writes, while there is one. */
  change(id: string, change: (now: Deployment) => Partial<Deployment>): void {
    if (!this.isUp) return;
    const before = this.disk.facts.get(id);
    if (before === undefined || before.desired === "delete") return;
    this.disk.putFacts({ ...before, ...change(before), updatedAtMs: this.now() });
    this.poke(id);
    this.#parts.onRoutes();
  }

  update(id: string, quality: Quality): void {
    this.change(id, ({ revisions, hasRun }) => {
      const args = { standardArgs: {}, extraArgs: [quality, `--seed=${revisions.wanted.id}`] };
      return { revisions: updateArgs(revisions, args, hasRun, this.now()) };
    });
  }

  boot(): void {
    this.isUp = true;
    this.#memory = new Memory(this.now());
    this.#acts = this.#openActs();
    this.#sweep(this.#memory);
    this.#parts.onRoutes();
  }

  crash(): void {
    this.isUp = false;
    this.#memory.isLost = true;
  }

  takeLoad(report: LoadReport): void {
    if (!this.isUp) return;
    for (const id of this.#memory.loads.put(report)) this.poke(id);
  }

  dropGateway(gatewayId: string): void {
    if (!this.isUp) return;
    this.#memory.gatewaySeenAtMs = this.now();
    for (const id of this.#memory.loads.drop(gatewayId)) this.poke(id);
  }

  poke(id: string): void {
    const memory = this.#memory;
    if (!this.isUp || memory.poked.has(id)) return;
    memory.poked.add(id);
    this.#parts.time.after(1, () => {
      memory.poked.delete(id);
      if (memory.isLost) return;
      if (memory.busy.has(id)) memory.busy.set(id, true);
      else this.#look(id);
    });
  }

  /** The same object for a model as long as nothing of it has changed. */
  snapshot(): Snapshot {
    if (this.#snapshot !== null) return this.#snapshot;
    const models = new Map<string, SnapshotModel>();
    for (const deployment of this.disk.facts.values()) {
      const model = this.#models.get(deployment.id) ?? modelOf(deployment, this.disk.of(deployment.id));
      this.#models.set(deployment.id, model);
      models.set(deployment.id, model);
    }
    this.#snapshot = models;
    return models;
  }

  #openActs(): Acts {
    const parts = {
      ...{ ...this.#parts, disk: this.disk, loadMs: this.#loadMs },
      now: () => this.now(),
      poke: (id: string) => this.poke(id),
    };
    const nextId = () => {
      this.#ids += 1;
      return `i${this.#ids}`;
    };
    return new Acts(parts, this.#memory, nextId);
  }

  #sweep(memory: Memory): void {
    if (memory.isLost) return;
    for (const id of this.disk.facts.keys()) this.poke(id);
    for (const { id, deploymentId } of this.#parts.driver.observe() ?? [])
      if (!this.disk.facts.has(deploymentId)) this.#acts.remove(id, deploymentId);
    this.#parts.time.after(sweepMs, () => this.#sweep(memory));
  }

  #look(id: string): void {
    const deployment = this.disk.facts.get(id);
    if (deployment === undefined) return;
    const memory = this.#memory;
    const records = this.#observe(id);
    if (records === null) {
      const failed = memory.failedLooks.get(id) ?? 0;
      memory.failedLooks.set(id, failed + 1);
      this.#lookAgain(id, this.now() + Math.min(maxRetryLookMs, 1_000 * 2 ** failed));
      return;
    }
    memory.failedLooks.delete(id);
    this.#parts.onLook(deployment, records);
    const world = this.#describe(deployment, records);
    const plan = planDeployment(world);
    memory.busy.set(id, false);
    const before = this.#noteWaiting(id, plan);
    this.#carryOut(world, plan, 0, () => {
      this.#pokeRivals(id, plan, before);
      const isPoked = memory.busy.get(id) === true;
      memory.busy.delete(id);
      if (isPoked) this.poke(id);
      if (plan.againAtMs !== null) this.#lookAgain(id, plan.againAtMs);
      this.#parts.onRoutes();
    });
  }

  #carryOut(world: World, plan: Plan, at: number, then: () => void): void {
    const action = plan.actions[at];
    if (action === undefined) {
      then();
      return;
    }
    if (isStale(action, world.now, this.now())) {
      this.poke(world.deployment.id);
      then();
      return;
    }
    this.#parts.watch(world, action);
    this.#acts.act(world.deployment.id, action, () => this.#carryOut(world, plan, at + 1, then));
  }

  #lookAgain(id: string, atMs: number): void {
    const memory = this.#memory;
    const { time } = this.#parts;
    const dueMs = time.nowMs + Math.max(1, atMs - this.now());
    const planned = memory.timers.get(id);
    if (planned !== undefined && planned > time.nowMs && planned <= dueMs) return;
    memory.timers.set(id, dueMs);
    time.at(dueMs, () => {
      if (!memory.isLost && memory.timers.get(id) === dueMs) this.poke(id);
    });
  }

  /** Returns what it claimed before. */
  #noteWaiting(id: string, { waitsFor, claim }: Plan): Claim | undefined {
    const { claims, waiting } = this.#memory;
    if (waitsFor === undefined) waiting.delete(id);
    else {
      if (!waiting.has(id)) this.#parts.coverage.count("waited for room");
      waiting.add(id);
    }
    const before = claims.get(id);
    if (claim === undefined) claims.delete(id);
    else claims.set(id, claim);
    return before;
  }

  /** Who holds what a claim is for may have to give it up, and who left room for it need not any more. */
  #pokeRivals(id: string, { claim }: Plan, before: Claim | undefined): void {
    if (before === claim || JSON.stringify(before) === JSON.stringify(claim)) return;
    for (const other of this.disk.facts.keys()) if (other !== id) this.poke(other);
  }

  /** Brings the records up to date; null when the driver does not answer. */
  #observe(id: string): InstanceRecord[] | null {
    const { driver } = this.#parts;
    const everything = driver.observe();
    if (everything === null) return null;
    const { disk } = this;
    const { holdings, removing, answeredAtMs } = this.#memory;
    holdings.sync(everything);
    // Control looks at all records when it starts, before it plans anything.
    for (const { id: each, intent } of disk.records.values()) if (intent === "drain") holdings.leave(each);
    const seen = new Map(everything.filter((one) => one.deploymentId === id).map((one) => [one.id, one]));
    for (const record of disk.of(id)) {
      const process = seen.get(record.id);
      seen.delete(record.id);
      if (process === undefined) {
        if (removing.has(record.id)) continue;
        disk.remove(record.id);
        holdings.release(record.id);
        continue;
      }
      const { observed: last } = record;
      const warmedAtMs = record.warmedAtMs ?? answeredAtMs.get(record.id) ?? null;
      if (last !== null && last.state === process.state && warmedAtMs === record.warmedAtMs) continue;
      disk.put({ ...record, warmedAtMs, observed: driver.describe(process, this.now()) });
      this.#noteLoadTime(process);
    }
    for (const orphan of seen.keys()) this.#acts.remove(orphan, id);
    return disk.of(id);
  }

  #noteLoadTime({ deploymentId, startedAtMs, readyAtMs }: Process): void {
    const facts = this.disk.facts.get(deploymentId);
    if (facts !== undefined && readyAtMs !== null)
      this.disk.putFacts({ ...facts, loadTimeMs: readyAtMs - startedAtMs });
  }

  #describe(deployment: Deployment, instances: readonly InstanceRecord[]): World {
    const memory = this.#memory;
    const { id } = deployment;
    const reported = memory.loads.of(id, instances);
    const { lastRequestAtMs } = reported;
    const load = {
      ...reported,
      lastRequestAtMs: lastRequestAtMs === null ? null : lastRequestAtMs + this.skewMs,
    };
    const history = memory.histories.get(id) ?? new WorkHistory();
    memory.histories.set(id, history);
    const { loadTimeMs } = deployment;
    noteWork(history, { load, now: this.now(), loadTimeMs });
    const job = memory.jobs.get(id);
    const { removing, warming, warmFailures, answeredAtMs, watchingSinceMs, gatewaySeenAtMs } = memory;
    return {
      ...{ now: this.now(), deployment, instances, load, history, limits },
      ...{ warmFailures, answeredAtMs, watchingSinceMs, gatewaySeenAtMs },
      claims: [...memory.claims.values()],
      gateways: memory.loads.gateways,
      underWay: { resolve: job === "resolve", fetch: job === "fetch", removing, warming },
      nodes: this.#parts.machines.capacity(),
      occupiedGpus: memory.holdings.occupied(),
      leavingGpus: memory.holdings.leaving(),
      engineRunsOn: "gpu",
    };
  }
}

function modelOf(deployment: Deployment, records: readonly InstanceRecord[]): SnapshotModel {
  const { revisions } = deployment;
  const instances = records.flatMap(({ id, intent, observed, revision, warmedAtMs }) => {
    const isOnTrial = revisions.fallback !== null && revision === revisions.wanted.id && warmedAtMs === null;
    if (observed?.state !== "running" || isOnTrial) return [];
    return [{ id, slots: observed.slots, isDraining: intent === "drain" }];
  });
  const isOff =
    deployment.desired !== "run" || deployment.failure !== null || deployment.settings.maxInstances === 0;
  return { isOff, instances };
}

/** By the clock of UTC, to the minute. */
function scheduleOf(
  { fromMs, untilMs, min }: NonNullable<SimulatedDeployment["schedule"]>,
  beginMs: number,
): Schedule {
  const minuteAt = (ms: number) => Math.floor((beginMs + ms) / 60_000) % dayMinutes;
  const rule = { days: weekdays, fromMinute: minuteAt(fromMs), untilMinute: minuteAt(untilMs) };
  return { timeZone: "UTC", rules: [{ ...rule, minInstances: min }] };
}

function firstFacts(one: SimulatedDeployment, now: number): Deployment {
  return {
    ...nothingSeen,
    id: one.id,
    account: "a",
    name: `a/${one.id}`,
    isPublic: false,
    config: {
      gpu: "H100-80GB",
      numGpus: one.numGpus,
      maxBatchSize: one.slots,
      weights: { repo: "o/n", revision: null },
      baseModel: null,
      containerImage: null,
    },
    settings: {
      ...{ minInstances: one.min, maxInstances: one.max, inactiveShutdownS: null },
      ...(one.schedule === undefined ? {} : { schedule: scheduleOf(one.schedule, now) }),
    },
    desired: "run",
    createdAtMs: now,
    updatedAtMs: now,
    revisions: firstRevisions(noEngineArgs),
  };
}
