/**
 * Reads the events of an SSE stream from the bytes of an engine, however they are cut. Owns the line rules of the format
 * (LF, CRLF or CR; comments; several data lines) and a bound on one event; must not know what events mean. Pure.
 */
import { HttpError } from "../../schema/errors.ts";

export type SseEvent = {
  /** "" when the event has no name. */
  readonly name: string;
  readonly data: string;
};

/** Longest event that is put together, in characters. */
const maxEventLength = 4 * 1024 * 1024;

export class SseDecoder {
  readonly #decoder = new TextDecoder("utf-8");
  /** The line that has not ended yet. */
  #line = "";
  /** The last line ended in CR: an LF that follows belongs to it. */
  #isAfterCr = false;
  #name = "";
  #data: string[] = [];
  #dataLength = 0;

  /** The events that `piece` completes. Throws HttpError for one that is too long. */
  push(piece: Buffer): SseEvent[] {
    const events: SseEvent[] = [];
    let text = this.#decoder.decode(piece, { stream: true });
    if (this.#isAfterCr && text !== "") {
      this.#isAfterCr = false;
      if (text.startsWith("\n")) text = text.slice(1);
    }
    let from = 0;
    for (const match of text.matchAll(/\r\n|\n|\r/g)) {
      const line = this.#line + text.slice(from, match.index);
      this.#line = "";
      from = match.index + match[0].length;
      this.#isAfterCr = match[0] === "\r" && from === text.length;
      const event = this.#take(line);
      if (event !== null) events.push(event);
    }
    this.#line += text.slice(from);
    if (this.#line.length + this.#dataLength > maxEventLength) {
      throw new HttpError("engine_failed", "An event of its answer is too long");
    }
    return events;
  }

  #take(line: string): SseEvent | null {
    if (line === "") return this.#finish();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") {
      this.#data.push(value);
      this.#dataLength += value.length;
    }
    return null;
  }

  #finish(): SseEvent | null {
    const event = this.#data.length === 0 ? null : { name: this.#name, data: this.#data.join("\n") };
    this.#name = "";
    this.#data = [];
    this.#dataLength = 0;
    return event;
  }
}
