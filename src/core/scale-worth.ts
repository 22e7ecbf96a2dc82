/**
 * How many instances are worth their GPUs, by what came lately. Pure. Replays the recent past for one instance, for two and so
 * on: what would not have found a slot in time is lost, and a further instance is worth it when it would have saved more than a
 * given part of what it can do. That is what a newsvendor does with papers: order until the last one is likely enough to be sold.
 * Must not know what there is now or how long a load takes.
 */

/** A request that waits no longer than this has lost nothing. */
const patienceMs = 2_000;
/** What is there is kept while it is worth this part of what a start has to be worth: a load is paid for and serves nobody. */
const keptFor = 1 / 2;

/** What would have been lost within a time, by the number of instances. Each is worked out when it is first asked for. */
export class Losses {
  readonly #needed: readonly number[];
  readonly #tickMs: number;
  readonly #slots: number;
  /** Slot-milliseconds, by count. */
  readonly #lostMs: number[] = [];
  /** Slot-milliseconds that one instance had to give. */
  readonly oneMs: number;

  /**
   * @param needed slot-milliseconds that were needed in each tick
   * @param slots of an instance, that are planned with
   */
  constructor(needed: readonly number[], tickMs: number, slots: number) {
    this.#needed = needed;
    this.#tickMs = tickMs;
    this.#slots = slots;
    this.oneMs = needed.length * tickMs * slots;
  }

  /** Slot-milliseconds that so many instances would not have begun in time. */
  lostMs(count: number): number {
    for (let next = this.#lostMs.length; next <= count; next += 1) this.#lostMs.push(this.#replay(next));
    return this.#lostMs[count] ?? 0;
  }

  #replay(count: number): number {
    const aTickMs = count * this.#slots * this.#tickMs;
    const heldMs = count * this.#slots * patienceMs;
    let waitingMs = 0;
    let lostMs = 0;
    for (const ms of this.#needed) {
      const leftMs = Math.max(0, waitingMs + ms - aTickMs);
      waitingMs = Math.min(heldMs, leftMs);
      lostMs += leftMs - waitingMs;
    }
    return lostMs;
  }
}

/**
 * From what there is to what is worth it: no change where neither a further start nor an end is.
 * @param part of its slots' time that an instance has to be needed for
 */
export function worthwhile(losses: Losses, part: number, live: number, most: number): number {
  const up = lastWorth(losses, part, most);
  return up > live ? up : Math.min(live, lastWorth(losses, part * keptFor, most));
}

/** What one more would have saved only ever shrinks with their number, so the first that is not worth it ends the search. */
function lastWorth(losses: Losses, part: number, most: number): number {
  let count = 0;
  while (count < most && losses.lostMs(count) - losses.lostMs(count + 1) > part * losses.oneMs) count += 1;
  return count;
}
