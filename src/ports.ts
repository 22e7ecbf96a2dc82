/**
 * The outside of Berth as interfaces: what the store, the hub, engines, drivers and the clock promise, so that the
 * deciding rooms never import an adapter. Each implementation passes one contract test suite. Expected outcomes are
 * returned, unexpected ones thrown.
 */
import type { Abilities } from "./core/abilities.ts";
import type { Account, AccountTerms, ApiToken, LimitRequest } from "./core/account.ts";
import type { AuditEntry, AuditQuery, StoredAuditEntry } from "./core/audit.ts";
import type { Deployment, EngineArgs, RepoFile, ResolvedWeights, Weights } from "./core/deployment.ts";
import type { DeploymentEvent, DownloadProgress } from "./core/event.ts";
import type { Failure } from "./core/failure.ts";
import type { EngineMemory } from "./core/fit.ts";
import type { MeasuredMemory } from "./core/fit-measured.ts";
import type { Endpoint, InstanceRecord, NodeCapacity, ObservedInstance, Placement } from "./core/instance.ts";
import type { Isolation } from "./core/isolation.ts";
import type { ModelFacts } from "./core/model-facts.ts";
import type { InstanceRun } from "./core/rent.ts";
import type { UsageKind, UsageRecord } from "./core/usage.ts";
import type { UsageTotals } from "./core/usage-totals.ts";

/** Time, passed in so that tests own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Seals secrets for the store (AES-256-GCM). The key never is in the database. */
export interface Vault {
  /** `purpose` is bound to the sealed text: opening it for another purpose throws. */
  seal(plain: string, purpose: string): string;
  /** Throws when the text was altered, was sealed for another purpose or with a key that is not here. */
  open(sealed: string, purpose: string): string;
}

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
  deployments(query: { account?: string; includeDeleted: boolean }): Promise<Deployment[]>;
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

export type RepoListing = {
  /** `owner/name`, for sentences. */
  readonly repo: string;
  readonly commit: string;
  readonly files: readonly RepoFile[];
};

/** Picks the files of a repository that are needed, or says why there are none. */
export type ChooseFiles = (
  listing: RepoListing,
  quantization: string | null,
) => HubOutcome<{ readonly files: readonly RepoFile[]; readonly entryFile: string }>;

export type HubOutcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

