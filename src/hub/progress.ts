/**
 * Progress of one fetch as values: what is done, how fast, which files are under way. Pure but for the counters it
 * keeps; the time is passed in. Never goes back, also when a damaged file is fetched anew.
 */
import type { RepoFile } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";

/** The rate is that of the last seconds, milliseconds. */
const windowMs = 5000;
const samplesInWindow = 20;

export type Progress = {
  /** `bytesHere` of `path` are on disk, `received` of them came over the line just now. */
  moved(path: string, bytesHere: number, received: number): void;
  started(path: string): void;
  finished(path: string): void;
  /** The state at `nowMs`, milliseconds since the epoch; not before the time of an earlier call. */
  at(nowMs: number): DownloadProgress;
};

export function createProgress(files: readonly RepoFile[]): Progress {
  const bytesTotal = files.reduce((sum, file) => sum + file.bytes, 0);
  const here = new Map<string, number>();
  const current = new Set<string>();
  let onDisk = 0;
  let highest = 0;
  let receivedTotal = 0;
  let samples: { atMs: number; received: number }[] = [];

  function rateAt(nowMs: number): number {
    const newest = samples.at(-1);
    // A clock that was set back begins a new window rather than a negative rate.
    if (newest === undefined || nowMs < newest.atMs) samples = [{ atMs: nowMs, received: receivedTotal }];
    else if (nowMs - newest.atMs >= windowMs / samplesInWindow) {
      samples.push({ atMs: nowMs, received: receivedTotal });
    }
    while (samples.length > 1 && nowMs - (samples[1]?.atMs ?? nowMs) >= windowMs) samples.shift();
    const oldest = samples[0];
    if (oldest === undefined || nowMs === oldest.atMs) return 0;
    return Math.round(((receivedTotal - oldest.received) * 1000) / (nowMs - oldest.atMs));
  }

  return {
    moved(path, bytesHere, received) {
      onDisk += bytesHere - (here.get(path) ?? 0);
      here.set(path, bytesHere);
      receivedTotal += received;
      highest = Math.max(highest, Math.min(onDisk, bytesTotal));
    },
    started: (path) => void current.add(path),
    finished: (path) => void current.delete(path),
    at: (nowMs) => ({
      bytesDone: highest,
      bytesTotal,
      bytesPerS: rateAt(nowMs),
      currentFiles: [...current],
    }),
  };
}
