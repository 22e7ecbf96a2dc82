/**
 * Finds the bytes and the end of a request's body in what arrives. Pure. Owns the two framings of HTTP/1.1 requests; must
 * not look at what the body says, nor at the bytes behind it. Chunk extensions and trailers are checked and dropped:
 * nothing here asks for them. Stricter than what reads engines (response-body.ts): between a client and Berth others may
 * have read the same bytes, and must have read the same.
 */
import { malformed, Refusal } from "./refusal.ts";
import { parseHeaderLine } from "./request-head.ts";

export type BodyReader = {
  /** True when the body has ended. */
  readonly isDone: boolean;
  /**
   * Takes what arrived, from an offset on, and hands each piece of the body to `emit`, in order, as views of `bytes`.
   * Returns the offset behind what was taken: the end of `bytes`, or of the body. Throws Refusal on broken framing.
   */
  read(bytes: Buffer, from: number, emit: (piece: Buffer) => void): number;
};

/** Bytes of extensions, and of trailers, in all of a body. */
const maxExtensionBytes = 16_384;
const maxTrailerBytes = 16_384;

/** The longest line, without its end: a size with extensions, or a trailer. */
const maxLineBytes = 16_384;

const lf = 0x0a;
const cr = 0x0d;

const sizeLine =
  /^0*([0-9A-Fa-f]{1,8})((?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*)$/;

/** Trailers that would say once more how the request is to be read. */
const framingTrailers = new Set(["content-length", "transfer-encoding", "host"]);

export function createBodyReader(bodyBytes: number | "chunked"): BodyReader {
  return bodyBytes === "chunked" ? new ChunkReader() : new LengthReader(bodyBytes);
}

class LengthReader implements BodyReader {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get isDone(): boolean {
    return this.#left === 0;
  }

  read(bytes: Buffer, from: number, emit: (piece: Buffer) => void): number {
    const end = Math.min(bytes.length, from + this.#left);
    if (end === from) return from;
    this.#left -= end - from;
    emit(bytes.subarray(from, end));
    return end;
  }
}

/** Where the reader is: in a size line, in data, at the line end after data, in the trailers, or behind everything. */
type ChunkState = "size" | "data" | "data-end" | "trailers" | "done";

class ChunkReader implements BodyReader {
  #state: ChunkState = "size";
  /** Bytes of the current chunk that have not come. */
  #left = 0;
  /** The current line as far as it has come, without its line feed. */
  #line = "";
  #extensionBytes = 0;
  #trailerBytes = 0;

  get isDone(): boolean {
    return this.#state === "done";
  }

  read(bytes: Buffer, from: number, emit: (piece: Buffer) => void): number {
    let at = from;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "data") {
        const piece = bytes.subarray(at, at + this.#left);
        at += piece.length;
        this.#left -= piece.length;
        if (this.#left === 0) this.#state = "data-end";
        emit(piece);
      } else {
        at = this.#readLine(bytes, at);
      }
    }
    return at;
  }

  #readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(lf, from);
    const stop = end === -1 ? bytes.length : end;
    // The rest of a line that is too long need not be made a text of.
    this.#line += bytes.toString("latin1", from, Math.min(stop, from + maxLineBytes + 2));
    if (this.#line.length > maxLineBytes + 1) throw this.#tooLong();
    if (end === -1) return stop;
    if (this.#line.charCodeAt(this.#line.length - 1) !== cr)
      throw malformed("a line ends in a bare line feed");
    const line = this.#line.slice(0, -1);
    this.#line = "";
    this.#takeLine(line);
    return end + 1;
  }

  #takeLine(line: string): void {
    if (this.#state === "size") this.#takeSize(line);
    else if (this.#state === "data-end") {
      if (line !== "") throw malformed("a chunk is longer than it says");
      this.#state = "size";
    } else if (line === "") this.#state = "done";
    else this.#takeTrailer(line);
  }

  #takeSize(line: string): void {
    const [, size, extensions = ""] = sizeLine.exec(line) ?? [];
    if (size === undefined) throw malformed("a chunk's size is not a number in hexadecimal");
    this.#extensionBytes += extensions.length;
    if (this.#extensionBytes > maxExtensionBytes) throw this.#tooLong();
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? "trailers" : "data";
  }

  #takeTrailer(line: string): void {
    this.#trailerBytes += line.length;
    if (this.#trailerBytes > maxTrailerBytes) throw this.#tooLong();
    const { key } = parseHeaderLine(line);
    if (framingTrailers.has(key)) throw malformed(`its trailers have ${key} among them`);
  }

  #tooLong(): Refusal {
    return this.#state === "trailers"
      ? new Refusal(431, `The request's trailers are longer than ${maxTrailerBytes} bytes.`)
      : new Refusal(
          413,
          `The extensions of the request's chunks are longer than ${maxExtensionBytes} bytes.`,
        );
  }
}
