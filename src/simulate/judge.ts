/**
 * What must hold in a simulated world, as somebody sees it who sees everything. Compares with the truth of the machines and
 * with formulas of its own; never with what the decisions say of themselves.
 */
import type { Action } from "../core/action.ts";
import type { Deployment, ScaleSettings } from "../core/deployment.ts";
import type { InstanceRecord, Placement } from "../core/instance.ts";
import { statusOf } from "../core/status.ts";
import type { World } from "../core/world.ts";
import { limits } from "./control.ts";
import type { Coverage } from "./coverage.ts";
import type { Disk } from "./disk.ts";
import type { Driver } from "./driver.ts";
import type { Gateway, SimulatedRequest } from "./front.ts";
import type { Machines, Process, Quality } from "./machines.ts";
import type { Timeline } from "./timeline.ts";

export type Violation = { readonly rule: string; readonly text: string; readonly atMs: number };

export type JudgeParts = {
  readonly time: Timeline;
  readonly machines: Machines;
  readonly driver: Driver;
  readonly gateways: readonly Gateway[];
  readonly coverage: Coverage;
  readonly disk: Disk;
};

export class Judge {
  readonly violations: Violation[] = [];
  readonly #parts: JudgeParts;
  /** An instance was ended with requests since its time to drain was over. */
  #wasCut = false;
  /** Deployments whose first arguments do not work, so that there is nothing good to go back to. */
  readonly #neverGood = new Set<string>();
  /** Instances that have been given a request. */
  readonly #served = new Set<string>();

  constructor(parts: JudgeParts) {
    this.#parts = parts;
  }

  /** Before an action is carried out. */
  judgeAction(world: World, action: Action): void {
    const { coverage } = this.#parts;
    if (action.do === "start") this.#judgeStart(world, action);
    if (action.do === "drain") this.#judgeDrain(world, action);
    if (action.do === "remove") this.#judgeRemoval(world, action);
    if (action.do === "fail") this.#judgeGivingUp(world);
    if (action.do === "record-exit") this.#judgeVerdict(world, action.instanceId);
    if (action.reason.includes("its schedule asks for")) coverage.count("minimum by schedule");
    if (action.do === "finish-update") {
      coverage.count("update finished");
      this.#neverGood.delete(world.deployment.id);
    }
    if (action.do === "revert-update") coverage.count("update taken back");
    if (action.do === "fail") coverage.count("deployment failed");
  }

  /** Before other arguments are asked for. */
  judgeUpdate(id: string, quality: Quality): void {
    const deployment = this.#parts.disk.facts.get(id);
    if (deployment === undefined || deployment.hasRun || deployment.revisions.fallback !== null) return;
    if (quality === "good") this.#neverGood.delete(id);
    else this.#neverGood.add(id);
  }

  /** A process begins, whoever wanted it. */
  judgeProcess(process: Process): void {
    for (const other of this.#parts.machines.processes.values()) {
      if (other.state === "exited") continue;
      const shared = other.placement.gpus.filter((gpu) => process.placement.gpus.includes(gpu));
      if (shared.length > 0)
        this.#say("GPU twice", `${process.id} starts on ${shared.join(", ")}, where ${other.id} is`);
    }
  }

  /** An instance has been given a request. */
  judgeSlots(gateway: Gateway, instanceId: string): void {
    this.#served.add(instanceId);
    const process = this.#parts.machines.processes.get(instanceId);
    if (process === undefined) return;
    const taken = gateway.inFlightAt(instanceId);
    if (taken > process.slots) this.#say("slots", `${instanceId} has ${taken} of ${process.slots}`);
  }