/** Weights: resolving, downloading, verifying, caching. Repository names and revisions are checked by the hub itself. */
export interface Hub {
  /** Resolves the revision to a commit and lists that commit's files. `weights.repo` may end in `:QUANTIZATION`. */
  list(weights: Weights, token: string | null, signal: AbortSignal): Promise<HubOutcome<RepoListing>>;
  /**
   * Brings `files` of the commit into the cache, each verified before it gets its name. Files that are there already
   * are not fetched again. Several calls for the same files share one download.
   */
  fetch(
    repo: string,
    commit: string,
    files: readonly RepoFile[],
    token: string | null,
    onProgress: (progress: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<HubOutcome<null>>;
  /**
   * What the model is, from its configuration and the headers of its weight files: a few megabytes are read, nothing is
   * stored. Looks at the files that an engine chose (`files`) of a listing that was just got with this token; without
   * `files`, at what would be chosen, and without `listed`, the repository is listed first.
   */
  inspect(
    weights: Weights,
    token: string | null,
    signal: AbortSignal,
    listed?: { readonly listing: RepoListing; readonly files?: readonly RepoFile[] },
  ): Promise<HubOutcome<ModelFacts>>;
  /** Null while what was fetched is still what it was, else why no instance may start from it. */
  changed(repo: string, weights: Pick<ResolvedWeights, "commit" | "files">): Promise<Failure | null>;
  /** Folder that holds the commit's files under their repository paths; exists after `fetch`. */
  snapshotPath(repo: string, commit: string): string;
}

/** One repository in the cache. */
export type CachedRepo = {
  /** `owner/name` */
  readonly repo: string;
  readonly files: number;
  readonly bytes: number;
  /** Of these, what Berth wrote; the rest came from other programs that share the cache. */
  readonly ownBytes: number;
  readonly commits: readonly { readonly commit: string; readonly refs: readonly string[] }[];
  /** Milliseconds since the epoch. */
  readonly usedAtMs: number;
  /** True when a deployment needs something of it. */
  readonly isNeeded: boolean;
};

export type Damage = {
  readonly repo: string;
  readonly paths: readonly string[];
  readonly isRemoved: boolean;
};

/** The weights that are on this machine, for who looks after it. */
export interface HubCache {
  repos(): Promise<readonly CachedRepo[]>;
  /** Removes what Berth wrote of a repository; what other programs wrote stays. `needed`: a deployment needs it. */
  remove(
    repo: string,
  ): Promise<
    { outcome: "removed"; bytes: number; keptBytes: number } | { outcome: "absent" } | { outcome: "needed" }
  >;
  /** Removes what no deployment needs, least recently used first, until at most `keepBytes` are left. */
  collect(keepBytes: number): Promise<{ removedBytes: number; removedFiles: number; keptBytes: number }>;
  /**
   * Reads every file of a repository, or of all, and says which are not what their names say. `repair` removes those, so
   * that they are fetched again.
   */
  verify(
    repo: string | null,
    repair: boolean,
    onBytes: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<{ files: number; bytes: number; damaged: readonly Damage[] }>;
}

/** Work on the cache that takes its time: it goes on whoever asked for it, and can be asked after. */
export type HubJob = {
  readonly id: string;
  readonly kind: "pull" | "verify";
  /** `owner/name`, or null for everything. */
  readonly repo: string | null;
  readonly state: "running" | "done" | "failed" | "cancelled";
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerS: number;
  /** What came of it, in a sentence or two; "" while it runs. */
  readonly result: string;
  readonly damaged: readonly Damage[];
};

export interface HubJobs {
  /** `too-many`: as many as may run do. */
  pull(weights: Weights, token: string | null): HubJob | "too-many";
  verify(repo: string | null, repair: boolean): HubJob | "too-many";
  job(id: string): HubJob | null;
  /** Null when there is no such job. One that has ended stays as it is. */
  cancel(id: string): HubJob | null;
}

export type MirrorQuestion = {
  readonly method: "GET" | "HEAD";
  /** Path and query below the mirror's own address, as they came, beginning with "/". */
  readonly target: string;
  readonly range: string | null;
  readonly account: string;
  /** Address of the mirror as the asker knows it, without a slash at its end; for links to further pages. */
  readonly baseUrl: string;
};

export type MirrorAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Fails when what it gave turns out to be wrong: the asker must not take it for whole then. Null for none. */
  readonly body: AsyncIterable<Uint8Array> | string | null;
};

/** Serves repositories in the Hugging Face protocol, each asker with the read rights of its account. */
export interface Mirror {
  answer(question: MirrorQuestion, signal: AbortSignal): Promise<MirrorAnswer>;
}

/** What an engine reports of itself when asked. */
export type EngineHealth =
  | { readonly state: "loading"; readonly progress: number | null }
  | {
      readonly state: "ready";
      readonly slots: number;
      readonly contextTokens: number;
      readonly note: string | null;
    }
  | { readonly state: "silent" };

export type LaunchSpec = {
  readonly instanceId: string;
  /** Folder of the snapshot and the file in it that the engine is pointed at. */
  readonly snapshotPath: string;
  readonly entryFile: string;
  /** Every name the engine answers to in `model`. */
  readonly servedNames: readonly string[];
  readonly maxBatchSize: number;
  /**
   * Tokens that one request can have by the estimate, where none were asked for and the model's whole context does not fit:
   * an engine that starts with the whole or not at all is started with these. Absent: the engine's own choice.
   */
  readonly fittingContextTokens?: number;
  /** The model's own context; absent where its files do not say. */
  readonly modelContextTokens?: number;
  /** True: what it takes of memory is not known yet, so it should say so when it has loaded. */
  readonly isUnmeasured?: boolean;
  /** What is served and for whom, for what engines keep or are allowed by it. */
  readonly weights?: { readonly repo: string; readonly commit: string; readonly account: string };
  readonly engineArgs: EngineArgs;
  readonly endpoint: Endpoint;
  readonly secret: string;
  readonly placement: Placement;
};

/** A process to start. Nothing in `args` or `env` is secret; secrets go into `files`, which are written mode 0600. */
export type Launch = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Written into the instance's own folder before the start; `args` and `env` may name them as `{dir}/<name>`. */
  readonly files: readonly { readonly name: string; readonly content: string }[];
  /** Absolute folders of the engine's programs beyond the system's and Berth's; an isolated engine reads no others. */
  readonly reads?: readonly string[];
  /** Absolute folders it may write besides its own, made where they are not: caches that outlive the instance. */
  readonly writes?: readonly string[];
  /** True: it needs the machine's network; an isolated engine has none otherwise. */
  readonly needsNetwork?: boolean;
};

/**
 * How a model becomes a server. One file an engine; all but `probe` and `warmUp` is pure. Each passes the contract in
 * `test/engines`.
 */
export interface Engine {
  readonly name: string;
  /** Hardware it can use here. */
  readonly runsOn: "cpu" | "gpu";
  readonly abilities: Abilities;
  /** What it does with memory; absent: what is usual for the format of the weights. */
  readonly memory?: EngineMemory;
  /** The files of a repository it would load, or why it cannot. `quantization` as in `owner/name:Q4_K_M`. */
  chooseFiles(
    listing: RepoListing,
    quantization: string | null,
  ):
    | { ok: true; value: Pick<ResolvedWeights, "files" | "entryFile" | "task"> }
    | { ok: false; failure: Failure };
  /** Null when it has every knob and argument, else one sentence that names the one it has not, and the engine. */
  refuseArgs(args: EngineArgs): string | null;
  launch(spec: LaunchSpec): Launch;
  /** Asks the server; never throws, and answers `silent` within `timeoutMs` when it gets no answer. */
  probe(endpoint: Endpoint, secret: string, timeoutMs: number): Promise<EngineHealth>;
  /**
   * Has one token generated (or one text embedded), as a client would: null once it came, else why not. Never throws, and
   * answers within `timeoutMs`.
   */
  warmUp(
    target: { readonly endpoint: Endpoint; readonly secret: string; readonly servedName: string },
    timeoutMs: number,
  ): Promise<Failure | null>;
  /** How far loading is (0 to 1) by the latest lines of its output, for engines that say it nowhere else; null: nothing new. */
  loadProgress?(lines: readonly string[]): number | null;
  /** What it printed of the memory it took, from the output up to when it was ready; null where it says nothing. */
  loadReport?(lines: readonly string[]): MeasuredMemory | null;
  /** Turns an exit and the last lines of output into a failure a person can act on. */
  explainExit(exit: { code: number | null; signal: string | null }, lastLines: readonly string[]): Failure;
}

export type InstanceSpec = {
  readonly id: string;
  readonly deploymentId: string;
  readonly engine: string;
  readonly placement: Placement;
  /** Bytes of memory it may have; absent: no limit. */
  readonly memoryBytes?: number;
  readonly launch: Omit<LaunchSpec, "instanceId" | "endpoint" | "secret" | "placement">;
};

/** Where instances run. Everything is idempotent; observations are level, hints are hints. */
export interface Driver {
  capacity(): Promise<readonly NodeCapacity[]>;
  /** Whether engines are kept away from Berth's state and from each other. */
  isolation(): Promise<Isolation>;
  /** Everything that exists, started by this control or an earlier one. One broken instance never hides the others. */
  observe(): Promise<readonly ObservedInstance[]>;
  /** Returns when the instance is recorded and its process started; loading goes on. The same id twice starts one. */
  start(spec: InstanceSpec): Promise<void>;
  /**
   * Ends the process (politely, then after `graceMs` by force), then forgets the instance. Resolves when nothing of
   * it runs any more; resolves at once for an id that does not exist.
   */
  remove(instanceId: string, graceMs: number): Promise<void>;
  /** Calls back with a deployment id when something of it may have changed. Returns the function that ends it. */
  watch(onChange: (deploymentId: string) => void): () => void;
  /** Calls back when what `capacity` offers has changed, for example a GPU was lost. Returns the function that ends it. */
  watchCapacity(onChange: () => void): () => void;
  /** Engine output of a deployment's instances, also of past ones, bounded; oldest line first. */
  readLogs(deploymentId: string): Promise<readonly InstanceLog[]>;
}

export type InstanceLog = {
  readonly instanceId: string;
  readonly lines: readonly { readonly atMs: number; readonly text: string }[];
};
