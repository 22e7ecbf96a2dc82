/**
 * What control remembers, as a port: accounts, tokens, deployments, instances, events, notes. Passed by SQLite and
 * PostgreSQL through one contract (`store/contract.ts`). Statuses are no part of it: they are computed.
 */
import type { Account, ApiToken } from "../core/account.ts";
import type { Deployment } from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import type { InstanceRecord } from "../core/instance.ts";
import type { AccessStore } from "./access-store.ts";
import type { UsageStore } from "./usage-store.ts";

/** What control remembers. Every write is durable when its promise resolves. */
export interface Store {
  addAccount(account: Account): Promise<"added" | "taken">;
  account(name: string): Promise<Account | null>;
  accounts(): Promise<Account[]>;

  /** `sealed` is the sealed secret (scoped JWTs are verified with it). Token names are unique within an account. */
  addToken(token: ApiToken, sealed: string): Promise<"added" | "name-taken">;
  tokenByHash(hash: string): Promise<ApiToken | null>;
  /** All of one account, or of every account; oldest first. */
  tokens(account?: string): Promise<ApiToken[]>;
  /** The sealed secret, null when there is no such token. */
  sealedToken(tokenId: string): Promise<string | null>;
  /** Addresses and CIDR ranges the token may be used from, null for all. False when the account has no such token. */
  limitToken(
    account: string,
    tokenId: string,
    limits: Partial<Pick<ApiToken, "allowedIps" | "rates">>,
  ): Promise<boolean>;
  /** True when a token of this account was removed. */
  removeToken(account: string, tokenId: string): Promise<boolean>;

  /** The name is unique among deployments that are not deleted, ignoring case. */
  addDeployment(deployment: Deployment, sealedHfToken: string | null): Promise<"added" | "name-taken">;
  deployment(id: string): Promise<Deployment | null>;
  /** Of one account or of all, newest first; deleted ones only when asked for. */
  deployments(query: { account?: string; includeDeleted: boolean }): Promise<readonly Deployment[]>;
  /**
   * Reads, lets `change` decide (pure; may run again after a conflict), writes atomically. `null` from `change` writes
   * nothing. Returns what is stored afterwards, or null when there is no such deployment.
   */
  changeDeployment(
    id: string,
    change: (current: Deployment) => Deployment | null,
  ): Promise<Deployment | null>;
  /** The sealed Hugging Face token, null when none was given; wiped when the deployment is deleted. */
  sealedHfToken(id: string): Promise<string | null>;

  putInstance(record: InstanceRecord): Promise<void>;
  instances(deploymentId?: string): Promise<InstanceRecord[]>;
  removeInstance(id: string): Promise<void>;

  /** Keeps at most a bounded number of events per deployment, the newest. */
  addEvent(event: DeploymentEvent): Promise<void>;
  /** Oldest first, at most `limit`, the newest ones. */
  events(deploymentId: string, limit: number): Promise<DeploymentEvent[]>;

  /** Small named values of the installation, for example "starter deployed". */
  note(key: string): Promise<string | null>;
  putNote(key: string, value: string): Promise<void>;

  /** What requests and instances used. */
  readonly usage: UsageStore;

  /** What accounts may use, what they ask for, and who changed what. */
  readonly access: AccessStore;

  close(): Promise<void>;
}
