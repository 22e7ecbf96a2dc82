/**
 * Sets of bytes of one file: which are on disk, which are being fetched, which are still to come. Pure. Knows nothing
 * of files or connections.
 */

/** From `start` up to but without `end`, in bytes. */
export type Range = { readonly start: number; readonly end: number };

/** Ranges that neither touch nor overlap, in order: every set of bytes has exactly one such list. */
export class RangeSet {
  #ranges: Range[] = [];

  constructor(ranges: Iterable<Range> = []) {
    for (const range of ranges) this.add(range);
  }

  /** The ranges, merged and in order. */
  list(): readonly Range[] {
    return this.#ranges;
  }

  get bytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Bytes from the beginning of the file on that are all there. */
  get prefix(): number {
    const first = this.#ranges[0];
    return first?.start === 0 ? first.end : 0;
  }

  add({ start, end }: Range): void {
    if (end <= start) return;
    const before = this.#ranges.filter((range) => range.end < start);
    const after = this.#ranges.filter((range) => range.start > end);
    const touching = this.#ranges.slice(before.length, this.#ranges.length - after.length);
    const merged = {
      start: Math.min(start, touching[0]?.start ?? start),
      end: Math.max(end, touching.at(-1)?.end ?? end),
    };
    this.#ranges = [...before, merged, ...after];
  }

  remove({ start, end }: Range): void {
    if (end <= start) return;
    this.#ranges = this.#ranges.flatMap((range) => {
      if (range.end <= start || range.start >= end) return [range];
      return [
        { start: range.start, end: Math.min(range.end, start) },
        { start: Math.max(range.start, end), end: range.end },
      ].filter((rest) => rest.end > rest.start);
    });
  }

  /** What of `[0, size)` is not in the set, in order. */
  gaps(size: number): Range[] {
    const found: Range[] = [];
    let at = 0;
    for (const { start, end } of this.#ranges) {
      if (start >= size) break;
      if (start > at) found.push({ start: at, end: start });
      at = end;
    }
    if (at < size) found.push({ start: at, end: size });
    return found;
  }

  /** The first range of at most `maxBytes` that is not in the set, null when all of `[0, size)` is. */
  firstGap(size: number, maxBytes: number): Range | null {
    const gap = this.gaps(size)[0];
    return gap === undefined ? null : { start: gap.start, end: Math.min(gap.end, gap.start + maxBytes) };
  }
}
