/**
 * Weights as a port: resolving, downloading, verifying, caching. Outcomes are returned; what a person can act on is a
 * `Failure`. Must not decide which files an engine needs: that is asked of it (`ChooseFiles`).
 */
import type { RepoFile, ResolvedWeights, Weights } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import type { Failure } from "../core/failure.ts";
import type { ModelFacts } from "../core/model-facts.ts";

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
