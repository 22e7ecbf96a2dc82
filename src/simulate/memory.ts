/** What control of a simulated world knows while it runs, and loses with a crash. */
import type { Failure } from "../core/failure.ts";
import { Holdings } from "../core/holdings.ts";
import { LoadBoard } from "../core/load-board.ts";
import type { WorkHistory } from "../core/scale-history.ts";
import type { Claim } from "../core/scale-share.ts";

export class Memory {
  readonly loads = new LoadBoard();
  readonly holdings = new Holdings();
  readonly histories = new Map<string, WorkHistory>();
  readonly claims = new Map<string, Claim>();
  readonly waiting = new Set<string>();
  /** Deployments that are looked at in a moment. */
  readonly poked = new Set<string>();
  /** Deployments that are being looked at; true where another look has been asked for meanwhile. */
  readonly busy = new Map<string, boolean>();
  readonly failedLooks = new Map<string, number>();
  readonly jobs = new Map<string, "resolve" | "fetch">();
  readonly removing = new Set<string>();
  readonly warming = new Set<string>();
  readonly answeredAtMs = new Map<string, number>();
  readonly warmFailures = new Map<string, Failure>();
  readonly timers = new Map<string, number>();
  readonly watchingSinceMs: number;
  gatewaySeenAtMs: number;
  /** Control has crashed since: what was under way for it leads to nothing any more. */
  isLost = false;

  constructor(nowMs: number) {
    this.watchingSinceMs = nowMs;
    this.gatewaySeenAtMs = nowMs;
  }
}
