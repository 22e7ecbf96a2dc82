/**
 * Tool calls in Hermes style: `<tool_call>{"name": …, "arguments": …}</tool_call>` in the model's text becomes a call,
 * everything else stays text. Works on pieces as they are generated. Pure. Text that looks like a call but is none is
 * given back as text: nothing the model said is lost.
 */
import { overlap } from "./stops.ts";

const opening = "<tool_call>";
const closing = "</tool_call>";
/** A call that is longer than this is text. */
const longestCall = 1_000_000;

export type ToolCall = { readonly name: string; readonly argumentsText: string };
export type AnswerPart = { readonly text: string } | { readonly call: ToolCall };

export class ToolCallReader {
  #buffer = "";
  #isInside = false;
  #calls = 0;

  /** Calls read so far. */
  get calls(): number {
    return this.#calls;
  }

  push(piece: string): readonly AnswerPart[] {
    this.#buffer += piece;
    const parts: AnswerPart[] = [];
    while (this.#isInside ? this.#readCall(parts) : this.#readText(parts));
    return parts;
  }

  /** What is left once nothing more comes; an unfinished call that is complete JSON counts. */
  end(): readonly AnswerPart[] {
    const rest = this.#buffer;
    const call = this.#isInside ? parseCall(rest) : null;
    const isInside = this.#isInside;
    this.#buffer = "";
    this.#isInside = false;
    if (call !== null) {
      this.#calls++;
      return [{ call }];
    }
    const text = isInside ? opening + rest : rest;
    return text === "" || (this.#calls > 0 && text.trim() === "") ? [] : [{ text }];
  }

  /** Both readers return true while there may be more to read in the buffer. */
  #readText(parts: AnswerPart[]): boolean {
    const at = this.#buffer.indexOf(opening);
    const isFound = at !== -1;
    const end = isFound ? at : this.#buffer.length - overlap(this.#buffer, opening);
    // The line breaks between calls are markup.
    const text = this.#buffer.slice(0, end);
    const isMarkup = text.trim() === "" && (isFound || this.#calls > 0);
    if (isFound) this.#buffer = this.#buffer.slice(at + opening.length);
    else if (!isMarkup) this.#buffer = this.#buffer.slice(end);
    if (text !== "" && !isMarkup) parts.push({ text });
    this.#isInside = isFound;
    return isFound;
  }

  #readCall(parts: AnswerPart[]): boolean {
    const at = this.#buffer.indexOf(closing);
    if (at === -1) {
      if (this.#buffer.length <= longestCall) return false;
      parts.push({ text: opening + this.#buffer });
      this.#buffer = "";
      this.#isInside = false;
      return false;
    }
    const inner = this.#buffer.slice(0, at);
    this.#buffer = this.#buffer.slice(at + closing.length);
    this.#isInside = false;
    const call = parseCall(inner);
    if (call === null) parts.push({ text: opening + inner + closing });
    else {
      this.#calls++;
      parts.push({ call });
    }
    return true;
  }
}

function parseCall(text: string): ToolCall | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { name, arguments: given = {} } = value as { name?: unknown; arguments?: unknown };
  if (typeof name !== "string" || name === "") return null;
  return { name, argumentsText: typeof given === "string" ? given : JSON.stringify(given) };
}
