/**
 * A gateway of a simulated world: the real line in front of pretended engines. Goes by the last snapshot that reached it,
 * and reports what it has. Every request that it accepts is answered, or refused with a reason.
 */
import { type Health, noFailures, noteFailure, noteSuccess, suspects } from "../core/outliers.ts";
import { type Claim, SlotQueue } from "../core/queue.ts";
import type { LoadReport, ModelLoad } from "../core/routing.ts";
import type { Coverage } from "./coverage.ts";
import type { Machines } from "./machines.ts";
import type { Timeline } from "./timeline.ts";

export type SimulatedRequest = {
  readonly deployment: string;
  readonly workMs: number;
  outcome: null | "answered" | { readonly refused: string };
  tries: number;
  /** Times it was answered or refused: must be one in the end. */
  settled: number;
};

export function ask(deployment: string, workMs: number): SimulatedRequest {
  return { deployment, workMs, outcome: null, tries: 0, settled: 0 };
}

export type Snapshot = ReadonlyMap<string, SnapshotModel>;
export type SnapshotModel = {
  /** No request will change that it does not serve. */
  readonly isOff: boolean;
  readonly instances: readonly {
    readonly id: string;
    readonly slots: number;
    readonly isDraining: boolean;
  }[];
};

type Ticket = Claim & { readonly request: SimulatedRequest };
type Gate = { readonly line: SlotQueue<Ticket>; lastRequestAtMs: number; health: Health };
type Flight = { readonly ticket: Ticket; readonly instanceId: string; readonly deployment: string };

const waitMs = 240_000;
/** How long an engine may say nothing. */
const silenceMs = 20_000;
const lineLimits = { requests: 200, bytes: 1e9 };

export class Gateway {
  readonly id: string;
  isUp = true;
  /** Called after anything that control should hear of soon. */
  onChange: () => void = () => undefined;
  #snapshot: Snapshot = new Map();
  #gates = new Map<string, Gate>();
  #flights = new Set<Flight>();
  /** Called with an instance that has been given a request. */
  onGrant: (instanceId: string) => void = () => undefined;
  readonly #time: Timeline;
  readonly #machines: Machines;
  readonly #coverage: Coverage;

  constructor(id: string, time: Timeline, machines: Machines, coverage: Coverage) {
    this.id = id;
    this.#time = time;
    this.#machines = machines;
    this.#coverage = coverage;
  }

  accept(request: SimulatedRequest): void {
    if (!this.isUp) {
      refuse(request, "no gateway");
      return;
    }
    const model = this.#snapshot.get(request.deployment);
    if (model === undefined) {
      refuse(request, "no such model");
      return;
    }
    if (model.isOff) {
      refuse(request, "the model is off");
      return;
    }
    const gate = this.#gateOf(request.deployment);
    gate.lastRequestAtMs = this.#time.nowMs;
    const ticket: Ticket = { ...plainClaim, request };
    if (!gate.line.join(ticket, lineLimits).joined) {
      refuse(request, "the line is full");
      return;
    }
    this.#giveUpLater(ticket, gate);
    this.#grant(request.deployment, gate);
    this.onChange();
  }

