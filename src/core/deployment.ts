/**
 * What a user asked for and what Berth has seen of it: the stored facts of a deployment, as plain values. Statuses are
 * not stored; `core/status` derives them. Owns the vocabulary (gpu types, settings, limits); must not do I/O.
 */
import type { Failure } from "./failure.ts";
import type { ModelFacts } from "./model-facts.ts";
import type { Weekday } from "./schedule.ts";
import type { StandardArgs } from "./standard-args.ts";

/** The API's GPU types. `other`: a GPU of no listed type where an engine can use one, else the CPU. */
export const gpuTypes = [
  "L4-24GB",
  "L40S-48GB",
  "A100-80GB",
  "H100-80GB",
  "H200-141GB",
  "B200-180GB",
  "B300-270GB",
  "RTXPRO6000-96GB",
  "other",
] as const;
export type GpuType = (typeof gpuTypes)[number];

/** The built-in account: owns the starter deployment; nobody can sign in as it. */
export const builtinAccount = "berth";

/** Account names: 1 to 39 characters, as DeepInfra's `display_name`. */
export const accountNamePattern = /^(?=.{1,39}$)[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/;
/** The part of a model name after `<account>/`. */
export const modelNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;

export type Weights = {
  /** `owner/name`, optionally followed by `:QUANTIZATION` for a repository with several GGUF files. */
  readonly repo: string;
  /** Branch, tag or commit; null means the default branch. */
  readonly revision: string | null;
};

/** The immutable part of a deployment. */
export type DeploymentConfig = {
  readonly gpu: GpuType;
  /** GPUs one instance takes, 1..8. */
  readonly numGpus: number;
  /** Requests one instance serves at once, 1..256. */
  readonly maxBatchSize: number;
  readonly weights: Weights;
  /** The catalogue name that was given instead of `hf`, else null. */
  readonly baseModel: string | null;
  /** An image of the administrator's list in which the engine has to run; null for the installed engine. */
  readonly containerImage: string | null;
};

/** What engines are started with; a rolling update changes it. */
export type EngineArgs = {
  readonly standardArgs: StandardArgs;
  /** The engine's own arguments; they come after `standardArgs` and win. */
  readonly extraArgs: readonly string[];
};

export const noEngineArgs: EngineArgs = { standardArgs: {}, extraArgs: [] };

/** Never changed: other arguments are another revision. */
export type Revision = {
  /** Counts up from 1 within a deployment. */
  readonly id: number;
  readonly args: EngineArgs;
};

/** Which arguments a deployment goes by, went by and falls back to. `core/revision` changes it. */
export type Revisions = {
  /** What new instances are started with. */
  readonly wanted: Revision;
  /** What served before the update under way, and serves again if `wanted` fails; null when no update is under way. */
  readonly fallback: Revision | null;
  /** Failed tries of `wanted` in the update under way. */
  readonly tries: Tries;
  /** Why the last update was taken back; null once another one was asked for. */
  readonly updateError: Failure | null;
  /** Newest first, bounded. */
  readonly retired: readonly (Revision & { readonly retiredAtMs: number })[];
};

/** The mutable part. 0 <= minInstances <= maxInstances. */
export type ScaleSettings = {
  readonly minInstances: number;
  readonly maxInstances: number;
  /** Seconds without a request after which a deployment with minInstances 0 goes to zero; null means the default. */
  readonly inactiveShutdownS: number | null;
  /** Other minimums by weekday and hour; absent for none. `core/schedule` reads it. */
  readonly schedule?: Schedule | undefined;
};

export type Schedule = {
  /** A name of the IANA database, for example "Europe/Berlin". */
  readonly timeZone: string;
  readonly rules: readonly ScheduleRule[];
};

/** Takes the place of `minInstances` while it holds; of several that hold the highest counts. */
export type ScheduleRule = {
  /** Days on which it begins. */
  readonly days: readonly Weekday[];
  /** Minutes since midnight, 0..1439. */
  readonly fromMinute: number;
  /** Minutes since midnight, 1..1440; one that is not later than the beginning is the next day's. */
  readonly untilMinute: number;
  readonly minInstances: number;
};

/** What the user wants to be true now. `delete` is final. */
export type Desired = "run" | "stop" | "delete";

export type RepoFile = {
  /** Path inside the repository, forward slashes, already checked to stay inside it. */
  readonly path: string;
  readonly bytes: number;
  /** sha256 (hex) for large files, else null. */
  readonly sha256: string | null;
  /** Git blob id (hex sha1), which also covers small files; null where the endpoint does not say. */
  readonly gitOid: string | null;
};

/** What a repository turned out to be at the commit that this deployment is bound to. */
export type ResolvedWeights = {
  /** 40 or 64 hex digits; the API's `version`. */
  readonly commit: string;
  /** Just the files the engine needs. */
  readonly files: readonly RepoFile[];
  /** Name of the engine that will load them. */
  readonly engine: string;
  /** Path of the file an engine is pointed at, one of `files`. */
  readonly entryFile: string;
  /** The API's `task`, for example "text-generation" or "embeddings". */
  readonly task: string;
  /** What the files' headers say of the model; absent where they could not be read. */
  readonly facts?: ModelFacts;
};

/** Tries that failed one after another since the deployment was last started or last ran. */
export type Tries = {
  readonly count: number;
  /** Milliseconds since the epoch of the last failed try, null when count is 0. */
  readonly lastAtMs: number | null;
  readonly lastFailure: Failure | null;
};

export const noTries: Tries = { count: 0, lastAtMs: null, lastFailure: null };

/** One row of the store. Times are milliseconds since the epoch. */
export type Deployment = {
  readonly id: string;
  /** Owner's account name. */
  readonly account: string;
  /** Full name, `<account>/<model>`. */
  readonly name: string;
  /** Callable by every token, not only the owner's. */
  readonly isPublic: boolean;
  readonly config: DeploymentConfig;
  readonly settings: ScaleSettings;
  readonly desired: Desired;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Facts, written by the reconciler alone. */
  readonly resolved: ResolvedWeights | null;
  /** When all files of `resolved` were last seen verified on disk; cleared by a start. */
  readonly weightsReadyAtMs: number | null;
  /** Set when Berth has given up; cleared by a start. */
  readonly failure: Failure | null;
  /** True once an instance has been ready since the last start. */
  readonly hasRun: boolean;
  readonly tries: Tries;
  readonly revisions: Revisions;
  /** What the last load took, milliseconds from start to ready; null when it is not known. */
  readonly loadTimeMs: number | null;
};

/** The revisions of a deployment that was never updated. */
export function firstRevisions(args: EngineArgs): Revisions {
  return { wanted: { id: 1, args }, fallback: null, tries: noTries, updateError: null, retired: [] };
}

/** The facts of a deployment that the reconciler has not looked at yet, with the engine's own choice of arguments. */
export const nothingSeen: Pick<
  Deployment,
  "resolved" | "weightsReadyAtMs" | "failure" | "hasRun" | "tries" | "revisions" | "loadTimeMs"
> = {
  resolved: null,
  weightsReadyAtMs: null,
  failure: null,
  hasRun: false,
  tries: noTries,
  revisions: firstRevisions(noEngineArgs),
  loadTimeMs: null,
};
