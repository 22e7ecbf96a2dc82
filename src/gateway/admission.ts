/**
 * Lets requests in: each deployment has a door (gate.ts) with a line before its instances' slots. Owns which doors there
 * are, what a request's place depends on, and the load figures that control scales by. Must not talk to engines or
 * clients.
 */
import { prefixKeys } from "../core/affinity.ts";
import type { Claim, Tier } from "../core/queue.ts";
import type { ModelLoad, RouteInstance, RouteModel } from "../core/routing.ts";
import type { CancelSignal } from "./cancel.ts";
import { type Bid, Gate, type HeldSlot, type RouteLimits, type SlotOwner } from "./gate.ts";
import { modelGone } from "./refusals.ts";

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
  readonly claim: Claim;
  /** Prompt and generated tokens it took, by the engine's count: corrects the guess. Call before `release`. */
  served(tokens: number): void;
  /** Gives the slot back; calls after the first do nothing. */
  release(): void;
  /** The instance failed with the request: it gets nothing new for `pauseMs`. Call before `release`. */
  pause(pauseMs: number): void;
};

export type AdmissionLimits = {
  /** Longest wait for a model that is starting or at zero, milliseconds. */
  readonly waitMs: number;
  /** Longest wait for a slot of a model that runs, milliseconds. */
  readonly slotWaitMs: number;
  /** Requests that may wait for one deployment. */
  readonly queueMax: number;
  /** Bytes of the requests that may wait for one deployment. */
  readonly queueBytes: number;
};

export type AdmissionOptions = {
  readonly limits: AdmissionLimits;
  now(): number;
  /** Something in `load()` has changed; urgent when control should act on it. */
  onLoad(isUrgent: boolean): void;
};

export type Admission = {
  /**
   * A slot of the deployment, at once where one is free, else after waiting for it. Throws or rejects with the HttpError
   * the client should see, or with the signal's reason when the client left.
   */
  acquire(ask: AdmissionAsk, signal: CancelSignal): Lease | Promise<Lease>;
  /** Takes over the newest picture; those who wait for something that will not come hear so now. */
  setModels(models: readonly RouteModel[], limits: RouteLimits): void;
  /** For a gateway that hands its slots over to this one (handover.ts): as `acquire`, and for what it has in flight. */
  acquireFor(deploymentId: string, bid: Bid, signal: CancelSignal): Promise<Lease>;
  holdFor(deploymentId: string, claim: Claim, instanceId: string): HeldSlot;
  /** From now on `owner` decides who goes where; null gives that back to this gateway. */
  setOwner(owner: SlotOwner | null): void;
  /** Load by deployment, of all that have or had some. */
  load(): Record<string, ModelLoad>;
};

/** Bytes of English text a token stands for, about. */
const bytesPerToken = 4;
/** Tokens that a prompt is charged at most before the engine has counted: images are bytes, not text. */
const maxPromptGuess = 32_768;

function bidOf(ask: AdmissionAsk): Bid {
  const { account, tokenId, tier, failFast, body, deadlineMs, isReturning, avoid } = ask;
  return {
    ...{ account, tokenId, tier, failFast, deadlineMs, isReturning, avoid },
    bytes: body.length,
    promptTokens: Math.min(maxPromptGuess, Math.ceil(body.length / bytesPerToken)),
    prefix: prefixKeys(account, promptIn(body)),
  };
}

/** From where the prompt begins, about: what stands before it (the model, a temperature) is not part of what is cached. */
function promptIn(body: Buffer): Buffer {
  for (const key of ['"messages"', '"prompt"', '"input"']) {
    const at = body.indexOf(key);
    if (at !== -1) return body.subarray(at);
  }
  return body;
}

export function createAdmission(options: AdmissionOptions): Admission {
  const gates = new Map<string, Gate>();
  let owner: SlotOwner | null = null;

  function open(id: string): Gate {
    const gate = new Gate(id, options);
    if (owner !== null) gate.setOwner(owner);
    gates.set(id, gate);
    return gate;
  }

  return {
    acquire(ask, signal) {
      const gate = gates.get(ask.deploymentId);
      if (gate === undefined) throw modelGone();
      return gate.acquire(bidOf(ask), signal);
    },
    async acquireFor(deploymentId, bid, signal) {
      const gate = gates.get(deploymentId);
      if (gate === undefined) throw modelGone();
      return gate.acquire(bid, signal);
    },
    // Routes that name it may still be on their way.
    holdFor: (deploymentId, claim, instanceId) =>
      (gates.get(deploymentId) ?? open(deploymentId)).hold(claim, instanceId),
    setOwner(next) {
      owner = next;
      for (const gate of gates.values()) gate.setOwner(next);
    },
    setModels(models, limits) {
      const listed = new Map(models.map((model) => [model.deploymentId, model]));
      for (const id of listed.keys()) {
        if (!gates.has(id)) open(id);
      }
      for (const [id, gate] of gates) {
        gate.setModel(listed.get(id) ?? null, limits);
        if (!listed.has(id) && gate.isIdle) gates.delete(id);
      }
    },
    load() {
      const loads = [...gates].map(([id, gate]) => [id, gate.load()] as const);
      return Object.fromEntries(loads.filter((entry): entry is [string, ModelLoad] => entry[1] !== null));
    },
  };
}
