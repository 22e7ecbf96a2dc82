/**
 * What must hold in a simulated world, as somebody sees it who sees everything. Compares with the truth of the machines and
 * with formulas of its own; never with what the decisions say of themselves.
 */

import type { Action } from "../core/action.ts";
import type { Deployment } from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { statusOf } from "../core/status.ts";
import type { World } from "../core/world.ts";
import { type Control, limits } from "./control.ts";
import type { Gateway, SimulatedRequest } from "./front.ts";
import type { Machines } from "./machines.ts";

export type Violation = { readonly rule: string; readonly text: string; readonly atMs: number };

export class Judge {
  readonly violations: Violation[] = [];
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Before an action is carried out. */
  judgeAction(
    world: World,
    action: Action,
    control: Control,
    machines: Machines,
    gateways: readonly Gateway[],
  ): void {
    if (action.do === "start") this.#judgeStart(world, action, control, machines);
    if (action.do === "remove") this.#judgeRemoval(world, action, machines, gateways);
  }

  #judgeStart(
    world: World,
    action: Extract<Action, { do: "start" }>,
    control: Control,
    machines: Machines,
  ): void {
    const { id, settings, revisions, tries } = world.deployment;
    const records = [...control.records.values()].filter(
      (one) => one.deploymentId === id && one.intent === "run",
    );
    const live = records.filter((record) => {
      const process = machines.processes.get(record.id);
      return process !== undefined && process.state !== "exited" && !process.isEnding;
    });
    const isRollingOut =
      revisions.fallback !== null || live.some(({ revision }) => revision !== revisions.wanted.id);
    const most = settings.maxInstances + (isRollingOut ? 1 : 0);
    if (live.length >= most) this.#say("maximum", `${id} has ${live.length} of ${most} and starts another`);
    const taken = action.placement.gpus.filter((gpu) => machines.occupied().has(gpu));
    if (taken.length > 0) this.#say("gpu twice", `${id} starts on ${taken.join(", ")}, which is taken`);
    for (const { count, lastAtMs } of [tries, revisions.tries]) {
      const waitMs = count < 2 ? 0 : Math.min(300_000, 1_000 * 2 ** (count - 2));
      // A failure in the future was before the clock was put back: nobody waits for that time.
      if (lastAtMs !== null && lastAtMs <= world.now && world.now - lastAtMs < waitMs)
        this.#say("back-off", `${id} starts ${world.now - lastAtMs} ms after its failure ${count}`);
    }
  }

  /** An instance that serves is ended only when nothing is there, or when its time to drain is over. */
  #judgeRemoval(
    world: World,
    { instanceId }: Extract<Action, { do: "remove" }>,
    machines: Machines,
    gateways: readonly Gateway[],
  ): void {
    if (machines.processes.get(instanceId)?.state !== "running") return;
    const busy = gateways.reduce((sum, gateway) => sum + gateway.inFlightAt(instanceId), 0);
    const record = world.instances.find(({ id }) => id === instanceId);
    const isOver = record?.drainSinceMs != null && world.now - record.drainSinceMs >= limits.drainMs;
    if (record?.intent !== "drain") this.#say("drain", `${instanceId} is ended without having been drained`);
    if (busy > 0 && !isOver) this.#say("cut", `${instanceId} is ended with ${busy} requests`);
  }

  /** What the status says after an observation, against what there is. */
  judgeStatus(deployment: Deployment, records: readonly InstanceRecord[], machines: Machines): void {
    const { id, settings, revisions, desired } = deployment;
    const report = statusOf(deployment, records);
    const serving = records.filter((record) => {
      const isOnTrial = revisions.fallback !== null && record.revision === revisions.wanted.id;
      const isProven = !isOnTrial || record.warmedAtMs !== null;
      return record.intent === "run" && machines.processes.get(record.id)?.state === "running" && isProven;
    });
    if (report.instances.running !== serving.length)
      this.#say(
        "status",
        `${id} is said to have ${report.instances.running} running, and has ${serving.length}`,
      );
    const isEnded = { run: null, stop: "stopped", delete: "deleted" }[desired];
    if (isEnded !== null && report.status !== isEnded)
      this.#say("status", `${id} is ${isEnded}, not ${report.status}`);
    if (report.status === "running" && settings.minInstances > 0 && serving.length === 0)
      this.#say("status", `${id} is said to run, and nothing serves`);
  }

  judgeEffort(events: number, most: number): void {
    if (events === most) this.#say("effort", `${events} events, and it goes on`);
  }

  /** When nothing has happened for long. */
  judgeRest(control: Control, machines: Machines, requests: readonly SimulatedRequest[]): void {
    for (const process of machines.processes.values())
      if (!control.records.has(process.id)) this.#say("orphan", `${process.id} runs, and nobody knows of it`);
    for (const { deployment, outcome } of requests)
      if (outcome === null)
        this.#say("request", `a request to ${deployment} is neither answered nor refused`);
    for (const deployment of control.facts.values()) this.#judgeDesired(deployment, control, machines);
  }

  #judgeDesired(deployment: Deployment, control: Control, machines: Machines): void {
    const { id, settings, config } = deployment;
    const records = [...control.records.values()].filter((record) => record.deploymentId === id);
    const serving = records.filter((record) => machines.processes.get(record.id)?.state === "running");
    const wanted = deployment.desired === "run" && deployment.failure === null ? settings.minInstances : 0;
    if (records.length > wanted)
      this.#say("desired", `${id} rests with ${records.length} instances for ${wanted}`);
    if (serving.length >= wanted) {
      if (deployment.revisions.fallback !== null && wanted > 0)
        this.#say("desired", `the update of ${id} is not over`);
      return;
    }
    const occupied = machines.occupied();
    const hasRoom = machines
      .capacity()
      .some(({ gpus }) => gpus.filter((gpu) => gpu.usable && !occupied.has(gpu.id)).length >= config.numGpus);
    if (hasRoom) this.#say("desired", `${id} rests with ${serving.length} of ${wanted} though there is room`);
  }

  #say(rule: string, text: string): void {
    this.violations.push({ rule, text, atMs: this.#nowMs() });
  }
}
