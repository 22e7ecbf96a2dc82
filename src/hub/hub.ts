/**
 * The hub: resolves Hugging Face repositories to commits and brings their files into the cache, each verified before it
 * gets its name. Puts the room's parts together and turns their errors into outcomes. Must not decide which files an
 * engine needs, and must not remember anything that is not on disk, but for what is under way.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { RepoFile, Weights } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import { isCommit, isRevision, parseRepo, repoNameRule } from "../core/repo.ts";
import type { Clock } from "../ports/clock.ts";
import type { ChooseFiles, Hub, HubOutcome, RepoListing } from "../ports/hub.ts";
import { listBuiltin, readBuiltin } from "./builtin.ts";
import { Cache, type Disk, realDisk } from "./cache.ts";
import { type Crew, createCrew } from "./crew.ts";
import { Endpoint } from "./endpoint.ts";
import { badListing, badRepoName, diskFull, HubError, revisionNotFound, storageError } from "./failures.ts";
import { createFlights } from "./flights.ts";
import { inspectFiles } from "./inspect/inspect.ts";
import { defaultHubLimits, type HubLimits } from "./limits.ts";
import { blobName, findCollision, isFilePath, plainRepo } from "./names.ts";
import { inParallel } from "./parallel.ts";
import { createProgress, type Progress } from "./progress.ts";
import type { RetryRule } from "./retry.ts";
import type { ReadRange } from "./source.ts";
import { createSpaceLedger } from "./space.ts";

export type HubOptions = {
  /** BERTH_HOME; the cache is its folder `hub`, unless another one is named. */
  readonly home: string;
  readonly cacheFolder?: string;
  /** HF_ENDPOINT. */
  readonly endpoint: string;
  /** BERTH_HUB_PRIVATE: redirects may lead to loopback and private addresses. */
  readonly allowPrivateRedirects: boolean;
  /** Repositories that Berth ships: `owner/name` -> folder. They never ask the network. */
  readonly builtin: ReadonlyMap<string, string>;
  /** For looking at a repository before an engine has chosen. */
  readonly chooseFiles: ChooseFiles;
  readonly clock: Clock;
  /** 0 <= random() < 1; spreads retries. */
  readonly random?: () => number;
  readonly limits?: Partial<HubLimits>;
  readonly disk?: Disk;
  /** Threads that bring files; 0 (and with it `clock`, `random` and `disk`): this one. */
  readonly threads?: number;
};

/** How often progress is reported at most, milliseconds. */
const progressEveryMs = 250;

/** Where the files of one commit come from: a shipped folder, or (null) the endpoint. */
type Source = { readonly commit: string; readonly folder: string | null; readonly token: string | null };
/** Content that is still to be brought: the name of its blob, a file to ask for, and every path it belongs to. */
type Missing = {
  readonly blob: string;
  readonly file: RepoFile;
  readonly paths: string[];
  /** Bytes of it that an earlier download left, and that were reported. */
  readonly onDisk: number;
  readonly shown: number;
};
type BlobEvent = { readonly bytesHere: number; readonly received: number };

export function createHub(options: HubOptions): Hub {
  return new CachingHub(options);
}

class CachingHub implements Hub {
  readonly #limits: HubLimits;
  readonly #builtin: ReadonlyMap<string, string>;
  readonly #disk: Disk;
  readonly #cache: Cache;
  readonly #rule: RetryRule;
  readonly #endpoint: Endpoint;
  readonly #chooseFiles: ChooseFiles;
  readonly #crew: Crew;
  readonly #space = createSpaceLedger();
  readonly #flights = createFlights<BlobEvent>();

  constructor(options: HubOptions) {
    const limits = { ...defaultHubLimits, ...options.limits };
    this.#limits = limits;
    this.#builtin = options.builtin;
    this.#chooseFiles = options.chooseFiles;
    this.#disk = options.disk ?? realDisk;
    this.#cache = new Cache(options.cacheFolder ?? join(options.home, "hub"));
    this.#rule = { ...limits, clock: options.clock, random: options.random ?? Math.random };
    const { endpoint, allowPrivateRedirects } = options;
    this.#endpoint = new Endpoint({ ...limits, endpoint, allowPrivateRedirects }, this.#rule);
    this.#crew = createCrew({
      threads: options.threads ?? Math.min(4, availableParallelism()),
      maxConnections: limits.maxConnections,
      settings: { cacheRoot: this.#cache.root, endpoint, allowPrivateRedirects, limits },
      ports: { clock: options.clock, random: this.#rule.random, disk: this.#disk },
    });
  }

