/**
 * A client's request as the gateway has it: its head, and its body as it comes. Owns what of the body nobody has asked for
 * yet; must not read bytes (request-reader.ts) nor understand the body.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { HeaderLine, RequestHead } from "./request-head.ts";

/** Where a body goes; it is not told when the client leaves within it: its visit's signal says that. */
export type BodyTaker = {
  piece(bytes: Buffer): void;
  end(): void;
};

/** The connection that a request came on. */
export type BodySource = {
  pause(): void;
  resume(): void;
};

/** Bytes of a body that wait for somebody to ask for them; what has been read at once may be more. */
const maxWaitingBytes = 65_536;
/** Of most requests, and of each that is answered, nothing waits. Never written to. */
const nothing: Buffer[] = [];

export class HttpRequest {
  readonly method: string;
  /** The target as sent: a path, or a whole URL. */
  readonly url: string;
  readonly isOldVersion: boolean;
  readonly headers: IncomingHttpHeaders;
  readonly lines: readonly HeaderLine[];
  readonly keepsAlive: boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  /** The peer of the connection; "" when it has gone already. */
  readonly remoteAddress: string;
  /** All of the body has come. */
  isComplete = false;
  readonly #source: BodySource;
  #waiting = nothing;
  #waitingBytes = 0;
  #taker: BodyTaker | null = null;

  constructor(head: RequestHead, remoteAddress: string, source: BodySource) {
    this.method = head.method;
    this.url = head.target;
    this.isOldVersion = head.isOldVersion;
    this.headers = head.headers;
    this.lines = head.lines;
    this.keepsAlive = head.keepsAlive;
    this.expectsContinue = head.expectsContinue;
    this.remoteAddress = remoteAddress;
    this.#source = source;
  }

  /** Names and values in turn, as sent. */
  get rawHeaders(): string[] {
    return this.lines.flatMap(({ name, value }) => [name, value]);
  }

  /** Hands over what has come, at once, and from then on what comes. To be called once. */
  takeBody(taker: BodyTaker): void {
    const waiting = this.#waiting;
    this.#waiting = nothing;
    for (const piece of waiting) taker.piece(piece);
    if (this.isComplete) {
      taker.end();
      return;
    }
    this.#taker = taker;
    this.#source.resume();
  }

  /** All of the body, in place of `takeBody`; null, and nothing is taken, where some of it has still to come. */
  takeWhole(): Buffer | null {
    if (!this.isComplete) return null;
    const [first, ...more] = this.#waiting;
    const whole = first !== undefined && more.length === 0 ? first : Buffer.concat(this.#waiting);
    this.#waiting = nothing;
    this.#waitingBytes = 0;
    return whole;
  }

  /** Whoever takes the body cannot take more for now. */
  pause(): void {
    this.#source.pause();
  }

  resume(): void {
    this.#source.resume();
  }

  /** The connection's: a piece has come. */
  push(piece: Buffer): void {
    if (this.#taker !== null) {
      this.#taker.piece(piece);
      return;
    }
    if (this.#waiting === nothing) this.#waiting = [piece];
    else this.#waiting.push(piece);
    this.#waitingBytes += piece.length;
    if (this.#waitingBytes > maxWaitingBytes) this.#source.pause();
  }

  /** The connection's: that was all. */
  complete(): void {
    this.isComplete = true;
    const taker = this.#taker;
    this.#taker = null; // with all that it holds: the request stays as long as its answer
    taker?.end();
  }
}
