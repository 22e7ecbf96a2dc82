/**
 * The growing file of one download with everything that is known of it: which ranges are there, what of them is suspect,
 * how far the hash has come, what the record beside it says. Knows nothing of connections. All its writes are
 * synchronous: it lives in a thread of its own, and so a range is recorded only after its bytes were written.
 */
import { createHash, type Hash } from "node:crypto";
import { writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { RepoFile } from "../core/deployment.ts";
import { PrefixHash } from "./prefix-hash.ts";
import { type Range, RangeSet } from "./ranges.ts";
import { RangeRecord, readBootId, readRecord } from "./record.ts";

/** How many bytes are written between two syncs: the disk is kept busy, and a power cut costs no more than that. */
const syncEveryBytes = 256 * 1024 * 1024;

export class Part {
  readonly file: RepoFile;
  readonly done: RangeSet;
  readonly #handle: FileHandle;
  readonly #blob: string;
  readonly #record: RangeRecord;
  readonly #onBytes: (bytesHere: number, received: number) => void;
  /** Written by an earlier process, or by a connection that ended badly: the first to blame for a wrong hash. */
  readonly #suspects: RangeSet;
  #hash: PrefixHash;
  #shown: number;
  #unsyncedBytes = 0;
  #syncing: Promise<unknown> | null = null;

  /** Takes over `handle`: continues what the record says is there. */
  static async open(
    handle: FileHandle,
    recordPath: string,
    file: RepoFile,
    blob: string,
    onBytes: (bytesHere: number, received: number) => void,
  ): Promise<Part> {
    const { size } = await handle.stat();
    if (size > file.bytes) await handle.truncate(file.bytes);
    const bootId = readBootId();
    const { done, shown } = readRecord(recordPath, file.bytes, size, bootId);
    const record = new RangeRecord(recordPath, file.bytes, bootId, done, shown);
    return new Part(handle, record, file, blob, onBytes, done, shown);
  }

  private constructor(
    handle: FileHandle,
    record: RangeRecord,
    file: RepoFile,
    blob: string,
    onBytes: (bytesHere: number, received: number) => void,
    done: RangeSet,
    shown: number,
  ) {
    this.file = file;
    this.done = done;
    this.#handle = handle;
    this.#blob = blob;
    this.#record = record;
    this.#onBytes = onBytes;
    this.#suspects = new RangeSet(done.list());
    this.#shown = shown;
    this.#hash = this.#startHash();
    this.#show(0);
  }

  write(bytes: Uint8Array, position: number): void {
    for (let written = 0; written < bytes.byteLength; ) {
      written += writeSync(this.#handle.fd, bytes, written, bytes.byteLength - written, position + written);
    }
  }

  /** `range` has been written; `received` bytes came over the line since the last call. */
  land(range: Range, received: number): void {
    if (range.end > range.start) {
      this.#record.add(range);
      this.done.add(range);
      this.#hash.follow(this.done.prefix);
      this.#unsyncedBytes += range.end - range.start;
      if (this.#unsyncedBytes >= syncEveryBytes && this.#syncing === null) this.#startSync();
    }
    this.#show(received);
  }

  suspect(range: Range): void {
    this.#suspects.add(range);
  }

  /** What a wrong hash can be blamed on without fetching everything again; null when that would be everything. */
  suspects(): readonly Range[] | null {
    const { bytes } = this.#suspects;
    return bytes > 0 && bytes < this.file.bytes ? this.#suspects.list() : null;
  }

  /** These bytes have to be fetched again. */
  forget(ranges: readonly Range[]): void {
    for (const range of ranges) this.done.remove(range);
    for (const range of this.#suspects.list()) this.#suspects.remove(range);
    this.#record.replace(this.done, this.#shown);
    this.#hash = this.#startHash();
    this.#show(0);
  }

  /** The hash of the whole file, once it is whole. */
  async digest(signal: AbortSignal): Promise<string> {
    return await this.#hash.digest(signal);
  }

  async sync(): Promise<void> {
    await this.#syncing;
    await this.#handle.sync();
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#syncing]);
    this.#record.close();
    await this.#handle.close();
  }

  /** Errors wait for `sync`, which meets them again or passes them on. */
  #startSync(): void {
    const ranges = [...this.done.list()];
    this.#unsyncedBytes = 0;
    const work = this.#handle.datasync().then(() => {
      this.#record.addDurable(ranges);
      this.#syncing = null;
    });
    work.catch(() => undefined);
    this.#syncing = work;
  }

  #startHash(): PrefixHash {
    const hash = new PrefixHash(this.#handle.fd, this.file.bytes, newHash(this.file, this.#blob));
    hash.follow(this.done.prefix);
    return hash;
  }

  /** What was shown once is never taken back, also not by a later process: the record remembers it. */
  #show(received: number): void {
    this.#shown = Math.max(this.#shown, this.done.bytes);
    this.#onBytes(this.#shown, received);
  }
}

/** sha256 of the content for large files; for the others git's blob id, which covers a header with the length. */
function newHash(file: RepoFile, blob: string): Hash {
  if (file.sha256 !== null) return createHash("sha256");
  return startGitBlob(blob.length === 64 ? "sha256" : "sha1", file.bytes);
}

/** A hash that yields git's blob id once `bytes` bytes of content were added. */
export function startGitBlob(algorithm: "sha1" | "sha256", bytes: number): Hash {
  return createHash(algorithm).update(`blob ${bytes}\0`);
}
