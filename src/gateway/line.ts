/**
 * One deployment's line, in the process that owns its slots: who comes in, who waits, who is sent away and with which
 * words. core/queue decides who goes where; this file owns the waiting itself (promises, time limits, clients that leave).
 * It lives as long as the ownership does. Must not talk to engines, clients or other processes.
 */
import { type Claim, SlotQueue } from "../core/queue.ts";
import { RateLimits } from "../core/rate-limit.ts";
import type { ModelLoad, RouteInstance, RouteModel, RoutingSnapshot } from "../core/routing.ts";
import { ServiceRate } from "../core/service-rate.ts";
import type { HttpError } from "../schema/errors.ts";
import type { AdmissionOptions } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import { Faults } from "./faults.ts";
import { type Bid, Lease, type LinePast, Moved, type SlotEnd, type SlotKeeper } from "./lease.ts";
import * as refusals from "./refusals.ts";

/** What accounts and tokens may use of each model. */
export type RouteLimits = Pick<RoutingSnapshot, "accounts" | "limitedTokens">;

type Ticket = Claim & {
  start(lease: Lease): void;
  fail(error: unknown): void;
};

/** Accounts, and tokens, whose last minute goes over to another process: that many are a message of some 2 MB at most. */
const maxPastNames = 500;
const unbounded = { requests: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

export class Line implements SlotKeeper {
  readonly at = null;
  readonly #options: AdmissionOptions;
  readonly #queue = new SlotQueue<Ticket>();
  readonly #accounts = new RateLimits();
  readonly #tokens = new RateLimits();
  readonly #rate = new ServiceRate();
  readonly #faults: Faults;
  /** Null when the deployment is not in the newest picture. */
  #model: RouteModel | null = null;
  #instances = new Map<string, RouteInstance>();
  #lastRequestAtMs: number | null = null;
  /** Requests that were let in here first. */
  #arrived = 0;
  /** Since when it is on its way from zero, as far as this line saw. */
  #startingSinceMs: number | null = null;
  /** A request for the sleeping model was sent away: it shall wake all the same. */
  #isWanted = false;
  /** False until it knows of every slot that is taken: until then all wait. */
  #isOpen: boolean;
  #isClosed = false;
  /** For those who would not wait, and must while it is not open. */
  readonly #opened = Promise.withResolvers<void>();

  constructor(options: AdmissionOptions, isOpen: boolean) {
    this.#options = options;
    this.#faults = new Faults(options.now);
    this.#isOpen = isOpen;
    this.#opened.promise.catch(() => undefined); // closed before it was opened, and nobody waited for it
  }

  get isIdle(): boolean {
    return this.#queue.waiting === 0 && this.#queue.running === 0;
  }

  /** The newest picture has the deployment. */
  get isListed(): boolean {
    return this.#model !== null;
  }

  /** All slots that are taken are counted here now. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.grant();
    this.#opened.resolve();
  }

  close(): void {
    this.#isClosed = true;
    for (const ticket of this.#queue.dismiss()) ticket.fail(new Moved("the line has moved"));
    this.#opened.reject(new Moved("the line has moved"));
  }

  acquire(bid: Bid, signal: CancelSignal): Promise<Lease> | Lease {
    if (this.#isClosed) throw new Moved("the line has moved");
    const nowMs = this.#options.now();
    const off = this.#off();
    if (off !== null) throw off;
    signal.throwIfAborted();
    if (!this.#isOpen && bid.failFast) return this.#opened.promise.then(() => this.acquire(bid, signal));
    const wasLetIn = bid.isReturning || bid.joinedAtMs !== null;
    if (!bid.isReturning) this.#lastRequestAtMs = nowMs;
    if (!wasLetIn) {
      this.#faults.requested();
      this.#arrived += 1;
    }
    bid.tokens = this.#guess(bid);
    this.#enterLimits(bid, nowMs, wasLetIn);
    const instanceId = this.#isOpen ? this.#queue.take(bid, nowMs) : null;
    if (instanceId !== null) return this.#lease(bid, instanceId, nowMs);
    const refusal = wasLetIn || !this.#isOpen ? null : this.#refusal(bid, nowMs);
    if (refusal === null) return this.#wait(bid, signal, nowMs);
    this.#leaveLimits(bid, 0, nowMs);
    this.#options.onLoad(false);
    throw refusal;
  }

  hold(lease: Lease): void {
    const { claim, instance } = lease;
    lease.keeper = this;
    lease.countedAtMs = this.#options.now();
    this.#enterLimits(claim, lease.countedAtMs, true);
    this.#queue.hold(claim, instance.id);
    this.#slotChanged(instance.id, 1);
  }

  release({ claim, instance, startedAtMs, countedAtMs }: Lease, { used, pauseMs, verdict }: SlotEnd): void {
    if (this.#isClosed) return;
    const nowMs = this.#options.now();
    if (verdict === "succeeded") this.#faults.succeeded(instance.id);
    const isFailed = verdict === "failed" || verdict === "silent";
    const restMs = isFailed ? this.#faults.failed(instance.id, verdict === "silent") : pauseMs;
    this.#pause(instance.id, restMs, nowMs);
    this.#queue.release(instance.id);
    if (used !== null) this.#queue.correct(claim, used);
    if (used !== 0) this.#rate.noteService(nowMs - startedAtMs);
    if (used !== null && used > 0) this.#rate.noteOutput(Math.max(0, used - claim.promptTokens));
    this.#leaveLimits(claim, used, countedAtMs);
    this.#slotChanged(instance.id, 0);
    this.grant();
  }

  adopt({ accounts, tokens, rate, lastRequestAtMs }: LinePast): void {
    const nowMs = this.#options.now();
    this.#accounts.adopt(accounts, nowMs);
    this.#tokens.adopt(tokens, nowMs);
    this.#rate.adopt(rate);
    if (lastRequestAtMs !== null)
      this.#lastRequestAtMs = Math.max(this.#lastRequestAtMs ?? 0, lastRequestAtMs);
  }

  /** What is under way is left out: whoever it belongs to tells it. */
  past(): LinePast {
    const nowMs = this.#options.now();
    return {
      accounts: this.#accounts.past(maxPastNames, nowMs),
      tokens: this.#tokens.past(maxPastNames, nowMs),
      rate: this.#rate.learned,
      lastRequestAtMs: this.#lastRequestAtMs,
    };
  }

  mayRetry(): boolean {
    return this.#faults.mayRetry();
  }

  setModel(model: RouteModel | null, { accounts, limitedTokens }: RouteLimits): void {
    const before = this.#instances;
    const instances = model?.instances ?? [];
    this.#model = model;
    this.#accounts.setLimits(accounts);
    this.#tokens.setLimits(limitedTokens);
    this.#instances = new Map(instances.map((instance) => [instance.id, instance]));
    this.#queue.setInstances(instances);
    this.#faults.setInstances(instances);
    if (model?.state !== "starting") this.#startingSinceMs = null;
    else this.#startingSinceMs ??= this.#options.now();
    if (model?.state !== "asleep") this.#isWanted = false;
    const startsDraining = instances.some(
      ({ id, isDraining }) => isDraining && before.get(id)?.isDraining !== true,
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
    const suspects = this.#faults.suspects(this.#options.limits.quietMs);
    const named = suspects.length === 0 ? {} : { suspects };
    const arrived = this.#arrived;
    const lastRequestAtMs = this.#lastRequestAtMs;
    return { queued, running, lastRequestAtMs, arrived, inFlight, ...named };
  }

  /** Gives free slots to those who wait. */
  grant(): void {
    if (!this.#isOpen || this.#isClosed) return;
    const nowMs = this.#options.now();
    for (const { ticket, instanceId } of this.#queue.grant(nowMs)) {
      ticket.start(this.#lease(ticket, instanceId, nowMs));
    }
  }

  #wait(bid: Bid, signal: CancelSignal, nowMs: number): Promise<Lease> {
    const sinceMs = bid.joinedAtMs ?? nowMs;
    const stoodStillMs = () => this.#options.stoodStillMs?.() ?? 0;
    const stoodBeforeMs = stoodStillMs();
    const endsAtMs = () => this.#endsAtMs(bid, sinceMs) + stoodStillMs() - stoodBeforeMs;
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout;
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
      };
      const ticket: Ticket = {
        ...bid,
        start: (lease) => {
          settle();
          lease.countedAtMs = nowMs;
          resolve(lease);
        },
        fail: (error) => {
          settle();
          this.#leaveLimits(bid, 0, nowMs);
          reject(error);
        },
      };
      const leave = () => {
        this.#leave(ticket);
        ticket.fail(signal.reason);
      };
      const check = () => {
        const leftMs = endsAtMs() - this.#options.now();
        if (leftMs > 0) {
          timer = setTimeout(check, leftMs);
          return;
        }
        this.#leave(ticket);
        ticket.fail(
          refusals.overdue(this.#named, this.#endsAtMs(bid, sinceMs) - sinceMs, this.#loadLeftMs()),
        );
      };
      timer = setTimeout(check, Math.max(0, endsAtMs() - nowMs));
      signal.addEventListener("abort", leave);
      this.#enter(ticket, bid);
    });
  }

  #enter(ticket: Ticket, { isReturning, joinedAtMs }: Bid): void {
    const { queueMax, queueBytes } = this.#options.limits;
    if (isReturning) this.#queue.rejoin(ticket);
    else {
      const limits = joinedAtMs === null ? { requests: queueMax, bytes: queueBytes } : unbounded;
      const { joined, ousted } = this.#queue.join(ticket, limits);
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

  #leave(ticket: Ticket): void {
    this.#queue.leave(ticket);
    this.#options.onLoad(this.#queue.waiting === 0);
  }

  /** Wraps a slot that the queue has taken. */
  #lease(claim: Claim, instanceId: string, nowMs: number): Lease {
    const instance = this.#instances.get(instanceId);
    if (instance === undefined) throw new Error(`instance ${instanceId} was chosen but is not listed`);
    this.#slotChanged(instanceId, 1);
    return new Lease(claim, instance, this, nowMs);
  }

  #pause(instanceId: string, pauseMs: number, nowMs: number): void {
    if (pauseMs === 0) return;
    this.#queue.pause(instanceId, nowMs + pauseMs);
    // Nobody else may come by when the pause ends. One millisecond more: timers may fire early.
    setTimeout(() => this.grant(), pauseMs + 1).unref();
  }

  /** Counts a request for its account and its token, or throws what the client hears; then it counts for neither. */
  #enterLimits({ account, tokenId, tokens }: Claim, nowMs: number, wasLetIn: boolean): void {
    const ofAccount = wasLetIn ? null : this.#accounts.check(account, tokens, nowMs);
    const ofToken = wasLetIn ? null : this.#tokens.check(tokenId, tokens, nowMs);
    const exceeded = ofAccount ?? ofToken;
    if (exceeded !== null) {
      const whose = ofAccount === null ? "This token" : account;
      throw refusals.rateLimited(this.#name, whose, exceeded, exceeded.retryMs ?? this.#rate.serviceMs);
    }
    this.#accounts.enter(account, tokens, nowMs, wasLetIn);
    this.#tokens.enter(tokenId, tokens, nowMs, wasLetIn);
  }

  #leaveLimits({ account, tokenId, tokens }: Claim, used: number | null, countedAtMs: number): void {
    const nowMs = this.#options.now();
    this.#accounts.leave(account, tokens, used, countedAtMs, nowMs);
    this.#tokens.leave(tokenId, tokens, used, countedAtMs, nowMs);
  }

  /** Tells of a taken or freed slot; `edge` is the in-flight count that makes it urgent. */
  #slotChanged(instanceId: string, edge: number): void {
    const isEdge = this.#queue.inFlight(instanceId) === edge;
    this.#faults.occupied(instanceId, this.#queue.inFlight(instanceId) > 0);
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
