/**
 * Brings one file into the cache: continues what an earlier try left, fills the gaps, and gives the file its name only
 * when length and hash are right. Killed at any moment it leaves a right blob or none. Knows nothing of HTTP; the bytes
 * come from a source. One caller at a time per blob: the lock is taken here.
 */
import type { RepoFile } from "../core/deployment.ts";
import type { Cache, Disk } from "./cache.ts";
import {
  damaged,
  diskErrorCode,
  formatBytes,
  HubError,
  ranFull,
  storageError,
  WrongFile,
} from "./failures.ts";
import { fillGaps, type LaneLimits, type Share } from "./lanes.ts";
import { withLock } from "./lock.ts";
import { Part } from "./part.ts";
import type { Range } from "./ranges.ts";
import type { RetryRule } from "./retry.ts";
import type { OpenFile } from "./source.ts";

export type Download = {
  /** `owner/name`, for the cache and for sentences. */
  readonly repo: string;
  readonly file: RepoFile;
  /** Name of the blob: the hash the file must have. */
  readonly blob: string;
  readonly open: OpenFile;
  /** Who is said to have failed, for example "huggingface.co". */
  readonly host: string;
  readonly cache: Cache;
  readonly disk: Disk;
  readonly rule: RetryRule;
  readonly lanes: LaneLimits;
  readonly share: Share;
  /** Bytes that must stay free on the disk, also when something else fills it meanwhile. */
  readonly minFreeBytes: number;
  /** `bytesHere`: of this file on disk, never falls; `received`: of them, new just now. */
  readonly onBytes: (bytesHere: number, received: number) => void;
};

/** Throws HubError when it cannot be done, the signal's reason when aborted. */
export async function downloadBlob(job: Download, signal: AbortSignal): Promise<void> {
  const { cache, repo, blob, file } = job;
  const state = { missing: file.bytes };
  await onDisk(job, state, () =>
    withLock(cache.lockPath(repo, blob), job.rule.clock, signal, async () => {
      // Another process may have brought it while this one waited.
      if (await cache.hasBlob(repo, blob, file.bytes)) return job.onBytes(file.bytes, 0);
      try {
        await bring(job, state, signal);
      } catch (error) {
        return await leave(job, error);
      }
      await cache.promote(repo, blob);
    }),
  );
}

/** A part that filled the disk, or that is known to be wrong, is worth less than the room it takes. */
async function leave(job: Download, error: unknown): Promise<never> {
  const isFull = ["ENOSPC", "EDQUOT"].includes(diskErrorCode(error) ?? "");
  const code = error instanceof HubError ? error.failure.code : null;
  if (isFull || code === "disk_full" || code === "weights_damaged") {
    await job.cache.dropIncomplete(job.repo, job.blob);
  }
  throw error;
}

/**
 * Returns when the whole file is on disk, synced and right. There is one hash for the whole file, so that a wrong one does
 * not say where: first what an earlier process or a bad connection wrote is fetched again, then everything, and what is
 * wrong after that is refused.
 */
async function bring(job: Download, state: { missing: number }, signal: AbortSignal): Promise<void> {
  const { cache, repo, blob, file } = job;
  const part = await Part.open(
    await cache.openIncomplete(repo, blob),
    cache.recordPath(repo, blob),
    file,
    blob,
    (bytesHere, received) => {
      state.missing = file.bytes - bytesHere;
      job.onBytes(bytesHere, received);
    },
  );
  try {
    // Blame ends: in each round some connection may break and be the next to suspect.
    for (let next: "suspects" | "everything" | "nothing" = "suspects"; ; ) {
      const wrong = await receive(job, part, signal);
      if (wrong === null) break;
      if (next === "nothing") throw damaged(repo, file.path, wrong.how);
      const blamed: readonly Range[] | null = wrong.isHash && next === "suspects" ? part.suspects() : null;
      next = blamed === null ? "nothing" : "everything";
      part.forget(blamed ?? [{ start: 0, end: file.bytes }]);
    }
    await part.sync();
  } finally {
    await part.close();
  }
}

/** Null when the file is whole and right, else what is wrong with it. */
async function receive(
  job: Download,
  part: Part,
  signal: AbortSignal,
): Promise<{ how: string; isHash: boolean } | null> {
  const { open, host, rule, share, lanes: limits } = job;
  const stop = new AbortController();
  const digest = part.digest(AbortSignal.any([signal, stop.signal]));
  const filled = fillGaps(
    { part, open, host, rule, limits, share, requireRoom: () => requireRoom(job, part) },
    AbortSignal.any([signal, stop.signal]),
  );
  try {
    const [hash] = await Promise.all([digest, filled]);
    return hash === job.blob ? null : { how: "its hash is not the published one", isHash: true };
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled([digest, filled]);
    if (error instanceof WrongFile) return { how: error.message, isHash: false };
    throw error;
  }
}

/** Other downloads and programs write too: stops before they and this one have filled the disk under the database. */
async function requireRoom(job: Download, part: Part): Promise<void> {
  const free = await job.disk.freeBytes(job.cache.root);
  if (free < job.minFreeBytes) throw ranFull(describe(job), job.file.bytes - part.done.bytes, free);
}

/** Runs something that touches the disk and turns its errors into sentences. */
async function onDisk<T>(job: Download, state: { missing: number }, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (diskErrorCode(error) === null) throw error;
    const free = await job.disk.freeBytes(job.cache.root).catch(() => null);
    throw storageError(error, describe(job), state.missing, free);
  }
}

function describe(job: Download): string {
  return `file ${job.file.path} (${formatBytes(job.file.bytes)}) of "${job.repo}"`;
}
