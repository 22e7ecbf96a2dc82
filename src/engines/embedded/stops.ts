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

  /** Takes the next piece; returns what may be shown now and whether a stop string was met. */
  push(piece: string): { text: string; isStopped: boolean } {
    const text = this.#held + piece;
    let cut = -1;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at !== -1 && (cut === -1 || at < cut)) cut = at;
    }
    if (cut !== -1) {
      this.#held = "";
      return { text: text.slice(0, cut), isStopped: true };
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - keep);
    return { text: text.slice(0, text.length - keep), isStopped: false };
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
