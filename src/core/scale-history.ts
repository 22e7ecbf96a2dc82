/**
 * How much work a deployment had lately, second by second, so that scaling can be slow to give up and see what grows.
 * Holds each level until the next is noted; bounded; forgets what is older than `keptMs`. Kept in memory alone: after a restart
 * it begins anew, and who reads it waits until it has seen enough. Decides nothing.
 */

import { DemandHistory } from "./scale-demand.ts";

const bucketMs = 2_000;

type Bucket = { readonly startMs: number; peak: number; lasting: number; area: number };

export class WorkHistory {
  readonly #keptMs: number;
  /** The same, coarser and for longer. */
  readonly demand = new DemandHistory();
  #buckets: Bucket[] = [];
  #level = 0;
  #atMs: number | null = null;
  #lineSinceMs: number | null = null;

  constructor(keptMs = 1_800_000) {
    this.#keptMs = keptMs;
  }

  /**
   * From `nowMs` on there is this much work. A time before the last one counts as that: clocks are set back.
   * @param arrived as in `DemandHistory.note`
   */
  note(nowMs: number, level: number, arrived: number | null = null): void {
    this.demand.note(nowMs, level, arrived);
    this.#fill(nowMs);
    this.#level = level;
    const last = this.#buckets.at(-1);
    if (last !== undefined) last.peak = Math.max(last.peak, level);
  }

  /** Whether somebody waits from `nowMs` on. */
  noteLine(nowMs: number, isLine: boolean): void {
    this.#lineSinceMs = isLine ? Math.min(nowMs, this.#lineSinceMs ?? nowMs) : null;
  }

  /** Since when somebody has been waiting all the time; null when nobody is. */
  get lineSinceMs(): number | null {
    return this.#lineSinceMs;
  }

  /** There is so much work that does not go away by itself. */
  noteLasting(nowMs: number, level: number): void {
    this.#fill(nowMs);
    const last = this.#buckets.at(-1);
    if (last !== undefined) last.lasting = Math.max(last.lasting, level);
  }

  /** The most work of that kind within the window. */
  lasting(nowMs: number, windowMs: number): number {
    return this.#most(nowMs, windowMs, ({ lasting }) => lasting);
  }

  /** What is expected counts for the peak alone. */
  expect(nowMs: number, level: number): void {
    this.#fill(nowMs);
    const last = this.#buckets.at(-1);
    if (last !== undefined) last.peak = Math.max(last.peak, level);
  }

  /** The most there was, or was expected, within the window; at least what there is. */
  peak(nowMs: number, windowMs: number): number {
    return Math.max(
      this.#level,
      this.#most(nowMs, windowMs, ({ peak }) => peak),
    );
  }

  /** When the last bucket with more than `level` leaves the window; null when none is in it. */
  dropsAtMs(windowMs: number, level: number): number | null {
    const last = this.#buckets.findLast((bucket) => bucket.peak > level);
    return last === undefined ? null : last.startMs + bucketMs + windowMs;
  }

  /** The mean between two times that lie in the past; what was not seen counts as nothing. */
  mean(fromMs: number, toMs: number): number {
    this.#fill(toMs);
    let area = 0;
    for (let at = this.#buckets.length - 1; at >= 0; at -= 1) {
      const bucket = this.#buckets[at];
      if (bucket === undefined || bucket.startMs + bucketMs <= fromMs) break;
      if (bucket.startMs < toMs) area += bucket.area;
    }
    return toMs > fromMs ? area / (toMs - fromMs) : this.#level;
  }

  #most(nowMs: number, windowMs: number, of: (bucket: Bucket) => number): number {
    let most = 0;
    for (let at = this.#buckets.length - 1; at >= 0; at -= 1) {
      const bucket = this.#buckets[at];
      if (bucket === undefined || bucket.startMs + bucketMs <= nowMs - windowMs) break;
      most = Math.max(most, of(bucket));
    }
    return most;
  }

  #fill(nowMs: number): void {
    if (this.#atMs !== null && nowMs - this.#atMs > this.#keptMs) {
      this.#buckets = [];
      this.#atMs = nowMs - this.#keptMs;
    }
    let at = this.#atMs ?? nowMs;
    do {
      const startMs = Math.floor(at / bucketMs) * bucketMs;
      let bucket = this.#buckets.at(-1);
      if (bucket === undefined || bucket.startMs < startMs) {
        bucket = { startMs, peak: this.#level, lasting: 0, area: 0 };
        this.#buckets.push(bucket);
      }
      const untilMs = Math.min(Math.max(nowMs, at), startMs + bucketMs);
      bucket.area += this.#level * (untilMs - at);
      at = untilMs;
    } while (at < nowMs);
    this.#atMs = at;
    const oldestMs = at - this.#keptMs;
    if ((this.#buckets[0]?.startMs ?? oldestMs) < oldestMs - this.#keptMs / 4) {
      this.#buckets = this.#buckets.filter(({ startMs }) => startMs + bucketMs > oldestMs);
    }
  }
}
