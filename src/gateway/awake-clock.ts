/**
 * A clock that stands still while this process does: stopped by a signal, in a machine that sleeps, or kept from running
 * by others. What others did not do meanwhile says nothing about them: they may have stood still too, and what they sent could
 * not be read. Owns how late is too late; must not know what is waited for.
 */

/** Looks of a busy process may be this late. */
const patienceMs = 1000;

export class AwakeClock {
  readonly #source: () => number;
  readonly #everyMs: number;
  #lastMs: number;
  #sleptMs = 0;
  /** How often it stood still. */
  #sleeps = 0;

  /**
   * @param source milliseconds of a clock that is never set
   * @param everyMs while something is waited for, somebody asks at least this often
   */
  constructor(source: () => number, everyMs: number) {
    this.#source = source;
    this.#everyMs = everyMs;
    this.#lastMs = source();
  }

  now(): number {
    const nowMs = this.#source();
    const passedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (passedMs > this.#everyMs + patienceMs) {
      this.#sleptMs += passedMs - this.#everyMs;
      this.#sleeps += 1;
    }
    return nowMs - this.#sleptMs;
  }

  /** How long it has stood still so far, in milliseconds. */
  stoodStillMs(): number {
    this.now();
    return this.#sleptMs;
  }

  /** How often it has stood still so far. */
  sleeps(): number {
    this.now();
    return this.#sleeps;
  }
}
