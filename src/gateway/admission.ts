/**
 * Lets requests in: hands out the instances' slots in order, makes the others wait, and tells them when waiting has
 * become pointless. core/queue decides who goes where; this room owns the waiting itself (promises, time limits,
 * clients that leave) and the load figures that control scales by. Must not talk to engines or clients.
 */
import { SlotQueue } from "../core/queue.ts";
import type { ModelLoad, RouteInstance, RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";

/** Priority goes before default, default before flex. */
export type Tier = "priority" | "default" | "flex";

/** A request, as far as its place in the line depends on it. */
export type AdmissionAsk = {
  readonly deploymentId: string;
  /** Who is served: the line is fair between accounts, and between an account's tokens. */
  readonly account: string;
  /** A scoped JWT counts as its parent token. */
  readonly tokenId: string;
  readonly tier: Tier;
  /** 429 at once rather than wait for a slot. */
  readonly failFast: boolean;
  /** What goes to the engine: its length is a guess of the work, its beginning says which instance has it cached. */
  readonly body: Buffer;
  /** When the slot is of no use any more, milliseconds since the epoch; null for the gateway's own limit. */
  readonly deadlineMs: number | null;
  /** The request had a slot and was not served: it goes to the head of the line and counts against no limit again. */
  readonly isReturning: boolean;
  /** Instances that failed with it: others are preferred. */
  readonly avoid: readonly string[];
};

export type Lease = {
  readonly instance: RouteInstance;
  /** Prompt and generated tokens it took, by the engine's count: corrects the guess. Call before `release`, once. */
  served(tokens: number): void;
  /** Gives the slot back; calls after the first do nothing. */
  release(): void;
  /** The instance did not take the request: it gets nothing new for `pauseMs`. Call before `release`. */
  pause(pauseMs: number): void;
};

export type AdmissionLimits = {
  /** Longest wait for a model that is starting or at zero, milliseconds. */
  readonly waitMs: number;
  /** Longest wait for a slot of a model that runs, milliseconds. */
  readonly slotWaitMs: number;
  /** Requests that may wait for one deployment. */
  readonly queueMax: number;
};

export type AdmissionOptions = {
  readonly limits: AdmissionLimits;
  now(): number;
  /** Something in `load()` has changed; urgent when control should act on it. */
  onLoad(isUrgent: boolean): void;
};

export type Admission = {
  /**
   * Resolves with a slot of the deployment, after waiting for one where need be. Rejects with the HttpError the client
   * should see, or with the signal's reason when the client left.
   */
  acquire(ask: AdmissionAsk, signal: AbortSignal): Promise<Lease>;
  /** Takes over the newest picture; those who wait for something that will not come hear so now. */
  setModels(models: readonly RouteModel[]): void;
  /** Load by deployment, of all that have or had some. */
  load(): Record<string, ModelLoad>;
};

type Ticket = {
  start(lease: Lease): void;
  fail(error: unknown): void;
};

/** Retry-After where nothing better is known, seconds. */
const fullRetryS = 2;
const wakeRetryS = 10;

export function createAdmission(options: AdmissionOptions): Admission {
  const gates = new Map<string, Gate>();
  return {
    async acquire(ask, signal) {
      const gate = gates.get(ask.deploymentId);
      if (gate === undefined) throw modelGone();
      return gate.acquire(signal, ask.isReturning);
    },
    setModels(models) {
      const listed = new Map(models.map((model) => [model.deploymentId, model]));
      for (const id of listed.keys()) {
        if (!gates.has(id)) gates.set(id, new Gate(options));
      }
      for (const [id, gate] of gates) {
        gate.setModel(listed.get(id) ?? null);
        if (!listed.has(id) && gate.isIdle) gates.delete(id);
      }
    },
    load() {
      const loads = [...gates].map(([id, gate]) => [id, gate.load()] as const);
      return Object.fromEntries(loads.filter((entry): entry is [string, ModelLoad] => entry[1] !== null));
    },
  };
}

/** One deployment's door. */
class Gate {
  readonly #options: AdmissionOptions;
  readonly #queue = new SlotQueue<Ticket>();
  /** Null when the deployment is not in the newest picture. */
  #model: RouteModel | null = null;
  #instances = new Map<string, RouteInstance>();
  #lastRequestAtMs: number | null = null;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#queue.waiting === 0 && this.#queue.running === 0;
  }

  acquire(signal: AbortSignal, isReturning: boolean): Promise<Lease> | Lease {
    const { now, onLoad, limits } = this.#options;
    const nowMs = now();
    const refusal = this.#refusal();
    if (refusal !== null) throw refusal;
    signal.throwIfAborted();
    if (!isReturning) this.#lastRequestAtMs = nowMs;
    const instanceId = this.#queue.take(nowMs);
    if (instanceId !== null) return this.#lease(instanceId);
    if (!isReturning && this.#queue.waiting >= limits.queueMax) {
      onLoad(false);
      throw this.#full();
    }
    return this.#wait(signal, isReturning, nowMs);
  }

  setModel(model: RouteModel | null): void {
    const before = this.#instances;
    this.#model = model;
    this.#instances = new Map(model?.instances.map((instance) => [instance.id, instance]));
    this.#queue.setInstances(model?.instances ?? []);
    const startsDraining = [...this.#instances.values()].some(
      (instance) => instance.isDraining && before.get(instance.id)?.isDraining !== true,
    );
    if (startsDraining) this.#options.onLoad(true);
    const refusal = this.#refusal();
    if (refusal === null) this.#grant();
    else for (const ticket of this.#queue.dismiss()) ticket.fail(refusal);
  }

  /** Null when there is nothing to say about it. */
  load(): ModelLoad | null {
    const ids = this.#queue.busyInstances();
    for (const { id, isDraining } of this.#instances.values())
      if (isDraining && !ids.includes(id)) ids.push(id);
    const [queued, running] = [this.#queue.waiting, this.#queue.running];
    if (ids.length === 0 && queued === 0 && this.#lastRequestAtMs === null) return null;
    const inFlight = Object.fromEntries(ids.map((id) => [id, this.#queue.inFlight(id)]));
    return { queued, running, lastRequestAtMs: this.#lastRequestAtMs, inFlight };
  }

  #wait(signal: AbortSignal, isReturning: boolean, sinceMs: number): Promise<Lease> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout;
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", leave);
      };
      const ticket: Ticket = {
        start: (lease) => {
          settle();
          resolve(lease);
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      const leave = () => {
        this.#leave(ticket);
        ticket.fail(signal.reason);
      };
      const check = () => {
        const leftMs = this.#limitMs() - (this.#options.now() - sinceMs);
        if (leftMs > 0) {
          timer = setTimeout(check, leftMs);
          return;
        }
        this.#leave(ticket);
        ticket.fail(this.#overdue());
      };
      timer = setTimeout(check, this.#options.limits.waitMs);
      signal.addEventListener("abort", leave);
      if (isReturning) this.#queue.rejoin(ticket);
      else this.#queue.join(ticket, this.#options.limits.queueMax);
      this.#options.onLoad(true);
    });
  }

  #leave(ticket: Ticket): void {
    this.#queue.leave(ticket);
    this.#options.onLoad(this.#queue.waiting === 0);
  }

  #grant(): void {
    for (const { ticket, instanceId } of this.#queue.grant(this.#options.now())) {
      ticket.start(this.#lease(instanceId));
    }
  }

  /** Wraps a slot that the queue has taken. */
  #lease(instanceId: string): Lease {
    const instance = this.#instances.get(instanceId);
    if (instance === undefined) throw new Error(`instance ${instanceId} was chosen but is not listed`);
    this.#slotChanged(instanceId, 1);
    let isReleased = false;
    return {
      instance,
      served: () => undefined,
      pause: (pauseMs) => {
        this.#queue.pause(instanceId, this.#options.now() + pauseMs);
        // Nobody else may come by when the pause ends. One millisecond more: timers may fire early.
        setTimeout(() => this.#grant(), pauseMs + 1).unref();
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#queue.release(instanceId);
        this.#slotChanged(instanceId, 0);
        this.#grant();
      },
    };
  }

  /** Tells of a taken or freed slot; `edge` is the in-flight count that makes it urgent. */
  #slotChanged(instanceId: string, edge: number): void {
    const isEdge = this.#queue.inFlight(instanceId) === edge;
    this.#options.onLoad(isEdge || this.#instances.get(instanceId)?.isDraining === true);
  }

  #limitMs(): number {
    const { waitMs, slotWaitMs } = this.#options.limits;
    return this.#model?.state === "ready" ? slotWaitMs : waitMs;
  }

  /** Why no request can be served, whatever it waits for; null when one can. */
  #refusal(): HttpError | null {
    if (this.#model === null || this.#model.state === "gone") return modelGone();
    return this.#model.state === "off" ? new HttpError("model_not_ready", this.#model.reason) : null;
  }

  #full(): HttpError {
    const { limits } = this.#options;
    return new HttpError(
      "queue_full",
      `${this.#model?.name} has ${limits.queueMax} requests waiting already, which is the limit. Try again later.`,
      { retryAfterS: fullRetryS },
    );
  }

  #overdue(): HttpError {
    const { name, state, reason, loadTimeMs } = this.#model ?? {};
    const waitedS = Math.round(this.#limitMs() / 1000);
    if (state === "ready") {
      const text = `${name} is busy: no slot became free within ${waitedS} s. Try again later, or let more instances run.`;
      return new HttpError("timeout", text, { retryAfterS: wakeRetryS });
    }
    const retryAfterS =
      typeof loadTimeMs === "number" ? Math.min(600, Math.max(1, Math.ceil(loadTimeMs / 1000))) : wakeRetryS;
    const text = `${name} did not become ready within ${waitedS} s. ${reason} Try again in a while.`;
    return new HttpError("model_not_ready", text, { retryAfterS });
  }
}

function modelGone(): HttpError {
  return new HttpError("model_not_found", "The model was deleted.", { param: "model" });
}
