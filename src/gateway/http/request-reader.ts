/**
 * Reads the requests of one connection out of the bytes that arrive, however they are cut. Pure. Owns where a head ends
 * and its bound; must not know what is done with a request. One request at a time: what stands behind one is the
 * caller's until it reads on.
 */
import { type BodyReader, createBodyReader } from "./body-reader.ts";
import { malformed, Refusal } from "./refusal.ts";
import { type HeaderLine, parseRequestHead, type RequestHead } from "./request-head.ts";

/** What hears of a request: its head, the pieces of its body as views of what came, its end. */
export type RequestEvents = {
  onHead(head: RequestHead): void;
  onPiece(piece: Buffer): void;
  onEnd(): void;
};

/** Largest head in bytes, its empty line left out. */
export const maxHeadBytes = 16_384;
const headEnd = Buffer.from("\r\n\r\n");
const cr = 0x0d;
const lf = 0x0a;
const letterA = 0x41;
const letterZ = 0x5a;
const nothing = Buffer.alloc(0);
const nothingKnown: readonly HeaderLine[] = [];
/** Longest head, in characters, whose lines a connection keeps for the next one. */
const maxKnown = 2048;
/** Heads that come in pieces begin in as much memory as most of them need. */
const firstHeldBytes = 1024;

export class RequestReader {
  readonly #events: RequestEvents;
  readonly #emit: (piece: Buffer) => void;
  /** The head as far as it has come, where it comes in pieces; longer than that by what may still come. */
  #held: Buffer = nothing;
  #heldBytes = 0;
  #body: BodyReader | null = null;
  /** Header lines of the last head. */
  #known = nothingKnown;

  constructor(events: RequestEvents) {
    this.#events = events;
    this.#emit = (piece) => events.onPiece(piece);
  }

  /** A request has begun and not ended. */
  get isWithin(): boolean {
    return this.#body !== null || this.#heldBytes > 0;
  }

  /**
   * Takes what arrived, from an offset on. Returns the offset behind what was taken: the end of `bytes`, or of a request.
   * Throws Refusal when it can be no request that is served; nothing can be read from there on.
   */
  read(bytes: Buffer, from: number): number {
    let at = from;
    if (this.#body === null) {
      at = this.#heldBytes === 0 ? this.#readHead(bytes, at) : this.#readHeldHead(bytes, at);
    }
    const body: BodyReader | null = this.#body;
    if (body === null) return at;
    at = body.read(bytes, at, this.#emit);
    if (body.isDone) {
      this.#body = null;
      this.#events.onEnd();
    }
    return at;
  }

  /** The usual case: the whole head has come at once. */
  #readHead(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(headEnd, from);
    if (end === -1 || end - from > maxHeadBytes) {
      refuseUnfinished(bytes, from, from, bytes.length);
      this.#hold(bytes, from, bytes.length);
      return bytes.length;
    }
    this.#takeHead(bytes.toString("latin1", from, end));
    return end + headEnd.length;
  }

  #readHeldHead(bytes: Buffer, from: number): number {
    const before = this.#heldBytes;
    this.#hold(bytes, from, Math.min(bytes.length, from + maxHeadBytes + headEnd.length - before));
    const held = this.#held.subarray(0, this.#heldBytes);
    // The end may have begun in what came before.
    const end = held.indexOf(headEnd, Math.max(0, before - headEnd.length + 1));
    if (end === -1) {
      refuseUnfinished(held, 0, before, before + bytes.length - from);
      return bytes.length;
    }
    this.#held = nothing;
    this.#heldBytes = 0;
    this.#takeHead(held.toString("latin1", 0, end));
    return from + end + headEnd.length - before;
  }

  #hold(bytes: Buffer, from: number, to: number): void {
    const length = this.#heldBytes + to - from;
    if (length > this.#held.length) {
      const more = Buffer.allocUnsafe(Math.max(firstHeldBytes, 2 * length));
      this.#held.copy(more, 0, 0, this.#heldBytes);
      this.#held = more;
    }
    bytes.copy(this.#held, this.#heldBytes, from, to);
    this.#heldBytes = length;
  }

  #takeHead(text: string): void {
    const head = parseRequestHead(text, this.#known);
    this.#known = text.length > maxKnown ? nothingKnown : head.lines;
    this.#body = createBodyReader(head.bodyBytes);
    this.#events.onHead(head);
  }
}

/**
 * Throws when what has come of a head can become none, so that nobody waits for the rest: what is no text, a bare line
 * feed, too much. The same as what is said of it when it comes whole.
 * @param start where the head begins
 * @param seen what stands before has been looked through
 * @param length how far it would reach with all that has come
 */
function refuseUnfinished(bytes: Buffer, start: number, seen: number, length: number): void {
  const first = bytes[start] ?? 0;
  if (first !== cr && (first < letterA || first > letterZ))
    throw malformed("it does not begin with a method");
  const stop = Math.min(bytes.length, start + maxHeadBytes);
  for (let at = bytes.indexOf(lf, seen); at !== -1 && at < stop; at = bytes.indexOf(lf, at + 1)) {
    if (at === start || bytes[at - 1] !== cr) throw malformed("a line ends in a bare line feed");
  }
  if (length - start > maxHeadBytes + headEnd.length - 1) {
    throw new Refusal(431, `The request's head is larger than ${maxHeadBytes} bytes.`);
  }
}
