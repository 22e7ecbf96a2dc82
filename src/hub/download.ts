/**
 * Brings one file into the cache: continues what an earlier try left, hashes while writing, and gives the file its name
 * only when length and hash are right. Killed at any moment it leaves a right blob or none. Knows nothing of HTTP; the
 * bytes come from a source. One caller at a time per blob: the lock is taken here.
 */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { RepoFile } from "../core/deployment.ts";
import type { Cache, Disk } from "./cache.ts";
import {
  damaged,
  diskErrorCode,
  formatBytes,
  Hiccup,
  HubError,
  ranFull,
  storageError,
  unreachable,
} from "./failures.ts";
import { withLock } from "./lock.ts";
import { backoffMs, type RetryRule } from "./retry.ts";
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
  /** Bytes that must stay free on the disk, also when something else fills it meanwhile. */
  readonly minFreeBytes: number;
  /** `bytesHere`: of this file on disk, falls only when it is fetched anew; `received`: of them, new just now. */
  readonly onBytes: (bytesHere: number, received: number) => void;
};

/** Bytes that a try must bring for the count of tries to begin anew: a bad line may be slow, but it must get on. */
const worthwhileBytes = 1024 * 1024;
/** How many bytes are written between two looks at the free space. */
const spaceCheckBytes = 64 * 1024 * 1024;
const readBackBytes = 1024 * 1024;

/** The growing file, with the hash of what is in it. */
type Part = { readonly handle: FileHandle; hash: Hash; bytes: number };

/** Throws HubError when it cannot be done, the signal's reason when aborted. */
export async function downloadBlob(job: Download, signal: AbortSignal): Promise<void> {
  const { cache, repo, blob, file } = job;
  await onDisk(job, () =>
    withLock(cache.lockPath(repo, blob), job.rule.clock, signal, async () => {
      // Another process may have brought it while this one waited.
      if (await cache.hasBlob(repo, blob, file.bytes)) return job.onBytes(file.bytes, 0);
      for (let copy = 1; ; copy += 1) {
        const wrong = await receive(job, signal).catch((error: unknown) => giveRoomBack(job, error));
        if (wrong === null) return await cache.promote(repo, blob);
        await cache.dropIncomplete(repo, blob);
        job.onBytes(0, 0);
        if (copy === 2) throw damaged(repo, file.path, wrong);
      }
    }),
  );
}

/** A part that filled the disk is worth less than the room it takes. */
async function giveRoomBack(job: Download, error: unknown): Promise<never> {
  if (error instanceof HubError && error.failure.code === "disk_full") {
    await job.cache.dropIncomplete(job.repo, job.blob);
  }
  throw error;
}

/** Null when the whole file is on disk, synced and right; else what is wrong with it, completing "it arrived: …". */
async function receive(job: Download, signal: AbortSignal): Promise<string | null> {
  const handle = await job.cache.openIncomplete(job.repo, job.blob);
  try {
    const part = await readBack(job, handle, signal);
    job.onBytes(part.bytes, 0);
    let furthest = part.bytes;
    for (let failed = 0; part.bytes < job.file.bytes; ) {
      try {
        const wrong = await receiveOnce(job, part, signal);
        if (wrong !== null) return wrong;
      } catch (error) {
        if (!(error instanceof Hiccup)) throw error;
        failed = part.bytes - furthest >= worthwhileBytes ? 1 : failed + 1;
        furthest = Math.max(furthest, part.bytes);
        if (failed >= job.rule.attempts) throw unreachable(job.host, error.message, failed);
        await job.rule.clock.sleep(backoffMs(job.rule, failed, error), signal);
      }
    }
    if (part.hash.digest("hex") !== job.blob) return "its hash is not the published one";
    await handle.sync();
    return null;
  } finally {
    await handle.close();
  }
}

/** One connection's worth of bytes, from where the file ends. Returns what is wrong with the whole file, or null. */
async function receiveOnce(job: Download, part: Part, signal: AbortSignal): Promise<string | null> {
  const { file } = job;
  const opened = await job.open(file, part.bytes, signal);
  if (opened.bytesTotal !== null && opened.bytesTotal !== file.bytes) {
    opened.close();
    return `it is ${opened.bytesTotal} bytes long instead of ${file.bytes}`;
  }
  if (opened.offset !== part.bytes) {
    if (opened.offset !== 0) {
      opened.close();
      throw new Hiccup("answered with another range than was asked for");
    }
    await restart(job, part);
  }
  for await (const chunk of opened.body) {
    signal.throwIfAborted();
    if (part.bytes + chunk.byteLength > file.bytes) return `it is longer than ${file.bytes} bytes`;
    part.hash.update(chunk);
    await onDisk(job, () => writeAll(part.handle, chunk, part.bytes));
    const checksPassed = Math.floor(part.bytes / spaceCheckBytes);
    part.bytes += chunk.byteLength;
    if (Math.floor(part.bytes / spaceCheckBytes) > checksPassed) await requireRoom(job);
    job.onBytes(part.bytes, chunk.byteLength);
  }
  if (part.bytes < file.bytes) throw new Hiccup("ended the transfer early");
  return null;
}

/** What an earlier download left counts only as far as its hash can be continued: it is read once. */
async function readBack(job: Download, handle: FileHandle, signal: AbortSignal): Promise<Part> {
  const part: Part = { handle, hash: newHash(job), bytes: 0 };
  const { size } = await handle.stat();
  if (size > job.file.bytes) {
    await handle.truncate(0);
    return part;
  }
  const buffer = Buffer.allocUnsafe(Math.min(readBackBytes, Math.max(1, size)));
  while (part.bytes < size) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, part.bytes);
    if (bytesRead === 0) break;
    part.hash.update(buffer.subarray(0, bytesRead));
    part.bytes += bytesRead;
  }
  return part;
}

async function restart(job: Download, part: Part): Promise<void> {
  await onDisk(job, () => part.handle.truncate(0));
  part.hash = newHash(job);
  part.bytes = 0;
  job.onBytes(0, 0);
}

/** sha256 of the content for large files; for the others git's blob id, which covers a header with the length. */
function newHash(job: Download): Hash {
  if (job.file.sha256 !== null) return createHash("sha256");
  return startGitBlob(job.blob.length === 64 ? "sha256" : "sha1", job.file.bytes);
}

/** A hash that yields git's blob id once `bytes` bytes of content were added. */
export function startGitBlob(algorithm: "sha1" | "sha256", bytes: number): Hash {
  return createHash(algorithm).update(`blob ${bytes}\0`);
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.byteLength; ) {
    const { bytesWritten } = await handle.write(
      chunk,
      written,
      chunk.byteLength - written,
      position + written,
    );
    written += bytesWritten;
  }
}

/** Other downloads and programs write too: stops before they and this one have filled the disk under the database. */
async function requireRoom(job: Download): Promise<void> {
  const free = await job.disk.freeBytes(job.cache.root);
  if (free < job.minFreeBytes) throw ranFull(describe(job), free);
}

/** Runs something that touches the disk and turns its errors into sentences. */
async function onDisk<T>(job: Download, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (diskErrorCode(error) === null) throw error;
    const free = await job.disk.freeBytes(job.cache.root).catch(() => null);
    throw storageError(error, describe(job), free);
  }
}

function describe(job: Download): string {
  return `file ${job.file.path} (${formatBytes(job.file.bytes)}) of "${job.repo}"`;
}
