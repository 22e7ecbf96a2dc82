/**
 * This process's side towards one other that has lines of its requests: asks it for slots, tells it what is held, gives
 * back. All it has told can be told again, since the connection may break while both go on. Must not know sockets.
 */
import type { Claim } from "../core/queue.ts";
import { HttpError } from "../schema/errors.ts";
import type { LeaseAnswer, LeaseQuestion } from "../schema/leases.ts";
import type { CancelSignal } from "./cancel.ts";
import { type Bid, Lease, type LinePast, Moved, type SlotEnd, type SlotKeeper } from "./lease.ts";

type Asking = {
  readonly deploymentId: string;
  readonly bid: Bid;
  grant(lease: Lease): void;
  fail(error: unknown): void;
};

type Held = { readonly deploymentId: string; readonly lease: Lease };

type Retry = { readonly deploymentId: string; answer(isYes: boolean): void };

export type LesseeOptions = {
  /** The other process. */
  readonly owner: string;
  now(): number;
  /** Version of the routes that this process goes by. */
  routes(): number;
  /** What is sent is heard; else all is told once it is. */
  isConnected(): boolean;
  send(question: LeaseQuestion): void;
};

export class Lessee {
  readonly #options: LesseeOptions;
  readonly #asking = new Map<number, Asking>();
  readonly #held = new Map<number, Held>();
  readonly #retries = new Map<number, Retry>();
  /** Of lines that were here, until it has been told: once, since it adds up there. */
  readonly #pasts = new Map<string, LinePast>();
  #keys = 0;

  constructor(options: LesseeOptions) {
    this.#options = options;
  }

  /** The deployment's line there. */
  lineOf(deploymentId: string): SlotKeeper {
    return {
      at: this.#options.owner,
      acquire: (bid, signal) => this.#ask(deploymentId, bid, signal),
      hold: (lease) => this.#hold(deploymentId, lease),
      release: (lease, end) => this.#release(lease, end),
      adopt: (past) => this.#adopt(deploymentId, past),
      mayRetry: () => this.#mayRetry(deploymentId),
      close: () => this.#close(deploymentId),
    };
  }

  /** The other side knows nothing, or nothing any more. Those who wait keep their order. */
  tellAll(): void {
    for (const [deploymentId, past] of this.#pasts)
      this.#options.send({ type: "past", deploymentId, ...past });
    this.#pasts.clear();
    for (const [key, { deploymentId, lease }] of this.#held) this.#sayHold(key, deploymentId, lease);
    for (const [key, { deploymentId, bid }] of this.#asking) this.#sayAsk(key, deploymentId, bid);
    for (const [key, { deploymentId }] of this.#retries)
      this.#options.send({ type: "retry", key, deploymentId });
  }

  /** What it does not wait for any more is no answer. */
  hear(answer: LeaseAnswer): void {
    const asking = this.#asking.get(answer.key);
    switch (answer.type) {
      case "grant": {
        if (asking === undefined) return;
        const { deploymentId, bid } = asking;
        const claim = { ...bid, tokens: answer.tokens };
        const lease = new Lease(claim, answer.instance, this.lineOf(deploymentId), this.#options.now());
        lease.key = answer.key;
        this.#held.set(answer.key, { deploymentId, lease });
        asking.grant(lease);
        return;
      }
      case "refuse": {
        const { code, message, retryAfterS, param } = answer;
        asking?.fail(
          new HttpError(code, message, {
            ...(retryAfterS !== null && { retryAfterS }),
            ...(param !== null && { param }),
          }),
        );
        return;
      }
      case "may":
        this.#retries.get(answer.key)?.answer(answer.isYes);
    }
  }

  /** The other process has ended: whoever waits there is where the lines are now. */
  end(): void {
    for (const { fail } of [...this.#asking.values()]) fail(new Moved("the process with the line has ended"));
    for (const { answer } of [...this.#retries.values()]) answer(false);
    this.#held.clear();
  }

  #ask(deploymentId: string, bid: Bid, signal: CancelSignal): Promise<Lease> {
    signal.throwIfAborted();
    const key = this.#nextKey();
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#asking.delete(key);
        signal.removeEventListener("abort", leave);
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const leave = () => {
        this.#options.send({ type: "leave", key });
        fail(signal.reason);
      };
      const grant = (lease: Lease) => {
        settle();
        resolve(lease);
      };
      signal.addEventListener("abort", leave);
      this.#asking.set(key, { deploymentId, bid, grant, fail });
      this.#sayAsk(key, deploymentId, bid);
    });
  }

  #hold(deploymentId: string, lease: Lease): void {
    const key = this.#nextKey();
    lease.key = key;
    lease.keeper = this.lineOf(deploymentId);
    this.#held.set(key, { deploymentId, lease });
    this.#sayHold(key, deploymentId, lease);
  }

  #release({ key }: Lease, end: SlotEnd): void {
    if (this.#held.delete(key)) this.#options.send({ type: "release", key, ...end });
  }

  #adopt(deploymentId: string, past: LinePast): void {
    if (this.#options.isConnected()) this.#options.send({ type: "past", deploymentId, ...past });
    else this.#pasts.set(deploymentId, past);
  }

  #mayRetry(deploymentId: string): Promise<boolean> {
    const key = this.#nextKey();
    return new Promise((resolve) => {
      const answer = (isYes: boolean) => {
        this.#retries.delete(key);
        resolve(isYes);
      };
      this.#retries.set(key, { deploymentId, answer });
      this.#options.send({ type: "retry", key, deploymentId });
    });
  }

  /** The deployment's line is elsewhere now. */
  #close(deploymentId: string): void {
    for (const [key, asking] of [...this.#asking]) {
      if (asking.deploymentId !== deploymentId) continue;
      // It may be on its way back to that process, which must then not find it waiting there still.
      this.#options.send({ type: "leave", key });
      asking.fail(new Moved("the line has moved"));
    }
    for (const [key, held] of this.#held) if (held.deploymentId === deploymentId) this.#held.delete(key);
    this.#pasts.delete(deploymentId);
    for (const retry of [...this.#retries.values()])
      if (retry.deploymentId === deploymentId) retry.answer(false);
  }

  #sayAsk(key: number, deploymentId: string, bid: Bid): void {
    this.#options.send({ type: "ask", key, deploymentId, bid, routes: this.#options.routes() });
  }

  #sayHold(key: number, deploymentId: string, { claim, instance, startedAtMs }: Lease): void {
    this.#options.send({ type: "hold", key, deploymentId, instance, claim: claimOf(claim), startedAtMs });
  }

  #nextKey(): number {
    this.#keys += 1;
    return this.#keys;
  }
}

/** A claim may be part of more, which is nobody else's. */
function claimOf({ account, tokenId, tier, tokens, promptTokens, bytes, prefix, avoid }: Claim): Claim {
  return { account, tokenId, tier, tokens, promptTokens, bytes, prefix, avoid };
}
