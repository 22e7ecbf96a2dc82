/**
 * A hub whose cache is looked after: what is there is verified before it is used where others write too, room is made
 * before something is fetched, and the ledger learns what was brought. Adds to the hub it is given; fetches nothing
 * itself.
 */
import type { RepoFile } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import type { Clock } from "../ports/clock.ts";
import type { Hub, HubOutcome } from "../ports/hub.ts";
import type { Keeper } from "./keeper.ts";
import { blobName, plainRepo } from "./names.ts";

/** @param maxBytes BERTH_HUB_MAX_GB in bytes, null for no limit */
export function keepHub(hub: Hub, keeper: Keeper, clock: Clock, maxBytes: number | null): Hub {
  async function fetch(
    repo: string,
    commit: string,
    files: readonly RepoFile[],
    token: string | null,
    onProgress: (progress: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<HubOutcome<null>> {
    const plain = plainRepo(repo);
    const blobs = files.map(blobName);
    // The hub refuses these in its own words.
    if (plain === null || blobs.includes(null))
      return await hub.fetch(repo, commit, files, token, onProgress, signal);
    const release = keeper.hold(plain, blobs as string[]);
    // One time for all: what is used together is collected together.
    const usedAtMs = clock.now();
    try {
      const missing: RepoFile[] = [];
      for (const file of files) {
        const isHere = await keeper.admit(plain, blobName(file) ?? "", file.bytes, usedAtMs, signal);
        if (!isHere) missing.push(file);
      }
      const neededBytes = missing.reduce((sum, { bytes }) => sum + bytes, 0);
      if (maxBytes !== null && neededBytes > 0) await keeper.collect(Math.max(0, maxBytes - neededBytes));
      let outcome = await hub.fetch(repo, commit, files, token, onProgress, signal);
      if (!outcome.ok && outcome.failure.code === "disk_full" && (await keeper.collect(0)).removedBytes > 0) {
        outcome = await hub.fetch(repo, commit, files, token, onProgress, signal);
      }
      if (outcome.ok)
        for (const file of missing) await keeper.noteBrought(plain, blobName(file) ?? "", usedAtMs);
      return outcome;
    } finally {
      release();
    }
  }

  return {
    fetch,
    list: (weights, token, signal) => hub.list(weights, token, signal),
    inspect: (weights, token, signal, listed) => hub.inspect(weights, token, signal, listed),
    changed: (repo, weights) => hub.changed(repo, weights),
    snapshotPath: (repo, commit) => hub.snapshotPath(repo, commit),
  };
}
