/**
 * A distribution of durations in little space: counts in bins that grow by a fixed ratio, so that any quantile is known
 * to within 1 % of its value, however many values went in, and sketches of two hours merge into that of both. Count and
 * sum are kept exactly, so a mean has no error. Pure; plain values.
 */

export type Sketch = {
  readonly count: number;
  readonly sum: number;
  /** Values from `ratio ** (bin - 1)` (not included) to `ratio ** bin` (included); zero and less have the bin `zeroBin`. */
  readonly bins: ReadonlyMap<number, number>;
};

/** A quantile is at most this part of itself away from the truth. */
export const sketchError = 0.01;
const ratio = (1 + sketchError) / (1 - sketchError);
const logOfRatio = Math.log(ratio);
/** Smaller values count as zero; milliseconds are not measured finer. */
const smallest = 1e-3;
/** Larger ones count as this: 30 years in milliseconds. It bounds the number of bins to about 1,700. */
const largest = 1e12;
export const zeroBin = -1_000_000;

export const emptySketch: Sketch = { count: 0, sum: 0, bins: new Map() };

/** A sketch of these values. */
export function sketchOf(values: Iterable<number>): Sketch {
  let count = 0;
  let sum = 0;
  const bins = new Map<number, number>();
  for (const value of values) {
    const bin = binOf(value);
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
    count += 1;
    sum += value;
  }
  return { count, sum, bins };
}

export function mergeSketches(a: Sketch, b: Sketch): Sketch {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const bins = new Map(a.bins);
  for (const [bin, count] of b.bins) bins.set(bin, (bins.get(bin) ?? 0) + count);
  return { count: a.count + b.count, sum: a.sum + b.sum, bins };
}

/** 0 where there is nothing. */
export function meanOf({ count, sum }: Sketch): number {
  return count === 0 ? 0 : sum / count;
}

/**
 * The smallest value that at least this share of all values does not exceed; 0 where there is nothing.
 * @param share above 0, at most 1
 */
export function quantileOf({ count, bins }: Sketch, share: number): number {
  let left = Math.ceil(count * share);
  for (const bin of [...bins.keys()].sort((a, b) => a - b)) {
    left -= bins.get(bin) ?? 0;
    if (left <= 0) return middleOf(bin);
  }
  return 0;
}

function binOf(value: number): number {
  if (!(value >= smallest)) return zeroBin;
  return Math.ceil(Math.log(Math.min(value, largest)) / logOfRatio);
}

/** The value of a bin that is nearest, in proportion, to both its ends. */
function middleOf(bin: number): number {
  return bin === zeroBin ? 0 : (2 * ratio ** bin) / (ratio + 1);
}
