/**
 * Control of a simulated world: observes, asks the real plan, and carries its actions out on the machines. What is in
 * `facts` and `records` is on disk and survives a crash; everything else is lost with one. Decides nothing itself.
 */
import { type Deployment, firstRevisions, noEngineArgs, noTries, nothingSeen } from "../core/deployment.ts";
import { failure } from "../core/failure.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { type Action, type Plan, planDeployment, type World } from "../core/plan.ts";
import { finishUpdate, revertUpdate, updateArgs } from "../core/revision.ts";
import type { LoadReport } from "../core/routing.ts";
import { noteWork } from "../core/scale.ts";
import { WorkHistory } from "../core/scale-history.ts";
import type { Claim } from "../core/scale-share.ts";
import type { Snapshot, SnapshotModel } from "./front.ts";
import { sumLoads } from "./loads.ts";
import { type Machines, observationOf } from "./machines.ts";
import type { Random } from "./random.ts";
import type { SimulatedDeployment } from "./scenario.ts";
import type { Timeline } from "./timeline.ts";

export const limits = {
  loadTries: 3,
  drainMs: 90_000,
  inactiveShutdownMs: 60_000,
  scaleDownMs: 60_000,
};

/** What a judge is told of a decision before it is carried out. */
export type Watch = (world: World, action: Action) => void;

type Memory = {
  readonly reports: Map<string, LoadReport>;
  readonly histories: Map<string, WorkHistory>;
  readonly claims: Map<string, Claim>;
  readonly waiting: Set<string>;
  readonly poked: Set<string>;
  readonly jobs: Map<string, "resolve" | "fetch">;
  readonly removing: Set<string>;
  readonly warming: Set<string>;
  readonly warmed: Map<string, number>;
  readonly loadTimes: Map<string, number>;
  readonly timers: Map<string, number>;
  watchingSinceMs: number;
  gatewaySeenAtMs: number;
};

export class Control {
  readonly facts = new Map<string, Deployment>();
  readonly records = new Map<string, InstanceRecord>();
  isUp = false;
  skewMs = 1_700_000_000_000;
  onRoutes: () => void = () => undefined;
  onLook: (deployment: Deployment, records: readonly InstanceRecord[]) => void = () => undefined;
  #memory: Memory = emptyMemory(0);
  #run = 0;
  #ids = 0;
  readonly #loadMs = new Map<string, number>();
  readonly #time: Timeline;
  readonly #machines: Machines;
  readonly #random: Random;
  readonly #watch: Watch;

  constructor(time: Timeline, machines: Machines, random: Random, watch: Watch) {
    this.#time = time;
    this.#machines = machines;
    this.#random = random;
    this.#watch = watch;
  }

  now(): number {
    return this.#time.nowMs + this.skewMs;
  }

  deploy(one: SimulatedDeployment): void {
    this.#loadMs.set(one.id, one.loadMs);
    this.facts.set(one.id, firstFacts(one, this.now()));
    this.poke(one.id);
  }

  change(id: string, change: (now: Deployment) => Partial<Deployment>): void {
    const before = this.facts.get(id);
    if (before === undefined || before.desired === "delete") return;
    this.facts.set(id, { ...before, ...change(before), updatedAtMs: this.now() });
    this.poke(id);
    this.onRoutes();
  }

  update(id: string): void {
    this.change(id, ({ revisions, hasRun }) => {
      const args = { standardArgs: {}, extraArgs: [`--seed=${revisions.wanted.id}`] };
      return { revisions: updateArgs(revisions, args, hasRun, this.now()) };
    });
  }

  boot(): void {
    this.isUp = true;
    this.#run += 1;
    this.#memory = emptyMemory(this.now());
    const run = this.#run;
    const sweep = () => {
      if (this.#run !== run || !this.isUp) return;
      for (const id of this.facts.keys()) this.poke(id);
      for (const { id, deploymentId } of this.#machines.processes.values())
        if (!this.facts.has(deploymentId)) this.#remove(id, deploymentId);
      this.#time.after(30_000, sweep);
    };
    sweep();
    this.onRoutes();
  }

  crash(): void {
    this.isUp = false;
    this.#run += 1;
  }

  takeLoad(report: LoadReport): void {
    if (!this.isUp) return;
    const before = this.#memory.reports.get(report.gatewayId);
    this.#memory.reports.set(report.gatewayId, report);
    const touched = new Set([...Object.keys(before?.models ?? {}), ...Object.keys(report.models)]);
    for (const id of touched) this.poke(id);
  }

  dropGateway(gatewayId: string): void {
    const before = this.#memory.reports.get(gatewayId);
    if (!this.isUp || before === undefined) return;
    this.#memory.reports.delete(gatewayId);
    this.#memory.gatewaySeenAtMs = this.now();
    for (const id of Object.keys(before.models)) this.poke(id);
  }

  poke(id: string): void {
    const { poked } = this.#memory;
    if (!this.isUp || poked.has(id)) return;
    poked.add(id);
    const run = this.#run;
    this.#time.after(1, () => {
      poked.delete(id);
      if (this.#run === run && this.isUp) this.#look(id);
    });
  }

  snapshot(): Snapshot {
    const models = new Map<string, SnapshotModel>();
    for (const deployment of this.facts.values()) {
      const { revisions } = deployment;
      const instances = this.#recordsOf(deployment.id).flatMap(
        ({ id, intent, observed, revision, warmedAtMs }) => {
          const isOnTrial =
            revisions.fallback !== null && revision === revisions.wanted.id && warmedAtMs === null;
          if (observed?.state !== "running" || isOnTrial) return [];
          return [{ id, slots: observed.slots, isDraining: intent === "drain" }];
        },
      );
      const isOff =
        deployment.desired !== "run" || deployment.failure !== null || deployment.settings.maxInstances === 0;
      models.set(deployment.id, { isOff, instances });
    }
    return models;
  }

