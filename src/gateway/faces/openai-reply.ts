/**
 * The answer to one OpenAI client. Owns what may still be said when things go wrong: nothing is sent before the first
 * part worth sending, so that a failure before it is an ordinary error; a stream is passed on in whole events, so that an
 * error event can end it at any time; other answers are held back until they are complete, up to a bound. What is said of
 * usage is openai-events' and openai-usage's; must not parse what passes through.
 */
import type { TokenUsage } from "../../core/usage.ts";
import { HttpError, openAiError } from "../../schema/errors.ts";
import { sendError } from "../answer.ts";
import type { HttpResponse } from "../http/response.ts";
import type { ResponseHead } from "../response-head.ts";
import type { Reply } from "./face.ts";
import { lastEventEnd, OpenAiEvents } from "./openai-events.ts";
import { finishAnswer, finishTail, type UsageTerms } from "./openai-usage.ts";

/** Answers that are no streams are held back up to this size, in bytes, so that a broken one can become an error. */
const maxHeldBytes = 1024 * 1024;
/** Of longer ones the end is held back: usage stands there. */
const maxTailBytes = 4096;

const noBytes = Buffer.alloc(0);

/** stream: events pass; whole: held until complete; long: too long to be held; late: an error after comments went out. */
type Mode = "stream" | "whole" | "long" | "late";

export class OpenAiReply implements Reply {
  readonly #response: HttpResponse;
  readonly #terms: UsageTerms;
  /** Of a stream. */
  #events: OpenAiEvents | null = null;
  #head: ResponseHead | null = null;
  #mode: Mode = "whole";
  #usage: TokenUsage | null = null;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The last bytes of what is held: a line end may be cut in two. */
  #tail: Buffer = noBytes;
  sentBytes = 0;

  constructor(response: HttpResponse, terms: UsageTerms) {
    this.#response = response;
    this.#terms = terms;
  }

  get hasStarted(): boolean {
    return this.#response.headersSent;
  }

  get usage(): TokenUsage | null {
    return this.#usage ?? this.#events?.usage ?? null;
  }

  keepAlive(): void {
    if (!this.hasStarted) this.#response.begin(200, ["content-type", "text/event-stream"], null);
    this.#openStream();
    this.#response.write(Buffer.from(": waiting\n\n"));
  }

  begin(head: ResponseHead): void {
    this.#head = head;
    if (head.contentType === "text/event-stream") this.#openStream();
    else if (this.hasStarted) this.#mode = "late";
  }

  write(piece: Buffer): boolean {
    switch (this.#mode) {
      case "stream":
        return this.#writeEvents(piece);
      case "long":
        this.#hold(piece);
        return this.#heldBytes <= maxHeldBytes || this.#sendHeldBut(maxTailBytes);
      default:
        this.#hold(piece);
        if (this.#heldBytes <= maxHeldBytes) return true;
        if (this.#mode === "late") throw unreadable();
        this.#mode = "long";
        return this.#sendHeldBut(maxTailBytes);
    }
  }

  end(): void {
    switch (this.#mode) {
      case "stream": {
        this.#sendLast(Buffer.concat([this.#openStream().flush(), this.#takeHeld()]));
        return;
      }
      case "long": {
        const { bytes, usage } = finishTail(this.#takeHeld(), this.#terms);
        this.#usage = usage;
        this.#sendLast(bytes);
        return;
      }
      case "late":
        this.#response.end(Buffer.from(`data: ${jsonOf(this.#takeHeld())}\n\n`));
        return;
      case "whole":
        this.#endWhole();
    }
  }

  fail(error: HttpError): void {
    if (!this.hasStarted) sendError(this.#response, error, openAiError);
    else if (this.#mode === "stream" || this.#mode === "late") {
      this.#response.end(Buffer.concat([this.#events?.flush() ?? noBytes, Buffer.from(errorEvent(error))]));
    } else this.#response.destroy();
  }

  cut(): void {
    this.#response.destroy();
  }

  #openStream(): OpenAiEvents {
    this.#mode = "stream";
    this.#events ??= new OpenAiEvents(this.#terms);
    return this.#events;
  }

  #endWhole(): void {
    const status = this.#head?.status ?? 502;
    const hasNoBody = status === 204 || status === 304;
    const held = this.#takeHeld();
    const finished = status === 200 ? finishAnswer(held, this.#terms) : { bytes: held, usage: null };
    if (finished === null) throw unreadable();
    const { bytes, usage } = finished;
    this.#usage = usage;
    this.sentBytes = bytes.length;
    this.#response.begin(status, this.#head?.headers ?? [], hasNoBody ? null : bytes.length);
    this.#response.end(bytes);
  }

  #writeEvents(piece: Buffer): boolean {
    const border = lastEventEnd(this.#tail, piece);
    if (border === 0) {
      this.#hold(piece);
      if (this.#heldBytes > maxHeldBytes) throw unreadable();
      return true;
    }
    const isWhole = border === piece.length;
    let events = isWhole ? piece : piece.subarray(0, border);
    if (this.#held.length > 0) {
      this.#hold(events);
      events = this.#takeHeld();
    }
    const out = this.#openStream().push(events);
    if (!isWhole) this.#hold(piece.subarray(border));
    return out.length === 0 || this.#send(out);
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

  #sendHeldBut(bytes: number): boolean {
    const all = this.#takeHeld();
    const rest = Buffer.from(all.subarray(-bytes));
    this.#hold(rest);
    return this.#send(all.subarray(0, all.length - rest.length));
  }

  #send(bytes: Buffer): boolean {
    this.#begin();
    this.sentBytes += bytes.length;
    return this.#response.write(bytes);
  }

  #sendLast(bytes: Buffer): void {
    this.#begin();
    this.sentBytes += bytes.length;
    this.#response.end(bytes);
  }

  #begin(): void {
    if (!this.hasStarted) this.#response.begin(this.#head?.status ?? 502, this.#head?.headers ?? [], null);
  }
}

function errorEvent(error: HttpError): string {
  return `data: ${JSON.stringify(openAiError(error))}\n\n`;
}

/** The engine's error on one line, as an event has it. */
function jsonOf(body: Buffer): string {
  try {
    return JSON.stringify(JSON.parse(body.toString("utf8")));
  } catch {
    throw unreadable();
  }
}

function unreadable(): HttpError {
  return new HttpError(
    "engine_failed",
    "The engine answered something that cannot be understood. Try again.",
  );
}
