/**
 * What tests of the hub need beside the stand-in: a hub that waits little, and the two calls in one. Holds no
 * assertions.
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { RepoFile } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import type { Clock } from "../ports/clock.ts";
import type { Hub, HubOutcome } from "../ports/hub.ts";
import { createHub, type HubOptions } from "./hub.ts";

/** Real time, but every wait is short: a back-off of a minute is over in milliseconds. */
export const hastyClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    await sleep(Math.min(ms, 5), undefined, signal === undefined ? {} : { signal }).catch(() => {
      throw signal?.reason;
    });
  },
};

export function openTestHub(
  home: string,
  endpoint: string,
  more: Partial<HubOptions> & { readonly limits?: HubOptions["limits"] } = {},
): Hub {
  return createHub({
    home,
    endpoint,
    allowPrivateRedirects: true,
    builtin: new Map(),
    chooseFiles: ({ files }) => ({ ok: true, value: { files, entryFile: files[0]?.path ?? "" } }),
    clock: hastyClock,
    threads: 0,
    ...more,
    limits: { minFreeBytes: 0, ...more.limits },
  });
}

export type Pulled = {
  readonly commit: string;
  readonly files: readonly RepoFile[];
  readonly progress: readonly DownloadProgress[];
};

/** Lists a repository and fetches every file, or those that `choose` takes. */
export async function pull(
  hub: Hub,
  repo: string,
  options: {
    readonly token?: string;
    readonly revision?: string;
    readonly signal?: AbortSignal;
    readonly choose?: (file: RepoFile) => boolean;
    readonly onProgress?: (progress: DownloadProgress) => void;
  } = {},
): Promise<HubOutcome<Pulled>> {
  const token = options.token ?? null;
  const signal = options.signal ?? new AbortController().signal;
  const listed = await hub.list({ repo, revision: options.revision ?? null }, token, signal);
  if (!listed.ok) return listed;
  const { commit } = listed.value;
  const files = listed.value.files.filter(options.choose ?? (() => true));
  const progress: DownloadProgress[] = [];
  const note = (now: DownloadProgress) => {
    progress.push(now);
    options.onProgress?.(now);
  };
  const fetched = await hub.fetch(repo, commit, files, token, note, signal);
  return fetched.ok ? { ok: true, value: { commit, files, progress } } : fetched;
}

export function sha256Of(content: Buffer | string): string {
  return createHash("sha256").update(content).digest("hex");
}

export function gitOidOf(content: Buffer | string): string {
  const bytes = Buffer.from(content);
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}
