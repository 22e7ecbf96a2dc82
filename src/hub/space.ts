/**
 * Room on the disk that downloads under way still need: what one of them was promised is not promised to another. Pure
 * bookkeeping; whoever asks brings the free space along.
 */

export type SpaceLedger = {
  /** Bytes promised to downloads other than these. */
  promisedToOthers(keys: readonly string[]): number;
  /** Promises room; several may hold the same key, which needs its room once. Returns the function that lets go. */
  claim(needs: ReadonlyMap<string, number>): () => void;
  /** So many bytes of `key` are still to be written. */
  update(key: string, bytes: number): void;
};

export function createSpaceLedger(): SpaceLedger {
  const claims = new Map<string, { bytes: number; holders: number }>();

  return {
    promisedToOthers(keys) {
      let sum = 0;
      for (const [key, { bytes }] of claims) if (!keys.includes(key)) sum += bytes;
      return sum;
    },
    claim(needs) {
      for (const [key, bytes] of needs) {
        const known = claims.get(key);
        claims.set(key, { bytes: known?.bytes ?? bytes, holders: (known?.holders ?? 0) + 1 });
      }
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        for (const key of needs.keys()) {
          const claim = claims.get(key);
          if (claim === undefined) continue;
          claim.holders -= 1;
          if (claim.holders === 0) claims.delete(key);
        }
      };
    },
    update(key, bytes) {
      const claim = claims.get(key);
      if (claim !== undefined) claim.bytes = bytes;
    },
  };
}
