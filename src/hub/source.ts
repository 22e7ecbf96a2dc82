/** Where the bytes of a file come from: what an endpoint and a shipped repository have in common for the downloader. */
import type { RepoFile } from "../core/deployment.ts";

export type OpenedFile = {
  /** Where `body` begins: the offset that was asked for, or 0 when the source cannot start there. */
  readonly offset: number;
  /** Length of the whole file as the source says it, null when it does not. */
  readonly bytesTotal: number | null;
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets go of a body that is not going to be read. */
  close(): void;
};

/** Opens a file at an offset in bytes. Throws Hiccup for what may pass, HubError for what will not. */
export type OpenFile = (file: RepoFile, offset: number, signal: AbortSignal) => Promise<OpenedFile>;

/** Reads bytes `start` to `end` (not included) of a file. Throws as OpenFile does. */
export type ReadRange = (
  file: RepoFile,
  start: number,
  end: number,
  signal: AbortSignal,
) => Promise<Uint8Array>;
