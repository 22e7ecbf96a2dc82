/**
 * The store's part on usage: records of requests, their sums, and how long instances ran.
 */
import type { InstanceRun } from "../core/rent.ts";
import type { UsageKind, UsageRecord } from "../core/usage.ts";
import type { UsageTotals } from "../core/usage-totals.ts";

/** From `fromMs` on, before `toMs`. */
export type TimeWindow = { readonly fromMs: number; readonly toMs: number };

/** Sums of the requests of one account, at one deployment, of one kind. */
export type UsageSum = {
  readonly deploymentId: string;
  readonly kind: UsageKind;
} & Pick<UsageTotals, "requests" | "errors" | "inputTokens" | "outputTokens" | "costNanoUsd">;

/**
 * What requests and instances used. Single records are kept for a while, sums by the hour for longer: a window is exact
 * as long as the records of its first and last hour are kept, and to the hour after that.
 */
export interface UsageStore {
  /** Stores records with all sums they belong to, in one transaction. Returns those that were not there before. */
  add(records: readonly UsageRecord[]): Promise<readonly UsageRecord[]>;
  /** What a deployment's requests come to, by kind; a kind that is absent had none. */
  totals(deploymentId: string, window: TimeWindow): Promise<ReadonlyMap<UsageKind, UsageTotals>>;
  /** Of the given deployments' requests, or of one account's at any. Without the times. */
  sums(
    of:
      | { readonly deploymentIds: readonly string[] }
      | { readonly account: string; readonly tokenId?: string },
    window: TimeWindow,
  ): Promise<UsageSum[]>;
  /** When the account's first request came or its first instance ran, null when none did. */
  firstUseMs(account: string): Promise<number | null>;
  /** Billionths of a US dollar by request id, of those that are this account's and still kept. */
  costs(account: string, requestIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Billionths of a US dollar that each scoped JWT has spent; one that is absent has spent nothing. */
  spentByScope(scopeIds: readonly string[]): Promise<Map<string, number>>;

  /** Runs that have not ended. */
  openRuns(): Promise<InstanceRun[]>;
  putRuns(runs: readonly InstanceRun[]): Promise<void>;
  /** Runs of the account's instances in the window, oldest first. */
  runs(account: string, window: TimeWindow): Promise<InstanceRun[]>;

  /** Forgets what is older or more than this; works in small steps, at most `maxSteps`. True when nothing is left to do. */
  prune(keep: {
    readonly recordsSinceMs: number;
    readonly maxRecords: number;
    readonly sumsSinceMs: number;
    readonly maxSteps: number;
  }): Promise<boolean>;
}
