/**
 * Where instances run, as a port. It starts, shows and ends; it never decides that something should.
 */
import type { Failure } from "../core/failure.ts";
import type { NodeCapacity, ObservedInstance, Placement } from "../core/instance.ts";
import type { Isolation } from "../core/isolation.ts";
import type { LaunchSpec } from "./engine.ts";

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
  /**
   * Brings a container image here that engines are to run in: null when it is here, else why not. Takes as long as it takes, up to a
   * limit of the driver's; rejects when `signal` is aborted.
   */
  fetchImage(
    image: string,
    onLayers: (layers: { readonly done: number; readonly all: number }) => void,
    signal: AbortSignal,
  ): Promise<Failure | null>;
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