  take(snapshot: Snapshot): void {
    if (!this.isUp) return;
    const before = this.#snapshot;
    this.#snapshot = snapshot;
    for (const id of new Set([...snapshot.keys(), ...this.#gates.keys()])) {
      const model = snapshot.get(id);
      if (model !== undefined && model === before.get(id)) continue;
      const gate = this.#gateOf(id);
      gate.line.setInstances(model?.instances ?? []);
      if (model === undefined || model.isOff) {
        for (const { request } of gate.line.dismiss()) refuse(request, "the model is off");
      }
      this.#grant(id, gate);
    }
  }

  /** An engine is gone: what it had is tried again elsewhere. */
  loseInstance(instanceId: string): void {
    for (const flight of [...this.#flights].filter((one) => one.instanceId === instanceId)) {
      this.#flights.delete(flight);
      const gate = this.#gateOf(flight.deployment);
      gate.line.release(instanceId);
      this.#again(flight, gate);
      this.onChange();
    }
  }

  crash(): void {
    this.isUp = false;
    for (const { ticket } of this.#flights) refuse(ticket.request, "the gateway was lost");
    for (const { line } of this.#gates.values())
      for (const { request } of line.dismiss()) refuse(request, "the gateway was lost");
    this.#flights = new Set();
    this.#gates = new Map();
    this.#snapshot = new Map();
  }

  /** Instances at which requests keep failing. */
  suspectsOf(deployment: string): string[] {
    return suspects(this.#gates.get(deployment)?.health ?? noFailures);
  }

  inFlightAt(instanceId: string): number {
    let count = 0;
    for (const flight of this.#flights) if (flight.instanceId === instanceId) count += 1;
    return count;
  }

  report(): LoadReport {
    const models: Record<string, ModelLoad> = {};
    for (const [id, { line, lastRequestAtMs, health }] of this.#gates) {
      const inFlight: Record<string, number> = {};
      for (const busy of line.busyInstances()) inFlight[busy] = line.inFlight(busy);
      for (const one of this.#snapshot.get(id)?.instances ?? [])
        if (one.isDraining) inFlight[one.id] = line.inFlight(one.id);
      const lastAtMs = lastRequestAtMs < 0 ? null : lastRequestAtMs;
      const failing = suspects(health);
      models[id] = {
        ...{ queued: line.waiting, running: line.running, lastRequestAtMs: lastAtMs, inFlight },
        ...(failing.length > 0 && { suspects: failing }),
      };
    }
    return { gatewayId: this.id, models };
  }

  #grant(deployment: string, gate: Gate): void {
    for (const { ticket, instanceId } of gate.line.grant(this.#time.nowMs)) {
      const flight = { ticket, instanceId, deployment };
      this.#flights.add(flight);
      this.onGrant(instanceId);
      const process = this.#machines.processes.get(instanceId);
      if (process?.state !== "running") this.#time.after(1, () => this.#failed(flight, false));
      else if (process.isMute) this.#time.after(silenceMs, () => this.#failed(flight, true));
      else this.#time.after(ticket.request.workMs, () => this.#done(flight));
    }
  }

  #failed(flight: Flight, isSilent: boolean): void {
    if (!this.#flights.delete(flight)) return;
    const { deployment, instanceId } = flight;
    const gate = this.#gateOf(deployment);
    const listed = this.#snapshot.get(deployment)?.instances.filter((one) => !one.isDraining) ?? [];
    const ids = listed.map(({ id }) => id);
    const { health, pauseMs } = noteFailure(gate.health, instanceId, ids, this.#time.nowMs, isSilent);
    gate.health = health;
    gate.line.pause(instanceId, this.#time.nowMs + pauseMs);
    gate.line.release(flight.instanceId);
    this.#again(flight, gate);
    this.onChange();
  }

  #done(flight: Flight): void {
    if (!this.#flights.delete(flight)) return;
    const { request } = flight.ticket;
    request.settled += 1;
    request.outcome = "answered";
    const gate = this.#gateOf(flight.deployment);
    gate.health = noteSuccess(gate.health, flight.instanceId);
    gate.line.release(flight.instanceId);
    this.#grant(flight.deployment, gate);
    this.onChange();
  }

  #again({ ticket, deployment }: Flight, gate: Gate): void {
    ticket.request.tries += 1;
    this.#coverage.count("request tried again");
    if (ticket.request.tries >= 3) {
      refuse(ticket.request, "its engines were lost");
      return;
    }
    gate.line.rejoin(ticket);
    this.#giveUpLater(ticket, gate);
    this.#time.after(600, () => this.#grant(deployment, gate));
  }

  #giveUpLater(ticket: Ticket, gate: Gate): void {
    this.#time.after(waitMs, () => {
      if (ticket.request.outcome !== null || !gate.line.leave(ticket)) return;
      refuse(ticket.request, "nobody was free in time");
      this.onChange();
    });
  }

  #gateOf(deployment: string): Gate {
    let gate = this.#gates.get(deployment);
    if (gate === undefined) {
      gate = { line: new SlotQueue(), lastRequestAtMs: -1, health: noFailures };
      this.#gates.set(deployment, gate);
    }
    return gate;
  }
}

export function refuse(request: SimulatedRequest, refused: string): void {
  request.settled += 1;
  request.outcome = { refused };
}

const plainClaim: Omit<Claim, "tier"> & { readonly tier: "default" } = {
  account: "a",
  tokenId: "t",
  tier: "default",
  tokens: 100,
  promptTokens: 50,
  bytes: 100,
  prefix: [],
  avoid: [],
};
