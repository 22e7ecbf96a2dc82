/**
 * An engine as a port: how a model becomes a server on a command line, and what that server says of itself. Where and
 * when it runs is the driver's and the reconciler's.
 */
import type { Abilities } from "../core/abilities.ts";
import type { EngineArgs, ResolvedWeights } from "../core/deployment.ts";
import type { Failure } from "../core/failure.ts";
import type { EngineMemory } from "../core/fit.ts";
import type { MeasuredMemory } from "../core/fit-measured.ts";
import type { Endpoint, Placement } from "../core/instance.ts";
import type { RepoListing } from "./hub.ts";

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
  /**
   * True: accounts besides its owner's ask it too, so that an engine which cannot tell them apart must not use again what it has of
   * one request for another.
   */
  readonly isShared?: boolean;
  /** What is served and for whom, for what engines keep or are allowed by it. */
  readonly weights?: { readonly repo: string; readonly commit: string; readonly account: string };
  readonly engineArgs: EngineArgs;
  /** A container image to run it in, instead of what the engine itself would choose; only for engines that take images. */
  readonly image?: string;
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
  /** True: it needs the machine's network; an isolated engine has none otherwise. A container has a loopback interface alone. */
  readonly needsNetwork?: boolean;
  /** The container image that `command` is in; absent: `command` is a program of this machine. */
  readonly image?: string;
};

/**
 * How a model becomes a server. One file an engine; all but `probe` and `warmUp` is pure. Each passes the contract in
 * `test/engines`.
 */
/** What an engine says of its work right now. */
export type EngineLoad = {
  readonly running: number;
  readonly waiting: number;
  /** How full its cache of contexts is, 0 to 1; null where it does not say. */
  readonly cacheShare: number | null;
};

export interface Engine {
  readonly name: string;
  /** Hardware it can use here. */
  readonly runsOn: "cpu" | "gpu";
  readonly abilities: Abilities;
  /** It can be run in container images that deployments name. */
  readonly takesImages?: boolean;
  /** The container image that it runs in where a deployment names none; absent: it is a program of this machine. */
  readonly image?: string;
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
  /** Its own count of its work, for engines that keep one. Never throws; null when no answer comes within `timeoutMs`. */
  load?(endpoint: Endpoint, secret: string, timeoutMs: number): Promise<EngineLoad | null>;
  /** How far loading is (0 to 1) by the latest lines of its output, for engines that say it nowhere else; null: nothing new. */
  loadProgress?(lines: readonly string[]): number | null;
  /** What it printed of the memory it took, from the output up to when it was ready; null where it says nothing. */
  loadReport?(lines: readonly string[]): MeasuredMemory | null;
  /** Turns an exit and the last lines of output into a failure a person can act on. */
  explainExit(exit: { code: number | null; signal: string | null }, lastLines: readonly string[]): Failure;
}
