/**
 * The bytes of a file while it is still being fetched: given as they arrive, the last of them only once the file was
 * verified, so that nobody holds a whole file that is wrong. What was given already cannot be taken back: when it turns
 * out to be wrong, the stream fails. Must not fetch; it watches the fetch it is given.
 */
import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { RepoFile } from "../../core/deployment.ts";
import type { Clock } from "../../ports/clock.ts";
import type { HubOutcome } from "../../ports/hub.ts";
import type { Cache } from "../cache.ts";

const pieceBytes = 256 * 1024;
/** Between two looks at what has arrived, milliseconds. */
const lookEveryMs = 50;

export type Arrival = {
  readonly repo: string;
  readonly file: RepoFile;
  readonly blob: string;
  readonly cache: Cache;
  readonly clock: Clock;
  /** The fetch under way. */
  readonly fetch: WatchedFetch;
};

/** What came is not what the file is, or the file cannot be brought. */
export class BrokenArrival extends Error {}

/** Bytes `start` to `end` (not included). Throws BrokenArrival, or the signal's reason. */
export async function* readArriving(
  job: Arrival,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { cache, repo, blob, file, clock } = job;
  const end_ = job.fetch;
  const isWhole = start === 0 && end === file.bytes;
  const hash = isWhole ? hashOf(file, blob) : null;
  let handle: FileHandle | null = null;
  try {
    let at = start;
    // The last byte waits for the verification.
    while (end_.outcome === null && at < end - 1) {
      const arrived = await cache.arrivedBytes(repo, blob, file.bytes);
      if (handle !== null && arrived < at && end_.outcome === null)
        throw new BrokenArrival("it is fetched anew");
      const ready = Math.min(arrived, end - 1);
      if (ready > at) handle ??= await cache.openArriving(repo, blob);
      const piece =
        handle === null || ready <= at ? null : await readPiece(handle, at, Math.min(ready, at + pieceBytes));
      if (piece === null) {
        await Promise.race([clock.sleep(lookEveryMs, signal), end_.ended]);
        signal.throwIfAborted();
        continue;
      }
      at += piece.byteLength;
      hash?.update(piece);
      yield piece;
    }
    await end_.ended;
    signal.throwIfAborted();
    if (end_.outcome?.ok !== true) throw new BrokenArrival("it cannot be brought");
    for await (const piece of readBlob(cache.blobPath(repo, blob), at, end)) {
      hash?.update(piece);
      // Whatever was given while it arrived is what was verified, or this is not the end.
      at += piece.byteLength;
      if (at === end && hash !== null && hash.digest("hex") !== blob) {
        throw new BrokenArrival("what was given is not what was verified");
      }
      yield piece;
    }
  } finally {
    await handle?.close();
  }
}

/** Bytes `start` to `end` (not included) of a blob that is there. */
export async function* readBlob(path: string, start: number, end: number): AsyncGenerator<Uint8Array> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let at = start; at < end; ) {
      const piece = await readPiece(handle, at, Math.min(end, at + pieceBytes));
      if (piece === null) throw new BrokenArrival("the file has become shorter");
      at += piece.byteLength;
      yield piece;
    }
  } finally {
    await handle.close();
  }
}

async function readPiece(handle: FileHandle, start: number, end: number): Promise<Uint8Array | null> {
  const piece = Buffer.allocUnsafe(end - start);
  const { bytesRead } = await handle.read(piece, 0, piece.length, start);
  return bytesRead === 0 ? null : piece.subarray(0, bytesRead);
}

/** Null for a file named by a git id of repositories that use sha256: those are small, and verified by the fetch. */
function hashOf(file: RepoFile, blob: string): Hash | null {
  if (file.sha256 !== null) return createHash("sha256");
  return blob.length === 40 ? createHash("sha1").update(`blob ${file.bytes}\0`) : null;
}

export type WatchedFetch = {
  /** Null while it is under way. */
  readonly outcome: HubOutcome<null> | null;
  /** Rejects when the fetch failed on a defect, or was aborted. */
  readonly ended: Promise<void>;
};

/** Watches from the start: a reader may leave before it has read anything, and the fetch may fail after that. */
export function watchFetch(fetching: Promise<HubOutcome<null>>): WatchedFetch {
  const state: { outcome: HubOutcome<null> | null; ended: Promise<void> } = {
    outcome: null,
    ended: fetching.then((outcome) => {
      state.outcome = outcome;
    }),
  };
  // Whoever waits for `ended` meets the error; nobody may be waiting.
  state.ended.catch(() => undefined);
  return state;
}
