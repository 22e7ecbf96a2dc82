/**
 * Every bound the hub keeps to, with its default: times, tries, widths, room on the disk. Values alone.
 */
import type { LaneLimits } from "./lanes.ts";

export type HubLimits = LaneLimits & {
  /** DNS, TCP and TLS together, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Until the headers of an answer are there, milliseconds. */
  readonly headersTimeoutMs: number;
  /** Without a byte of a body, milliseconds. */
  readonly idleTimeoutMs: number;
  /** Tries in a row that brought nothing. */
  readonly attempts: number;
  /** The same for the bytes of a file: more, as the endpoint has just listed it and an outage is likelier to pass. */
  readonly downloadAttempts: number;
  /** Upper bound of the first wait between tries, doubled for each further one, milliseconds. */
  readonly firstWaitMs: number;
  /** No wait is longer, milliseconds. */
  readonly maxWaitMs: number;
  /** Files of one fetch that are brought at the same time. */
  readonly parallelFiles: number;
  /** Connections of all downloads together. */
  readonly maxConnections: number;
  /** Bytes that must stay free on the disk of the cache. */
  readonly minFreeBytes: number;
};

export const defaultHubLimits: HubLimits = {
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  attempts: 5,
  downloadAttempts: 7,
  firstWaitMs: 500,
  maxWaitMs: 60_000,
  parallelFiles: 8,
  maxConnections: 16,
  chunkBytes: 16 * 1024 * 1024,
  minChunkBytes: 4 * 1024 * 1024,
  floorBytesPerS: 16 * 1024,
  slowWindowMs: 15_000,
  minFreeBytes: 64 * 1024 * 1024,
};