  #recordsOf(id: string): InstanceRecord[] {
    return [...this.records.values()].filter((record) => record.deploymentId === id);
  }

  #look(id: string): void {
    const deployment = this.facts.get(id);
    if (deployment === undefined) return;
    const records = this.#observe(id);
    this.onLook(deployment, records);
    const world = this.#describe(deployment, records);
    const plan = planDeployment(world);
    for (const action of plan.actions) {
      this.#watch(world, action);
      this.#act(id, action);
    }
    this.#noteWaiting(id, plan);
    if (plan.againAtMs !== null) this.#lookAgain(id, plan.againAtMs);
    this.onRoutes();
  }

  #lookAgain(id: string, atMs: number): void {
    const delayMs = Math.max(1, atMs - this.now());
    const dueMs = this.#time.nowMs + delayMs;
    const planned = this.#memory.timers.get(id);
    if (planned !== undefined && planned > this.#time.nowMs && planned <= dueMs) return;
    this.#memory.timers.set(id, dueMs);
    const run = this.#run;
    this.#time.at(dueMs, () => {
      if (this.#run === run && this.isUp) this.#look(id);
    });
  }

  #noteWaiting(id: string, { waitsFor, claim }: Plan): void {
    const { claims, waiting } = this.#memory;
    if (waitsFor === undefined) waiting.delete(id);
    else waiting.add(id);
    const before = claims.get(id);
    if (claim === undefined) claims.delete(id);
    else claims.set(id, claim);
    if (JSON.stringify(before) === JSON.stringify(claim)) return;
    for (const other of this.facts.keys()) if (other !== id) this.poke(other);
  }

  #observe(id: string): InstanceRecord[] {
    const { removing, warmed, loadTimes } = this.#memory;
    for (const record of this.#recordsOf(id)) {
      const process = this.#machines.processes.get(record.id);
      if (process === undefined) {
        if (!removing.has(record.id)) this.records.delete(record.id);
        continue;
      }
      const observed = observationOf(process, this.now(), this.#time.nowMs);
      if (process.readyAtMs !== null) loadTimes.set(id, process.readyAtMs - process.startedAtMs);
      const warmedAtMs = record.warmedAtMs ?? warmed.get(record.id) ?? null;
      this.records.set(record.id, { ...record, warmedAtMs, observed });
    }
    for (const process of this.#machines.processes.values())
      if (process.deploymentId === id && !this.records.has(process.id)) this.#remove(process.id, id);
    return this.#recordsOf(id);
  }

  #describe(deployment: Deployment, instances: readonly InstanceRecord[]): World {
    const memory = this.#memory;
    const { id } = deployment;
    const summed = sumLoads(memory.reports, id, instances);
    const { lastRequestAtMs } = summed;
    const load = {
      ...summed,
      lastRequestAtMs: lastRequestAtMs === null ? null : lastRequestAtMs + this.skewMs,
    };
    const history = memory.histories.get(id) ?? new WorkHistory();
    memory.histories.set(id, history);
    const loadTimeMs = memory.loadTimes.get(id) ?? null;
    noteWork(history, { work: load.queued + load.running, now: this.now(), loadTimeMs });
    const job = memory.jobs.get(id);
    return {
      now: this.now(),
      deployment,
      instances,
      load,
      history,
      loadTimeMs,
      claims: [...memory.claims.values()],
      gateways: memory.reports.size,
      underWay: {
        resolve: job === "resolve",
        fetch: job === "fetch",
        removing: new Set(memory.removing),
        warming: memory.warming,
      },
      warmFailures: new Map(),
      nodes: this.#machines.capacity(),
      occupiedGpus: this.#machines.occupied(),
      engineRunsOn: "gpu",
      watchingSinceMs: memory.watchingSinceMs,
      gatewaySeenAtMs: memory.gatewaySeenAtMs,
      limits,
    };
  }

  #act(id: string, action: Action): void {
    const facts = this.facts.get(id);
    if (facts === undefined) return;
    switch (action.do) {
      case "resolve":
        this.#job(id, "resolve", () => ({ resolved: resolvedWeights, tries: noTries }));
        return;
      case "fetch":
        this.#job(id, "fetch", () => ({ weightsReadyAtMs: this.now(), tries: noTries }));
        return;
      case "cancel":
        this.#memory.jobs.delete(id);
        return;
      case "start":
        this.#start(facts, action);
        return;
      case "drain": {
        const record = this.records.get(action.instanceId);
        if (record !== undefined)
          this.records.set(record.id, { ...record, intent: "drain", drainSinceMs: this.now() });
        this.poke(id);
        return;
      }
      case "remove":
        this.#remove(action.instanceId, id);
        return;
      case "record-exit":
        this.#countTry(id, action.failure, action.of);
        this.#remove(action.instanceId, id);
        return;
      case "doubt":
      case "warm":
        this.#warm(id, action.instanceId);
        return;
      case "finish-update":
        this.change(id, ({ revisions }) => ({ revisions: finishUpdate(revisions) }));
        return;
      case "revert-update":
        this.change(id, ({ revisions }) => ({
          revisions: revertUpdate(revisions, action.failure, this.now()),
        }));
        return;
      case "mark-run":
        this.change(id, () => ({ hasRun: true }));
        return;
      case "clear-tries":
        this.change(id, () => ({ tries: noTries }));
        return;
      case "fail":
        this.change(id, () => ({ failure: action.failure }));
        return;
    }
  }

  #job(id: string, kind: "resolve" | "fetch", result: () => Partial<Deployment>): void {
    const { jobs } = this.#memory;
    jobs.set(id, kind);
    const run = this.#run;
    this.#time.after(this.#random.whole(100, 20_000), () => {
      if (this.#run !== run || jobs.get(id) !== kind) return;
      jobs.delete(id);
      if (kind === "fetch" && this.#machines.isDiskFull) {
        this.#countTry(id, failure("storage_failed", "The disk is full.", "Free some room."), "deployment");
      } else this.change(id, (now) => (now.desired === "run" ? result() : {}));
      this.poke(id);
    });
  }

  #start(facts: Deployment, { placement }: Extract<Action, { do: "start" }>): void {
    const { id, config, revisions } = facts;
    const instanceId = `i${this.#ids}`;
    this.#ids += 1;
    if (this.#machines.isDiskFull) {
      const of = revisions.fallback === null ? "deployment" : "update";
      this.#countTry(id, failure("storage_failed", "The disk is full.", "Free some room."), of);
      return;
    }
    this.records.set(instanceId, {
      id: instanceId,
      deploymentId: id,
      intent: "run",
      createdAtMs: this.now(),
      drainSinceMs: null,
      revision: revisions.wanted.id,
      warmedAtMs: null,
      observed: null,
    });
    const process = { id: instanceId, deploymentId: id, placement, slots: config.maxBatchSize };
    const slowness = this.#random.next() < 0.05 ? 4 : 1;
    this.#machines.start(process, slowness * (this.#loadMs.get(id) ?? 1_000));
    this.poke(id);
  }

  #remove(instanceId: string, id: string): void {
    const { removing } = this.#memory;
    if (removing.has(instanceId)) return;
    removing.add(instanceId);
    const run = this.#run;
    const done = () => {
      if (this.#run !== run) return;
      removing.delete(instanceId);
      this.records.delete(instanceId);
      this.poke(id);
      for (const other of this.#memory.waiting) this.poke(other);
    };
    const process = this.#machines.processes.get(instanceId);
    if (process === undefined) this.#time.after(1, done);
    else this.#machines.end(process, this.#random.whole(10, 5_000), done);
  }

  #warm(id: string, instanceId: string): void {
    const { warming, warmed } = this.#memory;
    if (warming.has(instanceId)) return;
    warming.add(instanceId);
    const run = this.#run;
    this.#time.after(this.#random.whole(50, 2_000), () => {
      if (this.#run !== run) return;
      warming.delete(instanceId);
      if (this.#machines.processes.get(instanceId)?.state === "running") warmed.set(instanceId, this.now());
      this.poke(id);
    });
  }

  #countTry(id: string, cause: ReturnType<typeof failure>, of: "update" | "deployment"): void {
    const next = (count: number) => ({ count: count + 1, lastAtMs: this.now(), lastFailure: cause });
    this.change(id, ({ tries, revisions, desired }) => {
      if (desired !== "run") return {};
      if (of === "deployment") return { tries: next(tries.count) };
      if (revisions.fallback === null) return {};
      return { revisions: { ...revisions, tries: next(revisions.tries.count) } };
    });
  }
}

function emptyMemory(now: number): Memory {
  return {
    reports: new Map(),
    histories: new Map(),
    claims: new Map(),
    waiting: new Set(),
    poked: new Set(),
    jobs: new Map(),
    removing: new Set(),
    warming: new Set(),
    warmed: new Map(),
    loadTimes: new Map(),
    timers: new Map(),
    watchingSinceMs: now,
    gatewaySeenAtMs: now,
  };
}

const resolvedWeights = {
  commit: "a".repeat(40),
  files: [],
  engine: "simulated",
  entryFile: "m.safetensors",
  task: "text-generation",
};

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
    settings: { minInstances: one.min, maxInstances: one.max, inactiveShutdownS: null },
    desired: "run",
    createdAtMs: now,
    updatedAtMs: now,
    revisions: firstRevisions(noEngineArgs),
  };
}
