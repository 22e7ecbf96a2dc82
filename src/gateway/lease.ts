/**
 * A slot that was given to a request, and whoever keeps count of it: the deployment's line in this process, or one in
 * another. The line may move while the request goes on; the request does not notice.
 */
import type { Claim } from "../core/queue.ts";
import type { PastUse } from "../core/rate-limit.ts";
import type { RouteInstance } from "../core/routing.ts";
import type { LearnedRate } from "../core/service-rate.ts";
import type { CancelSignal } from "./cancel.ts";

/** A request at the door. */
export type Bid = Omit<Claim, "tokens"> & {
  /** As its claim has it: the line guesses, when it is asked. */
  tokens: number;
  readonly failFast: boolean;
  readonly deadlineMs: number | null;
  /** It had a slot and was not served: it goes to the head of the line and counts against no limit again. */
  readonly isReturning: boolean;
  /** Where the line has moved since: when the request joined it, so that it is let in again. Null for a newcomer. */
  readonly joinedAtMs: number | null;
};

/** What a slot was used for. */
export type SlotEnd = {
  /** Prompt and generated tokens by the engine's count; null where nobody counted. */
  readonly used: number | null;
  /** The instance takes nothing new for so long; 0 for no pause. */
  readonly pauseMs: number;
  /** Whether the instance did what was asked; null where neither can be said. */
  readonly verdict: "succeeded" | "failed" | "silent" | null;
};

/** What a line has learned and counted, for the one that takes its place. */
export type LinePast = {
  readonly accounts: readonly PastUse[];
  readonly tokens: readonly PastUse[];
  readonly rate: LearnedRate;
  readonly lastRequestAtMs: number | null;
};

/** The line has moved: ask again where it is now. */
export class Moved extends Error {}

/** The line of one deployment, wherever it is. */
export type SlotKeeper = {
  /** The process that has it; null for this one. */
  readonly at: string | null;
  /** Rejects with the HttpError for the client, the signal's reason, or Moved. */
  acquire(bid: Bid, signal: CancelSignal): Promise<Lease> | Lease;
  /** From now on it counts a slot that is taken already. */
  hold(lease: Lease): void;
  release(lease: Lease, end: SlotEnd): void;
  /** It takes the place of a line that has ended in peace. */
  adopt(past: LinePast): void;
  /** True when one more try is within the deployment's retry budget; it is taken from it. */
  mayRetry(): boolean | Promise<boolean>;
  /** It is the line no more: who waits hears Moved, and what it counts is counted elsewhere. */
  close(): void;
};

export class Lease {
  readonly claim: Claim;
  readonly instance: RouteInstance;
  readonly startedAtMs: number;
  /** Whose slot it is now. */
  keeper: SlotKeeper;
  /** When it was counted by its keeper. */
  countedAtMs: number;
  /** The number by which two processes speak of it. */
  key = 0;
  #holders: Set<Lease> | null = null;
  #used: number | null = null;
  #pauseMs = 0;
  #verdict: SlotEnd["verdict"] = null;
  #isReleased = false;

  constructor(claim: Claim, instance: RouteInstance, keeper: SlotKeeper, startedAtMs: number) {
    this.claim = claim;
    this.instance = instance;
    this.keeper = keeper;
    this.startedAtMs = startedAtMs;
    this.countedAtMs = startedAtMs;
  }

  /** It is in this set until it is released. */
  heldIn(holders: Set<Lease>): void {
    holders.add(this);
    this.#holders = holders;
  }

  /** Prompt and generated tokens it took, by the engine's count: corrects the guess. */
  served(tokens: number): void {
    this.#used = tokens;
  }

  /** The instance gets nothing new for so long. */
  pause(pauseMs: number): void {
    this.#used ??= 0;
    this.#pauseMs = pauseMs;
  }

  /** The instance did what was asked. */
  succeeded(): void {
    this.#verdict = "succeeded";
  }

  /** The instance failed with the request: for how long it is left alone depends on what else failed there. */
  failed(isSilent: boolean): void {
    this.#used ??= 0;
    this.#verdict = isSilent ? "silent" : "failed";
  }

  /** As another process has told it. */
  ended({ used, pauseMs, verdict }: SlotEnd): void {
    this.#used = used;
    this.#pauseMs = pauseMs;
    this.#verdict = verdict;
  }

  /** Gives the slot back; calls after the first do nothing. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#holders?.delete(this);
    this.keeper.release(this, { used: this.#used, pauseMs: this.#pauseMs, verdict: this.#verdict });
  }
}
