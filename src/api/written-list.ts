/**
 * A list as an answer of which each element is JSON text already, checked when it was written. It leaves in pieces as its
 * reader takes them: a list of megabytes is never in memory as a whole.
 */
import { Readable } from "node:stream";

/** Characters of a piece, about; small enough for the memory that is cleared often. */
const pieceChars = 64 * 1024;

export class WrittenList {
  readonly #elements: readonly string[];

  constructor(elements: readonly string[]) {
    this.#elements = elements;
  }

  stream(): Readable {
    return Readable.from(this.#pieces(), { objectMode: false, highWaterMark: 2 * pieceChars });
  }

  *#pieces(): Generator<Buffer> {
    let piece = "[";
    for (const [at, element] of this.#elements.entries()) {
      piece += at === 0 ? element : `,${element}`;
      if (piece.length < pieceChars) continue;
      yield Buffer.from(piece);
      piece = "";
    }
    yield Buffer.from(`${piece}]`);
  }
}
