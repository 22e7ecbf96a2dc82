/** What the API room is given: the store and vault as ports, the running parts it asks or wakes, and its limits. */
import type { DownloadProgress } from "../core/event.ts";
import type { NodeCapacity } from "../core/instance.ts";
import type { Prices } from "../core/prices.ts";
import type { LoadReport, RecordBatch, RoutingSnapshot } from "../core/routing.ts";
import type { Clock, HubCache, HubJobs, InstanceLog, Mirror, Store, Vault } from "../ports.ts";

export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;

export type HubDeps = {
  readonly cache: HubCache;
  readonly jobs: HubJobs;
  readonly mirror: Mirror;
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
  };
  /** A new id of 16 letters and digits. */
  newId(): string;
  /** A new API token's secret: long, random, printable, without spaces and slashes. */
  newSecret(): string;
  capacity(): Promise<readonly NodeCapacity[]>;
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
  /** Resolves when every record is stored; rejects when none is. */
  onRecords(batch: RecordBatch): Promise<void>;
  /** The last stream of this gateway has ended: it has gone, or comes back with a full report. */
  onGatewayGone(gatewayId: string): void;
  readonly log: Log;
};
