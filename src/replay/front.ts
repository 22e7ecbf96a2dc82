/**
 * Who gets in at a replayed deployment: the gateway's line (`core/queue`) and its reasons to refuse (a full line, a wait that
 * would be too long or was), in virtual time. Must not start instances or know what engines do.
 */
import { type Claim, SlotQueue } from "../core/queue.ts";
import { ServiceRate } from "../core/service-rate.ts";
import type { Timeline } from "../simulate/timeline.ts";
import type { TraceRequest } from "./trace.ts";

/** What a gateway is set up with. */
export type FrontLimits = {
  /** Requests that may wait: BERTH_QUEUE. */
  readonly queueMax: number;
  /** Longest wait for a slot of a model that runs: BERTH_QUEUE_WAIT_S. */
  readonly slotWaitMs: number;
  /** Longest wait for a model that is starting or at zero: BERTH_WAIT_S. */
  readonly waitMs: number;
};

export const defaultFrontLimits: FrontLimits = { queueMax: 1000, slotWaitMs: 600_000, waitMs: 120_000 };

export type Visit = {
  readonly request: TraceRequest;
  readonly arrivedMs: number;
};

type Ticket = Claim & { readonly visit: Visit };

export class Front {
  readonly #timeline: Timeline;
  readonly #limits: FrontLimits;
  readonly #queue = new SlotQueue<Ticket>();
  readonly #rate = new ServiceRate();
  readonly #onStart: (visit: Visit, instanceId: string) => void;
  readonly #onRefusal: (visit: Visit) => void;

  constructor(
    timeline: Timeline,
    limits: FrontLimits,
    on: { start(visit: Visit, instanceId: string): void; refusal(visit: Visit): void },
  ) {
    this.#timeline = timeline;
    this.#limits = limits;
    this.#onStart = on.start;
    this.#onRefusal = on.refusal;
  }

  get queued(): number {
    return this.#queue.waiting;
  }

  get running(): number {
    return this.#queue.running;
  }

  inFlight(instanceId: string): number {
    return this.#queue.inFlight(instanceId);
  }

  setInstances(instances: Parameters<SlotQueue<Ticket>["setInstances"]>[0]): void {
    this.#queue.setInstances(instances);
    this.#grant();
  }

  /** @param loadLeftMs until there is an instance, where there is none; null when one is there */
  enter(visit: Visit, loadLeftMs: number | null): void {
    const nowMs = this.#timeline.nowMs;
    const claim = this.#claimOf(visit.request);
    const instanceId = this.#queue.take(claim, nowMs);
    if (instanceId !== null) this.#onStart(visit, instanceId);
    else this.#wait({ ...claim, visit }, loadLeftMs);
  }

  #wait(ticket: Ticket, loadLeftMs: number | null): void {
    const leftMs = loadLeftMs === null ? this.#limits.slotWaitMs : this.#limits.waitMs;
    const isTooLong = (loadLeftMs ?? this.#waitMs(ticket)) > leftMs;
    const limits = { requests: this.#limits.queueMax, bytes: Number.POSITIVE_INFINITY };
    if (isTooLong || !this.#queue.join(ticket, limits).joined) this.#onRefusal(ticket.visit);
    else {
      this.#timeline.after(leftMs, () => {
        if (this.#queue.leave(ticket)) this.#onRefusal(ticket.visit);
      });
    }
  }

  /** A request has its last token. */
  leave({ request }: Visit, instanceId: string, servedMs: number): void {
    this.#queue.release(instanceId);
    this.#rate.noteService(servedMs);
    this.#rate.noteOutput(request.generatedTokens);
    this.#grant();
  }

  #grant(): void {
    if (this.#queue.waiting === 0) return;
    for (const { ticket, instanceId } of this.#queue.grant(this.#timeline.nowMs))
      this.#onStart(ticket.visit, instanceId);
  }

  /** Nothing is known of whose requests they are: all are one account's. */
  #claimOf({ promptTokens }: TraceRequest): Claim {
    const tokens = Math.ceil(promptTokens + this.#rate.outputTokens);
    const who = { account: "trace", tokenId: "trace", tier: "default" as const };
    return { ...who, tokens, promptTokens, bytes: 0, prefix: [], avoid: [] };
  }

  #waitMs(claim: Claim): number {
    return this.#rate.waitMs(this.#queue.ahead(claim), this.#queue.openSlots) ?? 0;
  }
}
