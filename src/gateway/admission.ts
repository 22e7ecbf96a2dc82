/**
 * Lets requests in: each deployment has a door (gate.ts) that leads to its line (line.ts), here or in another process of
 * the gateway. Owns which doors there are, what a request's place depends on, and the load figures that control scales by.
 * Must not talk to engines or clients.
 */
import { prefixKeys } from "../core/affinity.ts";
import type { Tier } from "../core/queue.ts";
import type { ModelLoad, RouteModel } from "../core/routing.ts";
import type { CancelSignal } from "./cancel.ts";
import { Gate } from "./gate.ts";
import type { Bid, Lease, SlotKeeper } from "./lease.ts";
import type { Line, RouteLimits } from "./line.ts";
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

export type AdmissionLimits = {
  /** Longest wait for a model that is starting or at zero, milliseconds. */
  readonly waitMs: number;
  /** Longest wait for a slot of a model that runs, milliseconds. */
  readonly slotWaitMs: number;
  /** How long an instance may have requests and serve none before control is told, milliseconds. */
  readonly quietMs: number;
  /** Requests that may wait for one deployment. */
  readonly queueMax: number;
  /** Bytes of the requests that may wait for one deployment. */
  readonly queueBytes: number;
};

export type AdmissionOptions = {
  readonly limits: AdmissionLimits;
  /** There may be other processes: nothing is given out before they have been heard (`settle`). */
  readonly isShared?: boolean;
  now(): number;
  /** How long this process has stood still so far: waiting does not count meanwhile. */
  stoodStillMs?(): number;
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
  /** True when the deployment's retry budget has one more try; it is taken from it. */
  mayRetry(deploymentId: string): boolean | Promise<boolean>;
  /** The deployment's line, null when it is in another process. */
  lineOf(deploymentId: string): Line | null;
  /** From now on each line is where this says: null for here. Requests go along. */
  moveLines(find: (deploymentId: string) => SlotKeeper | null): void;
  /** All that other processes hold of the lines here has been told. */
  settle(): void;
  /** Load by deployment, of all that have or had some. */
  load(): Record<string, ModelLoad>;
};

/** Bytes of English text a token stands for, about. */
const bytesPerToken = 4;
/** Tokens that a prompt is charged at most before the engine has counted: images are bytes, not text. */
const maxPromptGuess = 32_768;

function bidOf(ask: AdmissionAsk): Bid {
  const { account, body } = ask;
  return {
    account,
    tokenId: ask.tokenId,
    tier: ask.tier,
    failFast: ask.failFast,
    deadlineMs: ask.deadlineMs,
    isReturning: ask.isReturning,
    avoid: ask.avoid,
    joinedAtMs: null,
    bytes: body.length,
    tokens: 0,
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
  /** Of deployments that have instances, are starting or were asked for: of thousands most have neither, and a line takes some 6 kB. */
  const gates = new Map<string, Gate>();
  let models: ReadonlyMap<string, RouteModel> = new Map();
  let routeLimits: RouteLimits = { accounts: [], limitedTokens: [] };
  let isSettled = options.isShared !== true;
  let findLine: (deploymentId: string) => SlotKeeper | null = () => null;

  /** Another process may know of a deployment before this one does. */
  function gateOf(id: string): Gate {
    let gate = gates.get(id);
    if (gate === undefined) {
      gate = new Gate(options, findLine(id), isSettled);
      gates.set(id, gate);
      const model = models.get(id);
      if (model !== undefined) gate.setModel(model, routeLimits);
    }
    return gate;
  }

  return {
    acquire(ask, signal) {
      const { deploymentId } = ask;
      if (!models.has(deploymentId) && !gates.has(deploymentId)) throw modelGone();
      return gateOf(deploymentId).acquire(bidOf(ask), signal);
    },
    mayRetry: (deploymentId) => gates.get(deploymentId)?.mayRetry() ?? false,
    lineOf: (deploymentId) => gateOf(deploymentId).line,
    moveLines(find) {
      findLine = find;
      isSettled = false;
      for (const [id, gate] of gates) gate.moveTo(find(id));
    },
    settle() {
      isSettled = true;
      for (const gate of gates.values()) gate.line?.open();
    },
    setModels(listed, limits) {
      models = new Map(listed.map((model) => [model.deploymentId, model]));
      routeLimits = limits;
      for (const [id, gate] of gates) {
        const model = models.get(id) ?? null;
        gate.setModel(model, limits);
        if (model === null && gate.isIdle) gates.delete(id);
      }
      // A line must know what drains, and since when a model has been starting.
      for (const { deploymentId, instances, state } of listed)
        if (instances.length > 0 || state === "starting") gateOf(deploymentId);
    },
    load() {
      const loads = [...gates].map(([id, gate]) => [id, gate.load()] as const);
      return Object.fromEntries(loads.filter((entry): entry is [string, ModelLoad] => entry[1] !== null));
    },
  };
}