  list(weights: Weights, token: string | null, signal: AbortSignal): Promise<HubOutcome<RepoListing>> {
    return asOutcome(signal, () => this.#resolve(weights, token, signal));
  }

  fetch(
    repo: string,
    commit: string,
    files: readonly RepoFile[],
    token: string | null,
    onProgress: (progress: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<HubOutcome<null>> {
    return asOutcome(signal, async () => {
      await this.#store(acceptRepo(repo), acceptCommit(commit), files, token, onProgress, signal);
      return null;
    });
  }

  inspect(
    weights: Weights,
    token: string | null,
    signal: AbortSignal,
    listed?: { readonly listing: RepoListing; readonly files?: readonly RepoFile[] },
  ): Promise<HubOutcome<ModelFacts>> {
    return asOutcome(signal, async () => {
      const listing = listed?.listing ?? (await this.#resolve(weights, token, signal));
      const { repo, commit } = listing;
      const folder = this.#builtin.get(repo);
      const source =
        folder === undefined ? this.#endpoint.reader(repo, commit, token) : readBuiltin(repo, folder);
      const chosen = listed?.files ?? this.#choose(listing, parseRepo(weights.repo)?.quantization ?? null);
      return await inspectFiles(
        { listing, files: chosen, read: this.#readCachedFirst(repo, source), host: this.#endpoint.host },
        signal,
      );
    });
  }

  /** The cache holds only what was verified, under the name of its content. */
  async changed(): Promise<null> {
    return null;
  }

  snapshotPath(repo: string, commit: string): string {
    return this.#cache.snapshotPath(acceptRepo(repo), acceptCommit(commit));
  }

  async #resolve(weights: Weights, token: string | null, signal: AbortSignal): Promise<RepoListing> {
    const repo = acceptRepo(weights.repo);
    const { revision } = weights;
    if (revision !== null && !isRevision(revision)) throw revisionNotFound(repo, revision.slice(0, 100));
    const folder = this.#builtin.get(repo);
    const listing =
      folder === undefined
        ? await this.#endpoint.list(repo, revision, token, signal)
        : await listBuiltin(repo, folder, revision, signal);
    if (revision === null || !isCommit(revision)) {
      await this.#onDisk(repo, () => this.#cache.putRef(repo, revision ?? "main", listing.commit));
    }
    return listing;
  }

  async #store(
    repo: string,
    commit: string,
    files: readonly RepoFile[],
    token: string | null,
    onProgress: (progress: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    acceptFiles(repo, files, this.#endpoint.host);
    const missing = await this.#onDisk(repo, async () => {
      await this.#cache.prepare();
      return await this.#findMissing(repo, files);
    });
    const progress = createProgress(files);
    for (const { paths, shown } of missing) for (const path of paths) progress.moved(path, shown, 0);
    const absent = new Set(missing.flatMap(({ paths }) => paths));
    for (const file of files) if (!absent.has(file.path)) progress.moved(file.path, file.bytes, 0);
    const endReports = reportProgress(progress, this.#rule.clock, onProgress);
    let release = () => {};
    try {
      if (missing.length > 0) {
        release = await this.#onDisk(repo, () => this.#claimSpace(repo, missing));
        const source = await this.#sourceOf(repo, commit, token, signal);
        await inParallel(missing, this.#limits.parallelFiles, signal, (one, stop) =>
          this.#bring(repo, one, source, progress, stop),
        );
      }
      await this.#onDisk(repo, async () => {
        for (const file of files) await this.#cache.link(repo, commit, file.path, requireBlob(file));
      });
    } finally {
      release();
      endReports();
    }
  }

  #choose(listing: RepoListing, quantization: string | null): readonly RepoFile[] {
    const isAdapter = listing.files.filter(({ path }) => /^adapter_model\.(safetensors|bin)$/.test(path));
    const chosen = this.#chooseFiles(listing, quantization);
    if (chosen.ok) return chosen.value.files;
    // An adapter is no model, but what it is can be said.
    if (isAdapter.length > 0) return isAdapter;
    throw new HubError(chosen.failure);
  }

  /** Reads what is in the cache there. Whoever asks has shown at the endpoint that it may read the repository. */
  #readCachedFirst(repo: string, source: ReadRange): ReadRange {
    return async (file, start, end, signal) => {
      const blob = requireBlob(file);
      return (
        (await this.#cache.readRange(repo, blob, start, end, file.bytes)) ?? source(file, start, end, signal)
      );
    };
  }

  /** Brings one blob, together with whoever else wants it with the same token. */
  async #bring(
    repo: string,
    { file, blob, paths }: Missing,
    source: Source,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const { token } = source;
    const path = this.#cache.blobPath(repo, blob);
    // Callers with different tokens do not share a refusal: the second one waits for the blob's lock instead.
    const key = `${path} ${token === null ? "" : createHash("sha256").update(token).digest("hex")}`;
    const listener = ({ bytesHere, received }: BlobEvent) => {
      this.#space.update(path, file.bytes - bytesHere);
      for (const one of paths) progress.moved(one, bytesHere, one === file.path ? received : 0);
    };
    progress.started(file.path);
    try {
      await this.#flights.join(key, listener, signal, (emit, stop) =>
        this.#crew.run(
          { repo, file, blob, ...source },
          (bytesHere, received) => emit({ bytesHere, received }),
          stop,
        ),
      );
    } finally {
      progress.finished(file.path);
    }
  }

  async #sourceOf(repo: string, commit: string, token: string | null, signal: AbortSignal): Promise<Source> {
    const folder = this.#builtin.get(repo) ?? null;
    // An update of Berth may ship another commit than the one a deployment is bound to.
    if (folder !== null) await listBuiltin(repo, folder, commit, signal);
    return { commit, folder, token };
  }

  async #findMissing(repo: string, files: readonly RepoFile[]): Promise<Missing[]> {
    const missing = new Map<string, Missing>();
    for (const file of files) {
      const blob = requireBlob(file);
      const known = missing.get(blob);
      if (known !== undefined) known.paths.push(file.path);
      else if (!(await this.#cache.hasBlob(repo, blob, file.bytes))) {
        const left = await this.#cache.incompleteBytes(repo, blob, file.bytes);
        missing.set(blob, { blob, file, paths: [file.path], ...left });
      }
    }
    return [...missing.values()];
  }

  /** Promises the room that is still needed to this fetch, or throws; what others were promised is not free. */
  async #claimSpace(repo: string, missing: readonly Missing[]): Promise<() => void> {
    const reserve = this.#limits.minFreeBytes;
    const needs = new Map(
      missing.map(({ file, blob, onDisk }) => [this.#cache.blobPath(repo, blob), file.bytes - onDisk]),
    );
    const needed = [...needs.values()].reduce((sum, bytes) => sum + bytes, 0);
    const free = await this.#disk.freeBytes(this.#cache.root);
    const promised = this.#space.promisedToOthers([...needs.keys()]);
    if (needed + promised + reserve > free) throw diskFull(repo, { needed, promised, reserve, free });
    return this.#space.claim(needs);
  }

  async #onDisk<T>(repo: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw storageError(error, `repository "${repo}"`, null, null);
    }
  }
}

