/**
 * The answer to one inference client. Owns what may still be said when things go wrong: nothing is sent before the
 * first part worth sending, so that a failure before it is an ordinary error; a stream is passed on in whole events, so
 * that an error event can end it at any time; other answers are held back until they are complete, up to a bound.
 * Must not parse what passes through.
 */
import type { ServerResponse } from "node:http";
import type { TokenUsage } from "../../core/usage.ts";
import { type HttpError, openAiError } from "../../schema/errors.ts";
import { sendError } from "../answer.ts";
import type { ResponseHead } from "../response-head.ts";
import type { Reply } from "./face.ts";

/** Answers that are no streams are held back up to this size, in bytes, so that a broken one can become an error. */
const maxHeldBytes = 1024 * 1024;

const noBytes = Buffer.alloc(0);

export class OpenAiReply implements Reply {
  readonly #response: ServerResponse;
  #head: ResponseHead | null = null;
  #isStream = false;
  #isLateError = false;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The last bytes of what is held: a line end may be cut in two. */
  #tail: Buffer = noBytes;
  /** Bytes of the body that were passed on. */
  sentBytes = 0;
  usage: TokenUsage | null = null;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  /** The client has been sent something: the status can no longer change. */
  get hasStarted(): boolean {
    return this.#response.headersSent;
  }

  keepAlive(): void {
    if (!this.hasStarted) this.#response.writeHead(200, ["content-type", "text/event-stream"]);
    this.#isStream = true;
    this.#response.write(": waiting\n\n");
  }

  begin(head: ResponseHead): void {
    this.#head = head;
    // Where comments have gone out already, the stream goes on; what is no stream then becomes its last event.
    this.#isLateError = this.hasStarted && head.contentType !== "text/event-stream";
    if (!this.hasStarted) this.#isStream = head.contentType === "text/event-stream";
  }

  /** Takes a piece of the body. False when the client has fallen behind: wait for the response's "drain". */
  write(piece: Buffer): boolean {
    if (this.#isLateError) {
      this.#hold(piece);
      return true;
    }
    if (!this.#isStream) {
      if (this.hasStarted) return this.#send(piece);
      this.#hold(piece);
      return this.#heldBytes <= maxHeldBytes || this.#sendHeld();
    }
    const border = lastEventEnd(this.#tail, piece);
    if (border === 0) {
      this.#hold(piece);
      return this.#heldBytes <= maxHeldBytes || this.#sendHeld();
    }
    const isWhole = border === piece.length;
    if (this.#held.length === 0) {
      const isTaken = this.#send(isWhole ? piece : piece.subarray(0, border));
      if (!isWhole) this.#hold(piece.subarray(border));
      return isTaken;
    }
    this.#hold(piece.subarray(0, border));
    const isTaken = this.#sendHeld();
    if (!isWhole) this.#hold(piece.subarray(border));
    return isTaken;
  }

  /** The engine's answer is complete. */
  end(): void {
    if (this.#isLateError) {
      this.#response.end(`data: ${JSON.stringify(JSON.parse(this.#takeHeld().toString("utf8")))}\n\n`);
      return;
    }
    if (this.hasStarted) {
      if (this.#heldBytes > 0) this.#sendHeld();
      this.#response.end();
      return;
    }
    const body = this.#takeHeld();
    this.sentBytes = body.length;
    const status = this.#head?.status ?? 502;
    const hasNoBody = status === 204 || status === 304;
    const length = hasNoBody ? [] : ["content-length", String(body.length)];
    this.#response.writeHead(status, [...(this.#head?.headers ?? []), ...length]);
    this.#response.end(hasNoBody ? undefined : body);
  }

  /** Ends in an error, in the clearest way that is still possible. */
  fail(error: HttpError): void {
    if (!this.hasStarted) sendError(this.#response, error, openAiError);
    else if (this.#isStream) this.#response.end(`data: ${JSON.stringify(openAiError(error))}\n\n`);
    else this.#response.destroy();
  }

  /** Ends without another word: the client does not take what it is sent. */
  cut(): void {
    this.#response.destroy();
  }

  #hold(piece: Buffer): void {
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    this.#tail = (piece.length < 3 ? Buffer.concat([this.#tail, piece]) : piece).subarray(-3);
  }

  #takeHeld(): Buffer {
    const [first, ...more] = this.#held;
    const all = first !== undefined && more.length === 0 ? first : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    this.#tail = noBytes;
    return all;
  }

  #sendHeld(): boolean {
    return this.#send(this.#takeHeld());
  }

  #send(bytes: Buffer): boolean {
    if (!this.hasStarted) {
      const { status = 502, framing } = this.#head ?? {};
      const length = framing?.kind === "length" ? ["content-length", String(framing.bytes)] : [];
      this.#response.writeHead(status, [...(this.#head?.headers ?? []), ...length]);
    }
    this.sentBytes += bytes.length;
    return this.#response.write(bytes);
  }
}

const lf = 0x0a;
const cr = 0x0d;

/**
 * Where the last whole event of `piece` ends (an empty line ends it), or 0.
 * @param before the bytes before `piece` that belong to the same event; only the last two count
 */
export function lastEventEnd(before: Buffer, piece: Buffer): number {
  const at = (i: number) => (i >= 0 ? piece[i] : before[before.length + i]);
  for (let i = piece.lastIndexOf(lf); i >= 0; i = i === 0 ? -1 : piece.lastIndexOf(lf, i - 1)) {
    if (at(i - 1) === lf || (at(i - 1) === cr && at(i - 2) === lf)) return i + 1;
  }
  return 0;
}