  #judgeStart(world: World, action: Extract<Action, { do: "start" }>): void {
    const { coverage } = this.#parts;
    const { id, settings, tries, revisions } = world.deployment;
    const least = leastOf(settings, world.now);
    const live = this.#alive(id);
    const isRollingOut = hasTwoRevisions(world.deployment, live);
    const most = settings.maxInstances + (isRollingOut ? 1 : 0);
    if (live.length >= most) this.#say("maximum", `${id} has ${live.length} of ${most} and starts another`);
    if (live.length === 0 && least === 0) coverage.count("woken from zero");
    if (live.length >= least && !isRollingOut) coverage.count("scaled up for work");
    if (this.#hasLostGpu(action.placement)) this.#say("lost GPU", `${id} starts on a GPU that is not there`);
    for (const { count, lastAtMs } of [tries, revisions.tries]) {
      const waitMs = count < 2 ? 0 : Math.min(300_000, 1_000 * 2 ** (count - 2));
      // A failure in the future was before the clock was put back: nobody waits for that time.
      if (lastAtMs !== null && lastAtMs <= world.now && world.now - lastAtMs < waitMs)
        this.#say("back-off", `${id} starts ${world.now - lastAtMs} ms after its failure ${count}`);
    }
  }

  /** What serves is not given up below the minimum; in an update the last one not before another has answered. */
  #judgeDrain(world: World, { instanceId, reason }: Extract<Action, { do: "drain" }>): void {
    const { coverage } = this.#parts;
    const { id, settings, desired, failure } = world.deployment;
    coverage.count("instance drained");
    if (desired !== "run" || failure !== null) return;
    const live = this.#alive(id);
    const isRollingOut = hasTwoRevisions(world.deployment, live);
    if (!isRollingOut) coverage.count("scaled down");
    if (reason.endsWith("has the better claim to its GPUs")) this.#judgeGift(world, reason);
    const least = Math.min(leastOf(settings, world.now), settings.maxInstances);
    const rest = live.filter((record) => record.id !== instanceId);
    if (!isRollingOut && rest.length < least)
      this.#say("minimum", `${id} keeps ${rest.length} of its minimum of ${least}`);
    if (!isRollingOut || least === 0 || !this.#serves(world.deployment, instanceId)) return;
    const others = rest.filter((record) => this.#serves(world.deployment, record.id));
    if (others.length === 0 && this.#hasRoom(world.deployment))
      this.#say("update", `the last instance of ${id} that serves drains though there is room for another`);
  }

  /** Nobody gives up an instance for who will have its GPUs from those that drain already. */
  #judgeGift({ deployment, now }: World, reason: string): void {
    const { coverage, disk } = this.#parts;
    coverage.count("instance given up for others");
    const taker = [...disk.facts.values()].find(({ name }) => reason.startsWith(`${name} `));
    // What the same plan gives up with it is one step: a smaller maximum, or both sides of an update, may take more than was asked for.
    const draining = [...disk.records.values()].filter(
      ({ intent, deploymentId, drainSinceMs }) =>
        intent === "drain" && (deploymentId !== deployment.id || drainSinceMs !== now),
    );
    const leaving = new Set(draining.flatMap(({ observed }) => observed?.placement.gpus ?? []));
    const onEach = this.#parts.machines
      .capacity()
      .map(({ gpus }) => gpus.filter(({ id, usable }) => usable && leaving.has(id)).length);
    const most = Math.max(...onEach);
    if (taker !== undefined && most >= taker.config.numGpus)
      this.#say("in vain", `${taker.id} needs ${taker.config.numGpus} GPUs, and ${most} will be free`);
  }

  /** An instance that serves is ended only when nothing is there, or when its time to drain is over. */
  #judgeRemoval(world: World, { instanceId }: Extract<Action, { do: "remove" }>): void {
    const process = this.#parts.machines.processes.get(instanceId);
    // Without its GPU it serves nobody, though its process hangs on.
    if (process?.state !== "running" || this.#hasLostGpu(process.placement)) return;
    const busy = this.#parts.gateways.reduce((sum, gateway) => sum + gateway.inFlightAt(instanceId), 0);
    const record = world.instances.find(({ id }) => id === instanceId);
    const isOver = record?.drainSinceMs != null && world.now - record.drainSinceMs >= limits.drainMs;
    if (record?.intent !== "drain") this.#say("drain", `${instanceId} is ended without having been drained`);
    if (busy > 0 && isOver) this.#wasCut = true;
    if (busy > 0 && !isOver) this.#say("cut", `${instanceId} is ended with ${busy} requests`);
  }

  /** What says that it is well is ended only where it lies, and not while another one of it is on its way out. */
  #judgeVerdict({ deployment }: World, instanceId: string): void {
    const { machines, coverage, disk } = this.#parts;
    const process = machines.processes.get(instanceId);
    if (process?.state !== "running" || this.#hasLostGpu(process.placement)) return;
    if (!process.isMute) this.#say("verdict", `${instanceId} is ended as mute, and answers`);
    if (!this.#serves(deployment, instanceId)) return;
    coverage.count("liar found and replaced");
    const others = [...machines.processes.values()].filter(
      ({ deploymentId, id }) => deploymentId === deployment.id && id !== instanceId,
    );
    // A start that the driver carried out after its deadline has no record and no gateway ever knew it: that it is ended takes
    // nothing from anybody, and does not count as one of the deployment's that is replaced.
    const ending = others.find(
      ({ id, isEnding }) => isEnding && (disk.records.has(id) || this.#served.has(id)),
    );
    if (ending !== undefined)
      this.#say("all at once", `${instanceId} is replaced while ${ending.id} is on its way out`);
  }

  /** Only what never ran is given up, and only after its tries or where no machine could ever hold it now. */
  #judgeGivingUp({ deployment }: World): void {
    const { id, hasRun, tries, config } = deployment;
    const sizes = this.#parts.machines.capacity().map(({ gpus }) => gpus.filter(({ usable }) => usable));
    const isPossible = sizes.some((gpus) => gpus.length >= config.numGpus);
    if (hasRun) this.#say("gave up", `${id} has run and is given up`);
    else if (isPossible && tries.count < limits.loadTries)
      this.#say("gave up", `${id} is given up after ${tries.count} tries`);
  }

  /** What the status says after an observation, against what there is. */
  judgeStatus(deployment: Deployment, records: readonly InstanceRecord[], now: number): void {
    const { id, settings, desired, failure } = deployment;
    const report = statusOf(deployment, records, now);
    const serving = records.filter(
      (record) => record.intent === "run" && this.#serves(deployment, record.id, true),
    );
    if (report.instances.running !== serving.length)
      this.#say(
        "status",
        `${id} is said to have ${report.instances.running} running, and has ${serving.length}`,
      );
    const isEnded = { run: failure === null ? null : "failed", stop: "stopped", delete: "deleted" }[desired];
    if (isEnded !== null && report.status !== isEnded)
      this.#say("status", `${id} is ${isEnded}, not ${report.status}`);
    if (isEnded === null && ["stopped", "failed", "deleted"].includes(report.status))
      this.#say("status", `${id} is to run, not ${report.status}`);
    if (report.status === "running" && leastOf(settings, now) > 0 && serving.length === 0)
      this.#say("status", `${id} is said to run, and nothing serves`);
    if (report.status === "deploying" && serving.length > 0)
      this.#say("status", `${id} is said to be deploying, and ${serving.length} serve`);
  }

  judgeEffort(events: number, most: number): void {
    if (events === most) this.#say("effort", `${events} events, and it goes on`);
  }

  /** When nothing has happened for long. */
  judgeRest(requests: readonly SimulatedRequest[], now: number): void {
    const { disk, machines } = this.#parts;
    for (const process of machines.processes.values())
      if (!disk.records.has(process.id)) this.#say("orphan", `${process.id} runs, and nobody knows of it`);
    for (const request of requests) this.#judgeRequest(request);
    for (const deployment of disk.facts.values()) this.#judgeDesired(deployment, now);
  }

  #judgeRequest({ deployment, outcome, settled }: SimulatedRequest): void {
    const { coverage } = this.#parts;
    if (outcome === null || settled !== 1)
      this.#say("request", `a request to ${deployment} was answered or refused ${settled} times`);
    if (outcome === null || outcome === "answered") return;
    // What breaks nothing loses no request; a drain that took too long cuts what is left.
    const breaks = ["engine crashed", "machine crashed", "GPU lost", "update of bad arguments"] as const;
    const lies = coverage.of("engine that lies about its health") > 0;
    const isExcused = lies || breaks.some((kind) => coverage.of(kind) > 0);
    if (outcome.refused === "its engines were lost" && !isExcused && !this.#wasCut)
      this.#say("request", `a request to ${deployment} was lost though no engine was`);
    if (outcome.refused === "the gateway was lost" && coverage.of("gateway crashed") === 0)
      this.#say("request", `a request to ${deployment} was lost though no gateway was`);
  }

  #judgeDesired(deployment: Deployment, now: number): void {
    const { id, settings, desired, failure, revisions } = deployment;
    const { disk, machines } = this.#parts;
    const records = disk.of(id);
    const serving = records.filter((record) => machines.processes.get(record.id)?.state === "running");
    const wanted = desired === "run" && failure === null ? leastOf(settings, now) : 0;
    if (records.length > wanted)
      this.#say("desired", `${id} rests with ${records.length} instances for ${wanted}`);
    if (serving.length < wanted) {
      if (this.#hasRoom(deployment) && !this.#triesInVain(deployment, now))
        this.#say("desired", `${id} rests with ${serving.length} of ${wanted} though there is room`);
      return;
    }
    if (wanted === 0) return;
    for (const { id: instanceId } of serving) {
      const isKnown = this.#parts.gateways.some((gateway) => gateway.suspectsOf(id).includes(instanceId));
      if (isKnown && machines.processes.get(instanceId)?.isMute === true)
        this.#say("lie", `${instanceId} answers nothing, gateways know it, and it is still there`);
    }
    if (revisions.fallback !== null) this.#say("desired", `the update of ${id} is not over`);
    const isExcused = this.#neverGood.has(id);
    if (!isExcused && serving.some((record) => machines.processes.get(record.id)?.quality !== "good"))
      this.#say("update", `${id} rests with arguments that do not work`);
    const { status } = statusOf(deployment, records, now);
    if (status !== "running") this.#say("status", `${id} rests as ${status}, and ${serving.length} serve`);
  }

  /** It has no arguments that work, and is at its tries, with pauses of up to five minutes and the load between them. */
  #triesInVain({ id, tries }: Deployment, now: number): boolean {
    return this.#neverGood.has(id) && tries.lastAtMs !== null && now - tries.lastAtMs <= 400_000;
  }

