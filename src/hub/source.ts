/** Where the bytes of a file come from: what an endpoint and a shipped repository have in common for the downloader. */
import type { RepoFile } from "../core/deployment.ts";
import type { Range } from "./ranges.ts";

export type OpenedFile = {
  /** Where `body` begins: the start that was asked for, or 0 when the source only gives whole files. */
  readonly offset: number;
  /** Length of the whole file as the source says it, null when it does not. */
  readonly bytesTotal: number | null;
  /**
   * Hands the bytes on as they come, until the end or until `sink` answers false: enough. They are good only during the
   * call. Rejects with a Hiccup when the connection fails, and with what `sink` throws.
   */
  read(sink: (bytes: Uint8Array) => boolean): Promise<void>;
  /** Lets go of a body that is not going to be read. */
  close(): void;
};

/** Reads bytes `start` to `end` (not included) of a file. Throws as OpenFile does. */
export type ReadRange = (
  file: RepoFile,
  start: number,
  end: number,
  signal: AbortSignal,
) => Promise<Uint8Array>;
/** Opens a range of a file. Throws Hiccup for what may pass, HubError for what will not. */
export type OpenFile = (file: RepoFile, range: Range, signal: AbortSignal) => Promise<OpenedFile>;

/** The `read` of a source that has its bytes as a stream. */
export function readerOf(body: AsyncIterable<Uint8Array>): OpenedFile["read"] {
  return async (sink) => {
    for await (const bytes of body) if (!sink(bytes)) return;
  };
}