/** Commits come from a listing; anything else is a defect of the caller. */
function acceptCommit(commit: string): string {
  if (!isCommit(commit)) throw new Error("the commit is not a commit id");
  return commit;
}

function acceptRepo(repo: string): string {
  const plain = plainRepo(repo);
  if (plain === null) throw badRepoName(repoNameRule);
  return plain;
}

/** The listing was checked when it came; what is stored since is checked again before it becomes a path. */
function acceptFiles(repo: string, files: readonly RepoFile[], host: string): void {
  const bad = files.find((file) => !isFilePath(file.path) || blobName(file) === null);
  if (bad !== undefined) throw badListing(repo, host, "it has a file without a usable name or hash");
  const collision = findCollision(files.map((file) => file.path));
  if (collision !== null) {
    throw badListing(repo, host, `${collision[0]} and ${collision[1]} cannot both be stored`);
  }
}

function requireBlob(file: RepoFile): string {
  const blob = blobName(file);
  if (blob === null) throw new Error("the file has no hash");
  return blob;
}

/** Reports while something changes, and once at the end; returns the function that ends it. */
function reportProgress(
  progress: Progress,
  clock: Clock,
  onProgress: (progress: DownloadProgress) => void,
): () => void {
  let last = "";
  const report = () => {
    const now = progress.at(clock.now());
    const text = JSON.stringify(now);
    if (text !== last) onProgress(now);
    last = text;
  };
  report();
  const timer = setInterval(report, progressEveryMs);
  return () => {
    clearInterval(timer);
    report();
  };
}

async function asOutcome<T>(signal: AbortSignal, action: () => Promise<T>): Promise<HubOutcome<T>> {
  try {
    signal.throwIfAborted();
    return { ok: true, value: await action() };
  } catch (error) {
    // Aborting is the caller's own doing: it gets its own reason back.
    signal.throwIfAborted();
    if (error instanceof HubError) return { ok: false, failure: error.failure };
    throw error;
  }
}
