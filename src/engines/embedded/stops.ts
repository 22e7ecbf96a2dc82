/**
 * Cuts generated text at the first stop string, also where it spans several tokens: text that could still become a stop
 * string is held back until it is known. Pure state, no I/O. Never lets out any part of a stop string that was met.
 */

export class StopCutter {
  readonly #stops: readonly string[];
  #held = "";

  /** Empty strings are not allowed. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Takes the next piece; returns what may be shown now and the stop string that was met, null for none. */
  push(piece: string): { text: string; met: string | null } {
    const text = this.#held + piece;
    let first: { at: number; stop: string } | null = null;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at !== -1 && (first === null || at < first.at)) first = { at, stop };
    }
    if (first !== null) {
      this.#held = "";
      return { text: text.slice(0, first.at), met: first.stop };
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), met: null };
  }

  /** What was held back, once nothing more comes. */
  end(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}

/** Length of the longest end of `text` that is a beginning (not the whole) of `pattern`. */
export function overlap(text: string, pattern: string): number {
  for (let length = Math.min(text.length, pattern.length - 1); length > 0; length--) {
    if (text.endsWith(pattern.slice(0, length))) return length;
  }
  return 0;
}
