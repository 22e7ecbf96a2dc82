/**
 * One deployment's door: who comes in, who waits, who is sent away and with which words. core/queue decides who goes where;
 * this file owns the waiting itself (promises, time limits, clients that leave). Must not talk to engines or clients.
 */
import { type Claim, SlotQueue } from "../core/queue.ts";
import { RateLimits } from "../core/rate-limit.ts";
import type { ModelLoad, RouteInstance, RouteModel, RoutingSnapshot } from "../core/routing.ts";
import { ServiceRate } from "../core/service-rate.ts";
import type { HttpError } from "../schema/errors.ts";
import type { AdmissionOptions, Lease } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import * as refusals from "./refusals.ts";

/** What accounts and tokens may use of each model. */
export type RouteLimits = Pick<RoutingSnapshot, "accounts" | "limitedTokens">;

/** A request at the door. */
export type Bid = Omit<Claim, "tokens"> & {
  readonly failFast: boolean;
  readonly deadlineMs: number | null;
  readonly isReturning: boolean;
};

type Ticket = Claim & {
  start(lease: Lease): void;
  fail(error: unknown): void;
};

/** A slot that was given out. */
type Held = {
  readonly claim: Claim;
  readonly instanceId: string;
  readonly enteredAtMs: number;
  /** Where another gateway owns the slots: to be given back there too. */
  share: SlotShare | null;
};

/** A lease without its route: the request is another gateway's. */
export type HeldSlot = Omit<Lease, "instance">;

export type SlotShare = {
  /** As Lease's `served`, `pause` and `release` in one. */
  release(used: number | null, pauseMs: number): void;
};

/** Another gateway, which owns the slots since this one hands over to it; see handover.ts. */
export type SlotOwner = {
  /** Tells of a slot that is taken already. */
  hold(deploymentId: string, claim: Claim, instanceId: string): SlotShare;
  /** As Gate.acquire, there. Rejects with OwnerGone when the owner has ended. */
  ask(
    deploymentId: string,
    bid: Bid,
    signal: CancelSignal,
  ): Promise<{ readonly instance: RouteInstance; readonly share: SlotShare }>;
};

/** The slots are this gateway's own again. */
export class OwnerGone extends Error {}

export class Gate {
  readonly #deploymentId: string;
  readonly #options: AdmissionOptions;
  readonly #queue = new SlotQueue<Ticket>();
  readonly #accounts = new RateLimits();
  readonly #tokens = new RateLimits();
  readonly #rate = new ServiceRate();
  /** Null when the deployment is not in the newest picture. */
  #model: RouteModel | null = null;
  #instances = new Map<string, RouteInstance>();
  #lastRequestAtMs: number | null = null;
  /** Requests since this gateway began, except those that another one answers for. */
  #arrived = 0;
  /** Since when it is on its way from zero, as far as this gateway saw. */
  #startingSinceMs: number | null = null;
  /** A request for the sleeping model was sent away: it shall wake all the same. */
  #isWanted = false;
  readonly #held = new Set<Held>();
  /** Null when this gateway owns the slots, as it does until it hands over. */
  #owner: SlotOwner | null = null;
  /** Those who wait at the owner. */
  readonly #passedOn = new Map<Ticket, AbortController>();

  constructor(deploymentId: string, options: AdmissionOptions) {
    this.#deploymentId = deploymentId;
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#queue.waiting === 0 && this.#queue.running === 0 && this.#passedOn.size === 0;
  }

