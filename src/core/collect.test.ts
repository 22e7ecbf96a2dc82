import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planCollection, type StoredBlob } from "./collect.ts";

const blob = fc.record({
  repo: fc.constantFrom("acme/a", "acme/b"),
  blob: fc.string({ minLength: 1, maxLength: 4 }),
  bytes: fc.nat(1000),
  usedAtMs: fc.nat(1000),
  isOwn: fc.boolean(),
  isNeeded: fc.boolean(),
});
const sum = (blobs: readonly StoredBlob[]) => blobs.reduce((total, { bytes }) => total + bytes, 0);

describe("collection", () => {
  test("never takes what is needed or what others wrote, and takes the least recently used first", () => {
    fc.assert(
      fc.property(fc.array(blob, { maxLength: 30 }), fc.nat(20_000), (blobs, keepBytes) => {
        const removed = planCollection(blobs, keepBytes);
        expect(removed.some(({ isNeeded, isOwn }) => isNeeded || !isOwn)).toBe(false);
        const kept = blobs.filter((one) => one.isOwn && !one.isNeeded && !removed.includes(one));
        for (const gone of removed)
          for (const stays of kept) expect(gone.usedAtMs).toBeLessThanOrEqual(stays.usedAtMs);
      }),
    );
  });

  test("ends as soon as the rest fits, and goes as far as it may where it cannot", () => {
    fc.assert(
      fc.property(fc.array(blob, { maxLength: 30 }), fc.nat(20_000), (blobs, keepBytes) => {
        const removed = planCollection(blobs, keepBytes);
        const own = blobs.filter(({ isOwn }) => isOwn);
        const left = sum(own) - sum(removed);
        if (left > keepBytes) expect(removed).toHaveLength(own.filter(({ isNeeded }) => !isNeeded).length);
        const last = removed.at(-1);
        if (last !== undefined) expect(left + last.bytes).toBeGreaterThan(keepBytes);
      }),
    );
  });
});
