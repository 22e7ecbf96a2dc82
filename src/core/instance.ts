/**
 * One running copy of a deployment, as a driver reports it and as the store remembers it. Plain values; no I/O.
 */
import type { Failure } from "./failure.ts";
import type { MeasuredMemory } from "./fit-measured.ts";

/** Where an engine listens. Local engines use a Unix socket, others an address. */
export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** What an instance takes of a node. `gpus` empty means the CPU. */
export type Placement = {
  readonly node: string;
  readonly gpus: readonly string[];
};

/**
 * What a driver sees of an instance, in the driver's own words:
 * starting: the process runs, the model is loading; running: it answers; exited: the process is gone, its last words
 * are in `failure`. An exited instance stays visible until `Driver.remove`, so that no crash is lost with a restart.
 */
export type ObservedInstance = {
  readonly id: string;
  readonly deploymentId: string;
  readonly state: "starting" | "running" | "exited";
  readonly endpoint: Endpoint;
  /** Shared by gateway and engine; engines refuse requests without it. */
  readonly secret: string;
  /** Requests it serves at once as the engine reports it; 0 until running. */
  readonly slots: number;
  /** Tokens a single request may take (prompt and answer), 0 until running. */
  readonly contextTokens: number;
  /** 0..1 while loading where the engine tells, else null. */
  readonly loadProgress: number | null;
  /** A remark of the engine for the user, for example that memory allows fewer slots than asked. */
  readonly note: string | null;
  readonly placement: Placement;
  /** What the engine printed of its memory when it was ready; absent where it says nothing. */
  readonly loadReport?: MeasuredMemory;
  /** What it uses by itself, without mapped weights, and the most it may; absent where that is not known. */
  readonly memory?: InstanceMemory;
  readonly startedAtMs: number;
  readonly readyAtMs: number | null;
  /** Set when exited. */
  readonly failure: Failure | null;
};

export type InstanceMemory = { readonly usedBytes: number; readonly limitBytes: number | null };

/**
 * What is remembered of an observation: all but the secret and what changes all the time, which stay with the driver and in memory,
 * and the report, which is remembered with the weights.
 */
export type RecordedObservation = Omit<ObservedInstance, "secret" | "loadReport" | "memory">;

/** What the reconciler has decided about an instance; kept in the store together with the last observation. */
export type InstanceRecord = {
  readonly id: string;
  readonly deploymentId: string;
  /** drain: takes nothing new, is stopped when idle or when the drain limit has passed. */
  readonly intent: "run" | "drain";
  readonly createdAtMs: number;
  readonly drainSinceMs: number | null;
  /** Id of the revision of arguments it was started with. */
  readonly revision: number;
  /** When it answered a real request of the reconciler; null while it has not, or needed not. */
  readonly warmedAtMs: number | null;
  /** Last observation; null between the decision to start and the first sight of it. */
  readonly observed: RecordedObservation | null;
};

/**
 * Why a GPU that is otherwise fine cannot be used at present. lost: the driver does not reach it any more; sick: it answers,
 * and has to be reset or replaced; busy: somebody else uses it.
 */
export type GpuOutage = "lost" | "sick" | "busy";

export type NodeGpu = {
  /** What the driver's tools call it: for NVIDIA the UUID. */
  readonly id: string;
  /** The API's type: a listed name or "other". */
  readonly type: string;
  readonly name: string;
  readonly memoryBytes: number;
  /** False with a reason for a GPU that must not be offered. */
  readonly usable: boolean;
  readonly reason: string | null;
  /** Absent where the GPU is usable, or never will be. */
  readonly outage?: GpuOutage;
  /** True for a part of a card (MIG), of which an engine can take only one. */
  readonly isSlice?: boolean;
  /** Memory that others than Berth hold of a usable GPU. */
  readonly foreignBytes?: number;
  /** Ids of the node's GPUs it has NVLink to; absent where nobody knows. */
  readonly nvlinks?: readonly string[];
  /** The memory of the machine it is next to; absent where nobody knows. */
  readonly numaNode?: number;
};

/** What one node offers. */
export type NodeCapacity = {
  readonly node: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
  readonly gpus: readonly NodeGpu[];
};
