/**
 * The answer to a client of a face that is not OpenAI's: takes the engine's bytes, reads them whole or event by event,
 * and has the face say them in its own words. Owns what may still be said when things go wrong, and the bounds on what is
 * held; must not know any face's words.
 */
import { isUtf8 } from "node:buffer";
import type { TokenUsage } from "../../core/usage.ts";
import type { HttpError } from "../../schema/errors.ts";
import { sendError } from "../answer.ts";
import type { HttpResponse } from "../http/response.ts";
import type { ResponseHead } from "../response-head.ts";
import { readEngineError, readUsage, unreadable } from "./engine-answer.ts";
import type { ErrorBody, Reply } from "./face.ts";
import { SseDecoder } from "./sse-decoder.ts";

/** A face's words for one answer. Its methods throw HttpError for what they cannot understand. */
export type Words = {
  /** What a complete answer that is no stream is to the client. */
  whole(json: unknown, usage: TokenUsage): unknown;
  /** Text of the events that one event of the engine is to the client; "" for none. */
  piece(json: unknown): string;
  /** Text of the events that end the stream. */
  last(usage: TokenUsage): string;
  /** Text of the event that ends a stream which has failed. */
  failed(error: HttpError): string;
  /** Says to a client that waits that it is not forgotten; may be the first of a stream. */
  readonly waiting: string;
  readonly errorBody: ErrorBody;
};

/** Largest answer that is held until it is complete, in bytes: a thousand embeddings have some tens of MB. */
const maxWholeBytes = 128 * 1024 * 1024;
const maxErrorBytes = 1024 * 1024;

/** stream: events pass; whole: held until complete; refused: the engine's error; nonsense: what was not asked for. */
type Mode = "stream" | "whole" | "refused" | "nonsense";

const noUsage: TokenUsage = { inputTokens: 0, outputTokens: 0, cachedTokens: 0 };

export class TranslatedReply implements Reply {
  readonly #response: HttpResponse;
  readonly #words: Words;
  readonly #isStream: boolean;
  #decoder = new SseDecoder();
  #mode: Mode = "nonsense";
  #status = 502;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The stream has had its last event. */
  #isOver = false;
  sentBytes = 0;
  usage: TokenUsage | null = null;

  /** @param isStream the client asked for a stream */
  constructor(response: HttpResponse, words: Words, isStream: boolean) {
    this.#response = response;
    this.#words = words;
    this.#isStream = isStream;
  }

  get hasStarted(): boolean {
    return this.#response.headersSent;
  }

  keepAlive(): void {
    this.#open();
    this.#response.write(Buffer.from(this.#words.waiting));
  }

  begin(head: ResponseHead): void {
    this.#status = head.status;
    this.#held = [];
    this.#heldBytes = 0;
    this.#decoder = new SseDecoder();
    const isStream = head.contentType === "text/event-stream";
    if (head.status !== 200) this.#mode = "refused";
    else if (isStream !== this.#isStream) this.#mode = "nonsense";
    else this.#mode = isStream ? "stream" : "whole";
  }

  write(piece: Buffer): boolean {
    if (this.#mode === "nonsense") throw unreadable();
    if (this.#mode === "stream") return this.#writeEvents(piece);
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes > (this.#mode === "whole" ? maxWholeBytes : maxErrorBytes)) throw unreadable();
    return true;
  }

  end(): void {
    switch (this.#mode) {
      case "nonsense":
        throw unreadable();
      case "stream":
        if (!this.#isOver) this.#send(this.#words.last(this.usage ?? noUsage));
        this.#response.end();
        return;
      case "refused": {
        const error = readEngineError(parseJson(Buffer.concat(this.#held)), this.#status);
        if (error === null) throw unreadable();
        this.fail(error);
        return;
      }
      case "whole": {
        const json = parseJson(Buffer.concat(this.#held));
        this.usage = readUsage(json);
        const body = Buffer.from(JSON.stringify(this.#words.whole(json, this.usage ?? noUsage)));
        this.#response.send(200, ["content-type", "application/json"], body);
        this.sentBytes = body.length;
      }
    }
  }

  fail(error: HttpError): void {
    if (!this.hasStarted) sendError(this.#response, error, this.#words.errorBody);
    else if (!this.#isStream) this.#response.destroy();
    else this.#response.end(this.#isOver ? undefined : Buffer.from(this.#words.failed(error)));
    this.#isOver = true;
  }

  cut(): void {
    this.#response.destroy();
  }

  #writeEvents(piece: Buffer): boolean {
    let text = "";
    for (const { data } of this.#decoder.push(piece)) {
      if (this.#isOver || data === "[DONE]") continue;
      const json = parseJson(Buffer.from(data));
      const error = readEngineError(json, 500);
      if (error !== null) {
        if (text !== "") this.#send(text);
        this.fail(error);
        return true;
      }
      this.usage = readUsage(json) ?? this.usage;
      text += this.#words.piece(json);
    }
    return text === "" || this.#send(text);
  }

  #open(): void {
    if (this.hasStarted) return;
    this.#response.begin(200, ["content-type", "text/event-stream", "cache-control", "no-cache"], null);
  }

  #send(text: string): boolean {
    if (text === "") return true;
    this.#open();
    const bytes = Buffer.from(text);
    this.sentBytes += bytes.length;
    return this.#response.write(bytes);
  }
}

function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw unreadable();
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw unreadable(); // what it says instead may hold a prompt: it is not repeated
  }
}
