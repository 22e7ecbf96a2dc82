/**
 * The beginning of an answer that another instance was writing when it died: what the client has of it, and what is new in
 * a text that repeats it. Pure; how an answer goes on from there is answer.ts's.
 */

export type Begun = {
  readonly text: string;
  /** The text's tokens, which need not be those that were generated: other tokens may spell the same. */
  readonly tokens: readonly number[];
};

export const notBegun: Begun = { text: "", tokens: [] };

/** Takes from a text that comes in pieces what the client has already. */
export class SeenText {
  #left: string;

  constructor(text: string) {
    this.#left = text;
  }

  /** All of it has come again. */
  get isOver(): boolean {
    return this.#left === "";
  }

  /** What is new in the next piece; null when it is not what the client has. */
  take(piece: string): string | null {
    if (piece.length >= this.#left.length) {
      if (!piece.startsWith(this.#left)) return null;
      const fresh = piece.slice(this.#left.length);
      this.#left = "";
      return fresh;
    }
    if (!this.#left.startsWith(piece)) return null;
    this.#left = this.#left.slice(piece.length);
    return "";
  }
}
