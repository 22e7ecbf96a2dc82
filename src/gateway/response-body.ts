/**
 * Finds the bytes and the end of an engine's response body in what arrives. Pure. Owns the three framings of HTTP/1.1;
 * must not look at what the body says. Trailers are dropped: no engine's client reads them.
 */
import { type Framing, MalformedResponse } from "./response-head.ts";

/** Longest chunk-size line or trailer section that is read, in bytes. */
const maxLineBytes = 8192;
/** Digits of a size that are read byte by byte. */
const maxPlainDigits = 6;
const cr = 0x0d;
const lf = 0x0a;

export type BodyReader = {
  /** True when the body has ended. */
  readonly isDone: boolean;
  /**
   * Takes what arrived and hands each piece of the body to `emit`, in order, as views of `bytes`.
   * Throws MalformedResponse on broken framing and on bytes after the end.
   */
  push(bytes: Buffer, emit: (piece: Buffer) => void): void;
  /** The connection has ended; true when that is how this body ends. */
  endsAtClose(): boolean;
};

export function createBodyReader(framing: Framing): BodyReader {
  switch (framing.kind) {
    case "none":
      return new LengthReader(0);
    case "length":
      return new LengthReader(framing.bytes);
    case "close":
      return new LengthReader(Number.POSITIVE_INFINITY);
    case "chunked":
      return new ChunkReader();
  }
}

class LengthReader implements BodyReader {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get isDone(): boolean {
    return this.#left === 0;
  }

  push(bytes: Buffer, emit: (piece: Buffer) => void): void {
    if (bytes.length > this.#left) throw new MalformedResponse("bytes after the end of the body");
    if (bytes.length === 0) return;
    this.#left -= bytes.length;
    emit(bytes);
  }

  endsAtClose(): boolean {
    return this.#left === Number.POSITIVE_INFINITY;
  }
}

/** Where the reader is: in a size line, in data, at the line end after data, in the trailers, or behind everything. */
type ChunkState = "size" | "data" | "data-end" | "trailers" | "done";

class ChunkReader implements BodyReader {
  #state: ChunkState = "size";
  /** Bytes of the current chunk that have not come. */
  #left = 0;
  /** The current line as far as it has come, without its line end. */
  #line = "";
  #trailerBytes = 0;

  get isDone(): boolean {
    return this.#state === "done";
  }

  push(bytes: Buffer, emit: (piece: Buffer) => void): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "done") throw new MalformedResponse("bytes after the last chunk");
      if (this.#state === "data") {
        const piece = bytes.subarray(at, at + this.#left);
        at += piece.length;
        this.#left -= piece.length;
        if (this.#left === 0) this.#state = "data-end";
        emit(piece);
      } else {
        at = this.#readPlainBorder(bytes, at) ?? this.#readLine(bytes, at);
      }
    }
  }

  /** The usual border of two chunks without making texts of it: a line end, or a size that has come whole. Else null. */
  #readPlainBorder(bytes: Buffer, from: number): number | null {
    if (this.#line !== "") return null;
    if (this.#state === "data-end") {
      if (bytes[from] !== cr || bytes[from + 1] !== lf) return null;
      this.#state = "size";
      return from + 2;
    }
    if (this.#state !== "size") return null;
    let size = 0;
    for (let at = from; at <= from + maxPlainDigits; at += 1) {
      const digit = hexDigit(bytes[at]);
      if (digit !== -1) size = size * 16 + digit;
      else if (bytes[at] !== cr || bytes[at + 1] !== lf || size === 0) return null;
      else {
        this.#left = size;
        this.#state = "data";
        return at + 2;
      }
    }
    return null;
  }

  endsAtClose(): boolean {
    return false;
  }

  #readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(lf, from);
    const stop = end === -1 ? bytes.length : end;
    this.#line += bytes.toString("latin1", from, stop);
    if (this.#line.length > maxLineBytes) throw new MalformedResponse("a chunk line is too long");
    if (end === -1) return stop;
    if (this.#line.charCodeAt(this.#line.length - 1) !== cr) throw new MalformedResponse("a bare line feed");
    const line = this.#line.slice(0, -1);
    this.#line = "";
    this.#takeLine(line);
    return end + 1;
  }

  #takeLine(line: string): void {
    if (this.#state === "size") {
      const match = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(line);
      if (match?.[1] === undefined) throw new MalformedResponse("a chunk size is not a number");
      this.#left = Number.parseInt(match[1], 16);
      this.#state = this.#left === 0 ? "trailers" : "data";
    } else if (this.#state === "data-end") {
      if (line !== "") throw new MalformedResponse("a chunk is longer than it said");
      this.#state = "size";
    } else {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > maxLineBytes) throw new MalformedResponse("the trailers are too long");
      if (line === "") this.#state = "done";
    }
  }
}

/** -1 when it is none. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
