/**
 * How fast a deployment works its line off, learned from the requests it has served: what a newcomer's wait would be, and
 * what a request is likely to cost. Pure. Must not decide who waits.
 */

/** Weight of the newest request in the averages: about the last thirty count. */
const newestWeight = 1 / 30;
/** Requests before the averages are believed. */
const enough = 5;
/** Tokens of an answer while nothing is known. */
const firstGuessTokens = 256;

/** What was learned, for the next process that goes by it. */
export type LearnedRate = {
  readonly served: number;
  readonly meanMs: number;
  readonly counted: number;
  readonly meanOutput: number;
};

export class ServiceRate {
  #served = 0;
  #meanMs = 0;
  #counted = 0;
  #meanOutput = firstGuessTokens;

  /** A slot was taken this long. */
  noteService(durationMs: number): void {
    this.#served += 1;
    this.#meanMs += (durationMs - this.#meanMs) * Math.max(newestWeight, 1 / this.#served);
  }

  /** A request took this many tokens beyond its prompt, as far as that can be told. */
  noteOutput(tokens: number): void {
    this.#counted += 1;
    this.#meanOutput += (tokens - this.#meanOutput) * Math.max(newestWeight, 1 / this.#counted);
  }

  get learned(): LearnedRate {
    const [served, meanMs, counted, meanOutput] = [
      this.#served,
      this.#meanMs,
      this.#counted,
      this.#meanOutput,
    ];
    return { served, meanMs, counted, meanOutput };
  }

  /** Goes by what another has learned, where that is more than what is known here. */
  adopt({ served, meanMs, counted, meanOutput }: LearnedRate): void {
    if (served > this.#served) [this.#served, this.#meanMs] = [served, meanMs];
    if (counted > this.#counted) [this.#counted, this.#meanOutput] = [counted, meanOutput];
  }

  /** Tokens that an answer is likely to have. */
  get outputTokens(): number {
    return this.#meanOutput;
  }

  /** Milliseconds a slot is taken by one request; null while too few were served. */
  get serviceMs(): number | null {
    return this.#served < enough ? null : this.#meanMs;
  }

  /** Milliseconds until a request that comes in behind `ahead` others has a slot; null when unknown. */
  waitMs(ahead: number, slots: number): number | null {
    const { serviceMs } = this;
    return serviceMs === null || slots <= 0 ? null : ((ahead + 1) * serviceMs) / slots;
  }
}