  /** Instances of a deployment that are there and shall stay, among them those that a start is under way for. */
  #alive(id: string): InstanceRecord[] {
    return this.#parts.disk.of(id).filter((record) => {
      const process = this.#parts.machines.processes.get(record.id);
      const isThere = process === undefined ? record.observed === null : process.state !== "exited";
      return record.intent === "run" && isThere && process?.isEnding !== true;
    });
  }

  /** In truth, and with arguments that have shown that they work. */
  #serves({ revisions }: Deployment, instanceId: string, evenIfEnding = false): boolean {
    const process = this.#parts.machines.processes.get(instanceId);
    const record = this.#parts.disk.records.get(instanceId);
    if (process?.state !== "running" || record === undefined) return false;
    const isOnTrial = revisions.fallback !== null && record.revision === revisions.wanted.id;
    return (!isOnTrial || record.warmedAtMs !== null) && (evenIfEnding || !process.isEnding);
  }

  #hasLostGpu({ gpus }: Placement): boolean {
    const all = this.#parts.machines.capacity().flatMap((node) => node.gpus);
    return all.some((gpu) => !gpu.usable && gpus.includes(gpu.id));
  }

  #hasRoom({ config }: Deployment): boolean {
    const occupied = this.#parts.machines.occupied();
    for (const gpus of this.#parts.driver.awaited.values()) for (const gpu of gpus) occupied.add(gpu);
    return this.#parts.machines
      .capacity()
      .some(({ gpus }) => gpus.filter((gpu) => gpu.usable && !occupied.has(gpu.id)).length >= config.numGpus);
  }

  #say(rule: string, text: string): void {
    this.violations.push({ rule, text, atMs: this.#parts.time.nowMs });
  }
}

function hasTwoRevisions({ revisions }: Deployment, live: readonly InstanceRecord[]): boolean {
  return revisions.fallback !== null || live.some(({ revision }) => revision !== revisions.wanted.id);
}

/** The minimum that holds, by a formula of its own: schedules here have one rule for every day, by UTC, within a day. */
function leastOf({ minInstances, schedule }: ScaleSettings, now: number): number {
  const rule = schedule?.rules[0];
  const minute = Math.floor(now / 60_000) % 1_440;
  return rule !== undefined && minute >= rule.fromMinute && minute < rule.untilMinute
    ? rule.minInstances
    : minInstances;
}
