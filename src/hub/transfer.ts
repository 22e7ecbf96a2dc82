/**
 * One file to bring, as plain data that can be sent to another thread, and what a thread needs to bring it. Puts
 * endpoint or folder, cache and downloader together; decides nothing itself.
 */
import type { RepoFile } from "../core/deployment.ts";
import type { Clock } from "../ports/clock.ts";
import { openBuiltin } from "./builtin.ts";
import { Cache, type Disk } from "./cache.ts";
import { downloadBlob } from "./download.ts";
import { Endpoint } from "./endpoint.ts";
import type { LaneLimits, Share } from "./lanes.ts";
import type { OpenFile } from "./source.ts";

export type Transfer = {
  /** `owner/name` */
  readonly repo: string;
  readonly commit: string;
  readonly file: RepoFile;
  /** Name of the blob: the hash the file must have. */
  readonly blob: string;
  /** A folder of this machine that holds the repository, null when the endpoint has it. */
  readonly folder: string | null;
  readonly token: string | null;
};

export type TransferSettings = {
  /** Folder of the cache. */
  readonly cacheRoot: string;
  readonly endpoint: string;
  readonly allowPrivateRedirects: boolean;
  readonly limits: LaneLimits & {
    readonly connectTimeoutMs: number;
    readonly headersTimeoutMs: number;
    readonly idleTimeoutMs: number;
    readonly downloadAttempts: number;
    readonly firstWaitMs: number;
    readonly maxWaitMs: number;
    readonly minFreeBytes: number;
  };
};

export type TransferPorts = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly disk: Disk;
};

export type RunTransfer = (
  transfer: Transfer,
  share: Share,
  onBytes: (bytesHere: number, received: number) => void,
  signal: AbortSignal,
) => Promise<void>;

/** Rejects with HubError when a file cannot be brought, with the signal's reason when aborted. */
export function transferRunner(settings: TransferSettings, ports: TransferPorts): RunTransfer {
  const { limits, endpoint: url, allowPrivateRedirects, cacheRoot } = settings;
  const { clock, random, disk } = ports;
  const { firstWaitMs, maxWaitMs, minFreeBytes } = limits;
  const rule = { attempts: limits.downloadAttempts, firstWaitMs, maxWaitMs, clock, random };
  const cache = new Cache(cacheRoot);
  const endpoint = new Endpoint({ ...limits, endpoint: url, allowPrivateRedirects }, rule);

  return async ({ repo, commit, file, blob, folder, token }, share, onBytes, signal) => {
    const open: OpenFile = folder === null ? endpoint.opener(repo, commit, token) : openBuiltin(repo, folder);
    const host = folder === null ? endpoint.host : "Berth";
    const job = {
      repo,
      file,
      blob,
      open,
      host,
      cache,
      disk,
      rule,
      lanes: limits,
      share,
      minFreeBytes,
      onBytes,
    };
    await downloadBlob(job, signal);
  };
}
