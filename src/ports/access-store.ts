/**
 * The store's part on access: limits of accounts, what they ask for, who changed what, spending of scoped JWTs.
 */
import type { AccountTerms, LimitRequest } from "../core/account.ts";
import type { AuditEntry, AuditQuery, StoredAuditEntry } from "../core/audit.ts";

/** A scoped JWT with a spending limit that was used. */
export type LimitedScope = {
  readonly scopeId: string;
  readonly account: string;
  readonly tokenId: string;
  /** Billionths of a US dollar. */
  readonly limitNanoUsd: number;
  readonly expiresAtMs: number;
};

/** What accounts may use, what they ask for, and who changed what. */
export interface AccessStore {
  /** The defaults where nothing was set. */
  terms(account: string): Promise<AccountTerms>;
  /** Of the accounts for which something was set. */
  allTerms(): Promise<ReadonlyMap<string, AccountTerms>>;
  /** Reads, lets `change` decide (pure; may run again after a conflict), writes atomically. Returns what is stored. */
  changeTerms(account: string, change: (current: AccountTerms) => AccountTerms): Promise<AccountTerms>;

  /** An account has at most one pending request of a kind. Decided ones are kept in a bounded number. */
  addLimitRequest(request: LimitRequest): Promise<"added" | "pending-already">;
  /** Newest first, at most `limit`. */
  limitRequests(query: {
    account?: string;
    state?: LimitRequest["state"];
    limit: number;
  }): Promise<LimitRequest[]>;
  limitRequest(id: string): Promise<LimitRequest | null>;
  /** Writes over the request of that id while it is pending; else false. */
  changeLimitRequest(request: LimitRequest): Promise<boolean>;

  /** Keeps about `keep.max` entries, none older than `keep.sinceMs`. */
  addAudit(entry: AuditEntry, keep: { readonly max: number; readonly sinceMs: number }): Promise<void>;
  /** Newest first. */
  audit(query: AuditQuery): Promise<StoredAuditEntry[]>;

  /** Once for each scope. Forgets those that have expired; "too-many" when the account has `max` others. */
  rememberScope(scope: LimitedScope, nowMs: number, max: number): Promise<"kept" | "too-many">;
  /** Ids of those that have spent their limit, by the stored usage, and have not expired. */
  spentScopes(nowMs: number): Promise<string[]>;
}
