/**
 * A stream that outlives its engine: passes whole events on, remembers what was sent, and joins what another instance
 * adds so that the client sees one answer, with one id and one role. Whether an answer may be
 * continued is continuation-plan.ts's; who continues it is offer.ts's. Must not do I/O.
 */
import { HttpError } from "../schema/errors.ts";
import { continuedBody, readContinuable } from "./continuation-plan.ts";
import { BrokenOff, type Sink } from "./exchange.ts";
import { lastEventEnd } from "./faces/openai-events.ts";
import { dataOf, Journal, parsed, type StreamEvent } from "./journal.ts";
import type { ScannedObject } from "./json-scan.ts";
import type { EngineRequest } from "./offer.ts";
import type { ResponseHead } from "./response-head.ts";

const noBytes = Buffer.alloc(0);
/** Largest event, in bytes. */
const maxEventBytes = 1024 * 1024;

/** The request goes on with this body; everything was sent and only the end is missing; or it cannot be continued. */
export type NextLeg =
  | { readonly kind: "ask"; readonly body: Buffer }
  | { readonly kind: "end" }
  | { readonly kind: "no" };

/** Null when the answer to this request could not be continued anyway. */
export function openContinuable(sink: Sink, asked: EngineRequest): ContinuableStream | null {
  const object = readContinuable(asked.enginePath, asked.body, asked.model.abilities);
  return object === null ? null : new ContinuableStream(sink, object);
}

export class ContinuableStream implements Sink {
  readonly #sink: Sink;
  readonly #object: ScannedObject;
  readonly #journal = new Journal();
  /** False for an answer that is no stream of events: it passes as it is. */
  #isStream = false;
  /** False in the first leg. */
  #isJoining = false;
  /** Of an event that is not complete. */
  #partial: Buffer = noBytes;

  constructor(sink: Sink, object: ScannedObject) {
    this.#sink = sink;
    this.#object = object;
  }

  begin(head: ResponseHead): void {
    const isStream = head.status === 200 && head.contentType === "text/event-stream";
    if (!this.#isJoining) {
      this.#isStream = isStream;
      this.#sink.begin(head);
    } else if (!isStream) {
      throw new HttpError(
        "engine_failed",
        "The engine broke off, and another could not continue. Try again.",
      );
    }
  }

  write(piece: Buffer): boolean {
    if (!this.#isStream) return this.#sink.write(piece);
    const border = lastEventEnd(this.#partial, piece);
    if (border === 0) {
      this.#partial = this.#partial.length === 0 ? piece : Buffer.concat([this.#partial, piece]);
      if (this.#partial.length > maxEventBytes) {
        throw new HttpError("engine_failed", "The engine sent an event that is too large. Try again.");
      }
      return true;
    }
    const whole = border === piece.length ? piece : piece.subarray(0, border);
    const events = this.#partial.length === 0 ? whole : Buffer.concat([this.#partial, whole]);
    this.#partial = border === piece.length ? noBytes : piece.subarray(border);
    const joined = this.#isJoining ? this.#join(events.toString("utf8")) : events;
    if (joined.length === 0) return true;
    this.#journal.add(joined);
    return this.#sink.write(joined);
  }

  end(): void {
    if (this.#isStream) {
      const { isDone, isFinished, isLost } = this.#journal;
      if (!isDone && !isFinished && !isLost) throw new BrokenOff("the stream ended before the answer did");
      if (this.#partial.length > 0) this.#sink.write(this.#partial);
    }
    this.#sink.end();
  }

  /** The engine has gone: what follows. Events of which a part came are forgotten. */
  next(): NextLeg {
    this.#partial = noBytes;
    const journal = this.#journal;
    if (!this.#isStream || journal.isLost) return { kind: "no" };
    if (journal.isDone || journal.isFinished) {
      if (!journal.isDone) this.#sink.write(Buffer.from("data: [DONE]\n\n"));
      this.#sink.end();
      return { kind: "end" };
    }
    this.#isJoining = true;
    return { kind: "ask", body: continuedBody(this.#object, journal.text) };
  }

  /** Events of a later leg as if the first engine had sent them. */
  #join(events: string): Buffer {
    const out: string[] = [];
    for (const data of dataOf(events)) {
      const event = data === "[DONE]" ? null : parsed(data);
      if (event === null) {
        out.push(`data: ${data}\n\n`);
        continue;
      }
      const joined = withoutRole({ ...event, ...this.#journal.identity });
      if (joined !== null) out.push(`data: ${JSON.stringify(joined)}\n\n`);
    }
    return Buffer.from(out.join(""));
  }
}

/** Null for an event that only opens a message. */
function withoutRole(event: StreamEvent): StreamEvent | null {
  const [choice] = event.choices;
  if (choice?.delta === undefined || !("role" in choice.delta)) return event;
  const { role: _, ...delta } = choice.delta;
  const isOpening = (delta.content ?? "") === "" && (choice.finish_reason ?? null) === null;
  if (isOpening && (event.usage ?? null) === null) return null;
  return { ...event, choices: [{ ...choice, delta }] };
}
