/**
 * The answer to one request: its head, how its body is framed, and what has become of it. Owns the bytes of HTTP/1.1 that
 * an answer is; must not know sockets (connection.ts) nor what an answer says. Short answers and each piece of a stream go
 * out in one write, as text of one character a byte, which node:net writes without memory of its own.
 */
import { STATUS_CODES } from "node:http";
import type { HttpRequest } from "./request.ts";
import { headerValue } from "./request-head.ts";

/** Where an answer goes. */
export type Wire = {
  /** False when the client has fallen behind: `onDrain` follows. @param isLast nothing of this answer comes after it */
  write(text: string, isLast: boolean): boolean;
  writeLarge(before: string, bytes: Buffer, after: string, isLast: boolean): boolean;
  destroy(): void;
  /** The Date header's line. */
  readonly dateLine: string;
  /** The lines that tell a client how long its connection is kept. */
  readonly keptLines: string;
};

/** Up to this size, in bytes, a piece is sent as text. */
const maxTextBytes = 16_384;
const lastChunk = "0\r\n\r\n";
const noBytes = Buffer.alloc(0);
/** Never written to. */
const none: string[] = [];

/** none: the client expects no body; length: as long as the head says; chunked; close: the connection's end is its end. */
type Framing = "none" | "length" | "chunked" | "close";

export class HttpResponse {
  status = 0;
  /** The head is fixed: a status and headers can be set no more. */
  headersSent = false;
  /** The last of it has been written. */
  isEnded = false;
  /** All of it was handed to the system. */
  isFinished = false;
  /** Nothing more of it goes out. */
  destroyed = false;
  /** The connection may carry another request after it. */
  keepsAlive: boolean;
  /** The client has caught up. One listener at a time: whoever writes. */
  onDrain: (() => void) | null = null;
  /** It is over, in order or with its connection. Called once. */
  onClose: (() => void) | null = null;
  readonly #wire: Wire;
  readonly #request: HttpRequest;
  /** Headers set before the head, name and value in turn. */
  #early: string[] = none;
  /** The head, until it goes out with what follows it. */
  #head = "";
  #framing: Framing = "none";
  /** Bytes that are missing of a body of known length. */
  #left = 0;

  constructor(wire: Wire, request: HttpRequest) {
    this.#wire = wire;
    this.#request = request;
    this.keepsAlive = request.keepsAlive;
  }

  /** A header of the answer, whatever it will be. */
  setHeader(name: string, value: string): void {
    const at = this.#early.indexOf(name);
    if (this.#early === none) this.#early = [name, value];
    else if (at === -1) this.#early.push(name, value);
    else this.#early[at + 1] = value;
  }

  /** A header that was set before; "" when it was not. */
  headerSet(name: string): string {
    const at = this.#early.indexOf(name);
    return at === -1 ? "" : (this.#early[at + 1] ?? "");
  }

  /** The client waits for this before it sends its body. */
  writeContinue(): void {
    if (!this.#request.isComplete) this.writeInterim();
  }

  /** Writes an answer that says nothing and that others may follow; false where the client could not read it as that. */
  writeInterim(): boolean {
    if (this.headersSent || this.#request.isOldVersion) return false;
    this.#wire.write("HTTP/1.1 100 Continue\r\n\r\n", false);
    return true;
  }

  /**
   * Fixes the head, which goes out with the first bytes of the body, or its end.
   * @param headers names and values in turn, none of which frames the body
   * @param bodyBytes length of the body where it is known
   */
  begin(status: number, headers: readonly string[], bodyBytes: number | null): void {
    if (this.headersSent) throw new Error("an answer was begun twice");
    this.headersSent = true;
    this.status = status;
    this.#framing = this.#framingFor(status, bodyBytes);
    this.#left = bodyBytes ?? 0;
    // A body that has not come whole is not waited for.
    if (this.#framing === "close" || !this.#request.isComplete) this.keepsAlive = false;
    let head = statusLine(status) + this.#wire.dateLine;
    head += this.keepsAlive ? this.#wire.keptLines : "connection: close\r\n";
    head += linesOf(this.#early) + linesOf(headers);
    if (bodyBytes !== null && status !== 204) head += `content-length: ${bodyBytes}\r\n`;
    else if (this.#framing === "chunked") head += "transfer-encoding: chunked\r\n";
    this.#head = `${head}\r\n`;
    this.#early = none;
  }

  /** A piece of the body. False when the client has fallen behind: wait for `onDrain`. */
  write(bytes: Buffer): boolean {
    // An empty chunk would be the end.
    return bytes.length === 0 || this.#put(bytes, false);
  }

  /** @param bytes the last ones of the body, may be none */
  end(bytes: Buffer = noBytes): void {
    if (!this.isEnded) this.#put(bytes, true);
  }

  /** All of an answer in one. */
  send(status: number, headers: readonly string[], body: Buffer = noBytes): void {
    this.begin(status, headers, body.length);
    this.end(body);
  }

  /** Breaks off: the client sees its connection end in the middle. */
  destroy(): void {
    this.#wire.destroy();
  }

  /** The connection's: all of it has gone out, or, where it has not, none of it will any more. */
  close(isFinished: boolean): void {
    if (this.isFinished || this.destroyed) return;
    if (isFinished) this.isFinished = true;
    else this.destroyed = true;
    this.onClose?.();
  }

  #framingFor(status: number, bodyBytes: number | null): Framing {
    if (this.#request.method === "HEAD" || status === 204 || status === 304) return "none";
    if (bodyBytes !== null) return "length";
    return this.#request.isOldVersion ? "close" : "chunked";
  }

  #put(bytes: Buffer, isLast: boolean): boolean {
    if (!this.headersSent || this.isEnded)
      throw new Error("a body was written without a head, or behind its end");
    this.isEnded = isLast;
    if (this.destroyed) return true;
    if (this.#framing === "length") {
      this.#left -= bytes.length;
      // The client would take what follows for a part of this answer, or the other way round.
      if (this.#left < 0 || (isLast && this.#left > 0)) {
        this.destroy();
        return true;
      }
    }
    const head = this.#head;
    this.#head = "";
    if (this.#framing === "none") return this.#wire.write(head, isLast);
    const isChunked = this.#framing === "chunked";
    const before = isChunked && bytes.length > 0 ? `${head}${bytes.length.toString(16)}\r\n` : head;
    const after = isChunked ? `${bytes.length > 0 ? "\r\n" : ""}${isLast ? lastChunk : ""}` : "";
    return bytes.length > maxTextBytes
      ? this.#wire.writeLarge(before, bytes, after, isLast)
      : this.#wire.write(before + bytes.toString("latin1") + after, isLast);
  }
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`;
    statusLines.set(status, line);
  }
  return line;
}

function linesOf(headers: readonly string[]): string {
  let lines = "";
  for (let at = 0; at < headers.length; at += 2) {
    const [name = "", value = ""] = [headers[at], headers[at + 1]];
    // What is passed on was checked where it came in; a line end here would be a header, or an answer, of its own.
    if (!headerValue.test(value)) throw new Error(`the header ${name} has control characters in it`);
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}
