/**
 * The cache of weights for who looks after this machine: what is there, whose it is, and the long work on it.
 */
import type { Weights } from "../core/deployment.ts";

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