  acquire(bid: Bid, signal: CancelSignal): Promise<Lease> | Lease {
    const nowMs = this.#options.now();
    const off = this.#off();
    if (off !== null) throw off;
    signal.throwIfAborted();
    if (!bid.isReturning) this.#lastRequestAtMs = nowMs;
    const claim = { ...bid, tokens: this.#guess(bid) };
    if (this.#owner !== null) return this.#acquireThere(this.#owner, bid, claim, signal);
    if (!bid.isReturning) this.#arrived += 1;
    this.#enterLimits(claim, nowMs, bid.isReturning);
    const instanceId = this.#queue.take(claim, nowMs);
    if (instanceId !== null) return this.#lease({ claim, instanceId, enteredAtMs: nowMs, share: null });
    const refusal = bid.isReturning ? null : this.#refusal(bid, nowMs);
    if (refusal === null) return this.#wait(bid, claim, signal, nowMs);
    this.#leaveLimits(claim, 0, nowMs);
    this.#options.onLoad(false);
    throw refusal;
  }

  /** A request of a gateway that hands over is at the instance: it counts until it is released. */
  hold(claim: Claim, instanceId: string): HeldSlot {
    const nowMs = this.#options.now();
    this.#enterLimits(claim, nowMs, true);
    this.#queue.hold(claim, instanceId);
    const share = this.#owner?.hold(this.#deploymentId, claim, instanceId) ?? null;
    return this.#open({ claim, instanceId, enteredAtMs: nowMs, share });
  }

  /** Who is in flight goes on, and who waits waits there; with null, here again. */
  setOwner(owner: SlotOwner | null): void {
    this.#owner = owner;
    for (const held of this.#held)
      held.share = owner?.hold(this.#deploymentId, held.claim, held.instanceId) ?? null;
    if (owner === null) this.grant();
    else for (const ticket of this.#queue.dismiss()) void this.#passOn(owner, ticket);
    this.#options.onLoad(true);
  }

  setModel(model: RouteModel | null, { accounts, limitedTokens }: RouteLimits): void {
    const before = this.#instances;
    this.#model = model;
    this.#accounts.setLimits(accounts);
    this.#tokens.setLimits(limitedTokens);
    this.#instances = new Map(model?.instances.map((instance) => [instance.id, instance]));
    this.#queue.setInstances(model?.instances ?? []);
    if (model?.state !== "starting") this.#startingSinceMs = null;
    else this.#startingSinceMs ??= this.#options.now();
    if (model?.state !== "asleep") this.#isWanted = false;
    const startsDraining = [...this.#instances.values()].some(
      (instance) => instance.isDraining && before.get(instance.id)?.isDraining !== true,
    );
    if (startsDraining) this.#options.onLoad(true);
    const refusal = this.#off();
    if (refusal === null) this.grant();
    else for (const ticket of this.#queue.dismiss()) ticket.fail(refusal);
  }

  /** Null when there is nothing to say about it. */
  load(): ModelLoad | null {
    const ids = this.#queue.busyInstances();
    for (const { id, isDraining } of this.#instances.values())
      if (isDraining && !ids.includes(id)) ids.push(id);
    const queued = Math.max(this.#queue.waiting, this.#isWanted ? 1 : 0);
    const { running } = this.#queue;
    if (ids.length === 0 && queued === 0 && this.#lastRequestAtMs === null) return null;
    const inFlight = Object.fromEntries(ids.map((id) => [id, this.#queue.inFlight(id)]));
    // The owner of the slots reports the rest.
    const arrived = this.#arrived;
    if (this.#owner !== null) return { queued: 0, running: 0, lastRequestAtMs: null, arrived, inFlight };
    return { queued, running, lastRequestAtMs: this.#lastRequestAtMs, arrived, inFlight };
  }

  /** Gives free slots to those who wait. */
  grant(): void {
    const nowMs = this.#options.now();
    for (const { ticket, instanceId } of this.#queue.grant(nowMs)) {
      ticket.start(this.#lease({ claim: ticket, instanceId, enteredAtMs: nowMs, share: null }));
    }
  }

  #wait(bid: Bid, claim: Claim, signal: CancelSignal, sinceMs: number): Promise<Lease> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout;
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
      };
      const ticket: Ticket = {
        ...claim,
        start: (lease) => {
          settle();
          resolve(lease);
        },
        fail: (error) => {
          settle();
          this.#leaveLimits(claim, 0, sinceMs);
          reject(error);
        },
      };
      const leave = () => {
        this.#leave(ticket);
        ticket.fail(signal.reason);
      };
      const check = () => {
        const leftMs = this.#endsAtMs(bid, sinceMs) - this.#options.now();
        if (leftMs > 0) {
          timer = setTimeout(check, leftMs);
          return;
        }
        this.#leave(ticket);
        ticket.fail(
          refusals.overdue(this.#named, this.#endsAtMs(bid, sinceMs) - sinceMs, this.#loadLeftMs()),
        );
      };
      timer = setTimeout(check, Math.max(0, this.#endsAtMs(bid, sinceMs) - sinceMs));
      signal.addEventListener("abort", leave);
      this.#enter(ticket, bid.isReturning);
    });
  }

  #enter(ticket: Ticket, isReturning: boolean): void {
    const { queueMax, queueBytes } = this.#options.limits;
    if (isReturning) this.#queue.rejoin(ticket);
    else {
      const { joined, ousted } = this.#queue.join(ticket, { requests: queueMax, bytes: queueBytes });
      ousted?.fail(this.#full(ousted));
      if (!joined) {
        ticket.fail(this.#full(ticket));
        return;
      }
    }
    // A slot may be free that could not be given before.
    this.grant();
    this.#options.onLoad(true);
  }

  async #acquireThere(owner: SlotOwner, bid: Bid, claim: Claim, signal: CancelSignal): Promise<Lease> {
    const enteredAtMs = this.#options.now();
    this.#enterLimits(claim, enteredAtMs, true);
    try {
      const { instance, share } = await owner.ask(this.#deploymentId, bid, signal);
      return this.#leaseThere({ claim, instanceId: instance.id, enteredAtMs, share }, instance);
    } catch (error) {
      this.#leaveLimits(claim, 0, enteredAtMs);
      if (error instanceof OwnerGone) return this.acquire({ ...bid, isReturning: true }, signal);
      throw error;
    }
  }

  /** Its own time limit goes on here. */
  async #passOn(owner: SlotOwner, ticket: Ticket): Promise<void> {
    const abort = new AbortController();
    this.#passedOn.set(ticket, abort);
    const { start, fail, ...claim } = ticket;
    const bid = { ...claim, failFast: false, deadlineMs: null, isReturning: true };
    try {
      const { instance, share } = await owner.ask(this.#deploymentId, bid, abort.signal);
      if (this.#passedOn.delete(ticket)) {
        const held = { claim, instanceId: instance.id, enteredAtMs: this.#options.now(), share };
        start(this.#leaseThere(held, instance));
      } else share.release(0, 0);
    } catch (error) {
      if (!this.#passedOn.delete(ticket)) return;
      if (error instanceof OwnerGone) {
        this.#queue.rejoin(ticket);
        this.grant();
      } else fail(error);
    }
  }

  #leaseThere(held: Held, instance: RouteInstance): Lease {
    this.#queue.hold(held.claim, held.instanceId);
    return { instance, ...this.#open(held) };
  }

  #leave(ticket: Ticket): void {
    this.#passedOn.get(ticket)?.abort(new Error("it does not wait any longer"));
    this.#passedOn.delete(ticket);
    this.#queue.leave(ticket);
    this.#options.onLoad(this.#queue.waiting === 0);
  }

  /** Wraps a slot that the queue has taken. */
  #lease(held: Held): Lease {
    const instance = this.#instances.get(held.instanceId);
    if (instance === undefined) throw new Error(`instance ${held.instanceId} was chosen but is not listed`);
    return { instance, ...this.#open(held) };
  }

  #open(held: Held): HeldSlot {
    const { claim, instanceId, enteredAtMs } = held;
    this.#held.add(held);
    const startedAtMs = this.#options.now();
    this.#slotChanged(instanceId, 1);
    let isReleased = false;
    let used: number | null = null;
    let pausedMs = 0;
    return {
      claim,
      served: (tokens) => {
        used = tokens;
      },
      pause: (pauseMs) => {
        used ??= 0;
        pausedMs = pauseMs;
        this.#queue.pause(instanceId, this.#options.now() + pauseMs);
        // Nobody else may come by when the pause ends. One millisecond more: timers may fire early.
        setTimeout(() => this.grant(), pauseMs + 1).unref();
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#held.delete(held);
        held.share?.release(used, pausedMs);
        this.#queue.release(instanceId);
        if (used !== null) this.#queue.correct(claim, used);
        if (used !== 0) this.#rate.noteService(this.#options.now() - startedAtMs);
        if (used !== null && used > 0) this.#rate.noteOutput(Math.max(0, used - claim.promptTokens));
        this.#leaveLimits(claim, used, enteredAtMs);
        this.#slotChanged(instanceId, 0);
        this.grant();
      },
    };
  }

  /** Counts a request for its account and its token, or throws what the client hears; then it counts for neither. */
  #enterLimits({ account, tokenId, tokens }: Claim, nowMs: number, isReturning: boolean): void {
    const ofAccount = isReturning ? null : this.#accounts.check(account, tokens, nowMs);
    const ofToken = isReturning ? null : this.#tokens.check(tokenId, tokens, nowMs);
    const exceeded = ofAccount ?? ofToken;
    if (exceeded !== null) {
      const whose = ofAccount === null ? "This token" : account;
      throw refusals.rateLimited(this.#name, whose, exceeded, exceeded.retryMs ?? this.#rate.serviceMs);
    }
    this.#accounts.enter(account, tokens, nowMs, isReturning);
    this.#tokens.enter(tokenId, tokens, nowMs, isReturning);
  }

  #leaveLimits({ account, tokenId, tokens }: Claim, used: number | null, enteredAtMs: number): void {
    const nowMs = this.#options.now();
    this.#accounts.leave(account, tokens, used, enteredAtMs, nowMs);
    this.#tokens.leave(tokenId, tokens, used, enteredAtMs, nowMs);
  }

  /** Tells of a taken or freed slot; `edge` is the in-flight count that makes it urgent. */
  #slotChanged(instanceId: string, edge: number): void {
    const isEdge = this.#queue.inFlight(instanceId) === edge;
    this.#options.onLoad(isEdge || this.#instances.get(instanceId)?.isDraining === true);
  }

  #guess(bid: Bid): number {
    const most = this.#model?.contextTokens ?? 0;
    const tokens = Math.ceil(bid.promptTokens + this.#rate.outputTokens);
    return most > 0 ? Math.min(tokens, most) : tokens;
  }

  #endsAtMs({ deadlineMs }: Bid, sinceMs: number): number {
    const { waitMs, slotWaitMs } = this.#options.limits;
    const ownMs = sinceMs + (this.#model?.state === "ready" ? slotWaitMs : waitMs);
    return Math.min(ownMs, deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /** Milliseconds until a model that starts is likely to be ready, null when unknown or when it is. */
  #loadLeftMs(): number | null {
    const { state, loadTimeMs } = this.#model ?? {};
    if (state === "ready" || typeof loadTimeMs !== "number") return null;
    const goneMs = this.#startingSinceMs === null ? 0 : this.#options.now() - this.#startingSinceMs;
    return Math.max(0, loadTimeMs - goneMs);
  }

  /** Why no request can be served, whatever it waits for; null when one can. */
  #off(): HttpError | null {
    if (this.#model === null || this.#model.state === "gone") return refusals.modelGone();
    return this.#model.state === "off" ? refusals.notReady(this.#model.reason) : null;
  }

  /** Why this one need not wait: it does not want to, or its turn would come too late. Null when it may. */
  #refusal(bid: Bid, nowMs: number): HttpError | null {
    const leftMs = this.#endsAtMs(bid, nowMs) - nowMs;
    if (this.#model?.state === "ready") {
      const waitMs = this.#waitMs(bid);
      if (bid.failFast) return refusals.noSlot(this.#name, waitMs);
      return waitMs !== null && waitMs > leftMs ? refusals.overloaded(this.#name, waitMs, leftMs) : null;
    }
    const loadMs = this.#loadLeftMs();
    const isTooLong = bid.failFast || (loadMs !== null && loadMs > leftMs);
    if (!isTooLong) return null;
    this.#isWanted = this.#model?.state === "asleep";
    if (this.#isWanted) this.#options.onLoad(true);
    return refusals.notLoadedYet(this.#named, loadMs);
  }

  /** Milliseconds that a newcomer would wait for a slot, null when unknown. */
  #waitMs(claim: Pick<Claim, "account" | "tier">): number | null {
    return this.#rate.waitMs(this.#queue.ahead(claim), this.#queue.openSlots);
  }

  #full(claim: Claim): HttpError {
    const { queueMax, queueBytes } = this.#options.limits;
    const isByCount = this.#queue.waiting >= queueMax;
    return refusals.full(this.#name, isByCount ? queueMax : null, queueBytes, this.#waitMs(claim));
  }

  get #name(): string {
    return this.#model?.name ?? "the model";
  }

  get #named(): refusals.Named {
    const { state = "gone", reason = "" } = this.#model ?? {};
    return { name: this.#name, state, reason };
  }
}
