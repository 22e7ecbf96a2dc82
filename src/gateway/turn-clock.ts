/**
 * The time of a turn of the event loop: asked for at its first question and the same until its end. A request asks a dozen
 * times, and what happens within one turn happens at once. Owns how old an answer may be: no older than the turn.
 */
export class TurnClock {
  readonly #read: () => number;
  #nowMs: number | null = null;
  readonly #forget = () => {
    this.#nowMs = null;
  };

  /** @param read milliseconds */
  constructor(read: () => number) {
    this.#read = read;
  }

  readonly now = (): number => {
    if (this.#nowMs === null) {
      this.#nowMs = this.#read();
      setImmediate(this.#forget);
    }
    return this.#nowMs;
  };
}
