/**
 * Engine streams for the tests of faces: arbitrary chat streams as an engine may send them, and what a client reads of a
 * face's events. Only tests import it.
 */
import fc from "fast-check";
import { SseDecoder } from "./sse-decoder.ts";
import type { Words } from "./translated-reply.ts";

type Delta = Record<string, unknown>;

export function chunk(delta: Delta, finish: string | null = null): unknown {
  return { id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] };
}

export const usage = { inputTokens: 10, outputTokens: 5, cachedTokens: 4 };

export type Event = { readonly name: string; readonly data: Record<string, unknown> };

/** Everything a client reads of a stream made of these chunks. */
export function eventsOf(words: Words, chunks: readonly unknown[]): Event[] {
  const text = chunks.map((one) => words.piece(one)).join("") + words.last(usage);
  return new SseDecoder().push(Buffer.from(text)).map(({ name, data }) => ({ name, data: JSON.parse(data) }));
}

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 });

/** What an answer consists of; `chunks` is the stream that says it, `message` the whole. */
export const arbitraryAnswer = fc
  .record({
    reasoning: fc.array(text, { maxLength: 3 }),
    texts: fc.array(text, { maxLength: 4 }),
    calls: fc.array(
      fc.record({ name: fc.constantFrom("look", "add"), pieces: fc.array(text, { maxLength: 3 }) }),
      {
        maxLength: 3,
      },
    ),
    finish: fc.constantFrom("stop", "length"),
  })
  .map(({ reasoning, texts, calls, finish }) => {
    const ends = calls.length > 0 ? "tool_calls" : finish;
    const callDeltas = calls.flatMap(({ name, pieces }, index) => [
      { tool_calls: [{ index, id: `id${index}`, type: "function", function: { name, arguments: "" } }] },
      ...pieces.map((piece) => ({ tool_calls: [{ index, function: { arguments: piece } }] })),
    ]);
    const chunks = [
      chunk({ role: "assistant", content: "" }),
      ...reasoning.map((piece) => chunk({ reasoning_content: piece })),
      ...texts.map((content) => chunk({ content })),
      ...callDeltas.map((delta) => chunk(delta)),
      chunk({}, ends),
    ];
    const toolCalls = calls.map(({ name, pieces }, index) => ({
      id: `id${index}`,
      type: "function",
      function: { name, arguments: pieces.join("") },
    }));
    const message = {
      role: "assistant",
      content: texts.join(""),
      reasoning_content: reasoning.join(""),
      tool_calls: toolCalls,
    };
    const whole = { choices: [{ index: 0, message, finish_reason: ends }] };
    return { chunks, whole, reasoning: reasoning.join(""), text: texts.join(""), calls: toolCalls };
  });
