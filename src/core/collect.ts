/**
 * Which weights in the cache may go: what Berth wrote, that no deployment needs, least recently used first, until what
 * is left fits. Pure; deletes nothing.
 */

export type StoredBlob = {
  readonly repo: string;
  readonly blob: string;
  readonly bytes: number;
  /** When a deployment or a person last asked for it, milliseconds since the epoch. */
  readonly usedAtMs: number;
  /** Written by Berth; what other programs put into a shared cache is theirs to remove. */
  readonly isOwn: boolean;
  readonly isNeeded: boolean;
};

/** @param keepBytes room for what Berth wrote; what is needed stays also where it is more than that */
export function planCollection(blobs: readonly StoredBlob[], keepBytes: number): readonly StoredBlob[] {
  const own = blobs.filter(({ isOwn }) => isOwn);
  let left = own.reduce((sum, { bytes }) => sum + bytes, 0);
  const removed: StoredBlob[] = [];
  const byUse = own
    .filter(({ isNeeded }) => !isNeeded)
    // Of what was used together the small files first: half a repository is of no use without them.
    .sort((a, b) => a.usedAtMs - b.usedAtMs || a.bytes - b.bytes);
  for (const blob of byUse) {
    if (left <= keepBytes) break;
    removed.push(blob);
    left -= blob.bytes;
  }
  return removed;
}
