/** What the API room is given: the store and vault as ports, the running parts it asks or wakes, and its limits. */
import type { EngineArgs } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import type { NodeCapacity } from "../core/instance.ts";
import type { Isolation } from "../core/isolation.ts";
import type { Catalogue } from "../core/known-models.ts";
import type { Prices } from "../core/prices.ts";
import type { DefaultRateLimits } from "../core/routes.ts";
import type {
  LoadReport,
  RecordBatch,
  RoutingSnapshot,
  ScopeQuestion,
  ScopeVerdict,
} from "../core/routing.ts";
import type { Clock } from "../ports/clock.ts";
import type { InstanceLog } from "../ports/driver.ts";
import type { Hub, RepoListing } from "../ports/hub.ts";
import type { HubCache, HubJobs } from "../ports/hub-cache.ts";
import type { Mirror } from "../ports/mirror.ts";
import type { Store } from "../ports/store.ts";
import type { Vault } from "../ports/vault.ts";
import type { GpuQuotas } from "./gpu-quota.ts";
import type { EngineChoice, ModelLook } from "./model-look.ts";

export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;

export type HubDeps = {
  readonly cache: HubCache;
  readonly jobs: HubJobs;
  readonly mirror: Mirror;
  /** For looking at repositories before they are deployed. */
  readonly hub: Pick<Hub, "list" | "inspect">;
  /** HF_TOKEN where this account may use it, else null. */
  tokenOf(account: string): string | null;
};

export type ApiDeps = {
  readonly store: Store;
  readonly vault: Vault;
  readonly hub: HubDeps;
  readonly clock: Clock;
  /** Berth's own version, for `GET /v1/berth/info`. */
  readonly version: string;
  readonly limits: {
    /** Most GPUs (instances x num_gpus) of one deployment. */
    readonly quotaGpus: number;
    /** Largest request body, before and after inflation. */
    readonly bodyBytes: number;
    /** Most GPUs of each type of an account without a limit of its own. */
    readonly accountGpus: number;
    /** Rates of an account without limits of its own; 0 is no limit. */
    readonly accountRates: DefaultRateLimits;
    /** What is kept of the record of changes. */
    readonly audit: { readonly max: number; readonly ageMs: number };
  };
  /** Well-known models, by which `base_model` and presets go. */
  readonly catalogue: Catalogue;
  /** Images that `container_image` may name. */
  readonly containerImages: readonly string[];
  /** Where clients reach this installation, for examples; no slash at the end. */
  readonly baseUrl: string;
  /** Names of the engines that are installed. */
  readonly engineNames: readonly string[];
  /**
   * Null when the engine takes these arguments, else one sentence. Where the engine is not known yet (null), only what
   * no installed engine takes is refused.
   */
  refuseArgs(engine: string | null, args: EngineArgs): string | null;
  /** The engine that would load a repository; null: none that is installed. */
  chooseEngine(listing: RepoListing, quantization: string | null): EngineChoice | null;
  /** Looks at repositories; shared by all that ask what a model needs. */
  readonly look: ModelLook;
  /** A new id of 16 letters and digits. */
  newId(): string;
  /** A new API token's secret: long, random, printable, without spaces and slashes. */
  newSecret(): string;
  capacity(): Promise<readonly NodeCapacity[]>;
  /** Whether engines are kept away from Berth's state and from each other. */
  isolation(): Promise<Isolation>;
  /** An administrator accepts that accounts share a machine without that. */
  readonly acceptsSharedEngines: boolean;
  /** Shared by everything that makes a deployment run or grow. */
  readonly gpuQuotas: GpuQuotas;
  /** Wakes the reconciler for a deployment whose desired state was written. */
  poke(deploymentId: string): void;
  /** Resolves with a version of the routes that knows of every write so far. */
  routesVersion(): Promise<number>;
  progressOf(deploymentId: string): DownloadProgress | null;
  /** Why the store cannot do its work now, as the end of a sentence; null when the error is a defect. */
  outageOf(error: unknown): string | null;
  readonly prices: Prices;
  /** What the installation does right now, by the records of the last minute. */
  liveRate(): { readonly requestsPerS: number; readonly tokensPerS: number; readonly ttftS: number | null };
  readLogs(deploymentId: string): Promise<readonly InstanceLog[]>;
  /** Processes of Berth that ended unasked and were started again lately, the newest last. */
  restarts(): readonly { readonly role: string; readonly atMs: number; readonly reason: string }[];
  /** Stops Berth and every engine; called after the answer was sent. */
  down(): void;
  readonly log: Log;
};

export type LinkDeps = {
  /** The newest snapshot. */
  snapshot(): RoutingSnapshot;
  /** Calls back after each change; returns the function that ends it. */
  onSnapshot(listener: () => void): () => void;
  onLoad(report: LoadReport): void;
  /** Control's part of the metrics page. */
  metrics(): Promise<string>;
  judgeScope(question: ScopeQuestion): Promise<ScopeVerdict>;
  /** Resolves when every record is stored; rejects when none is. */
  onRecords(batch: RecordBatch): Promise<void>;
  /** The last stream of this gateway has ended: it has gone, or comes back with a full report. */
  onGatewayGone(gatewayId: string): void;
  /** A reader that takes nothing for this long is cut; it comes back by itself. 20 s unless it is given. */
  readonly stuckMs?: number;
  readonly log: Log;
};
