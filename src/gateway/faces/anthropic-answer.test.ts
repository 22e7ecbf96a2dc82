import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpError } from "../../schema/errors.ts";
import { AnthropicWords, anthropicError } from "./anthropic-answer.ts";
import { arbitraryAnswer, chunk, type Event, eventsOf, usage } from "./stream-testing.ts";

const words = () => new AnthropicWords({ model: "mine", requestId: "a-1" });

test("a stream of text and a call, event by event", () => {
  const call = { index: 0, id: "call_1", function: { name: "add", arguments: '{"a"' } };
  const events = eventsOf(words(), [
    chunk({ role: "assistant", content: "" }),
    chunk({ content: "Hel" }),
    chunk({ content: "lo" }),
    chunk({ tool_calls: [call] }),
    chunk({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }),
    chunk({}, "tool_calls"),
  ]);
  expect(events.map(({ name }) => name)).toEqual([
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "content_block_start",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
  expect(events[0]?.data).toMatchObject({
    message: { id: "msg_a1", type: "message", role: "assistant", model: "mine" },
  });
  expect(events[5]?.data).toEqual({
    type: "content_block_start",
    index: 1,
    content_block: { type: "tool_use", id: "call_1", name: "add", input: {} },
  });
  expect(events[7]?.data).toMatchObject({ delta: { type: "input_json_delta", partial_json: ":1}" } });
  expect(events[9]?.data).toEqual({
    type: "message_delta",
    delta: { stop_reason: "tool_use", stop_sequence: null },
    usage: {
      input_tokens: 6,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 4,
      output_tokens: 5,
    },
  });
});

test.each([
  ["stop", {}, "end_turn", null],
  ["stop", { stop_reason: "###" }, "stop_sequence", "###"],
  // vLLM names the token that ended the answer; that is the model's own end.
  ["stop", { stop_reason: 128009 }, "end_turn", null],
  ["length", {}, "max_tokens", null],
  ["content_filter", {}, "refusal", null],
])("finish %s with %j is %s", (finish, more, reason, sequence) => {
  const message = { role: "assistant", content: "Hi" };
  const json = { choices: [{ index: 0, message, finish_reason: finish, ...more }] };
  expect(words().whole(json, usage)).toMatchObject({
    type: "message",
    content: [{ type: "text", text: "Hi" }],
    stop_reason: reason,
    stop_sequence: sequence,
  });
});

test("the content a client puts together from a stream is that of the whole answer", () => {
  fc.assert(
    fc.property(arbitraryAnswer, ({ chunks, whole }) => {
      const { content, reason } = assemble(eventsOf(words(), chunks));
      const message = words().whole(whole, usage) as {
        content: Record<string, unknown>[];
        stop_reason: string;
      };
      const inputs = new Map(message.content.map((block) => [block.id, block.input]));
      const expected = message.content.map(({ citations: _, input: __, ...block }) => block);
      expect(content.map(({ json: _, ...block }) => block)).toEqual(expected);
      expect(reason).toBe(message.stop_reason);
      for (const { id, json } of content.filter(({ type }) => type === "tool_use")) {
        const input = inputs.get(id);
        expect(typeof input).toBe("object");
        expect([JSON.stringify({ arguments: json }), canonical(json)]).toContain(JSON.stringify(input));
      }
    }),
  );
});

function canonical(json: unknown): string | null {
  try {
    return JSON.stringify(JSON.parse(json === "" ? "{}" : String(json)));
  } catch {
    return null;
  }
}

/** As a client does: blocks start, grow and stop one after the other, numbered from 0. */
function assemble(events: readonly Event[]): { content: Record<string, unknown>[]; reason: unknown } {
  const content: Record<string, unknown>[] = [];
  let open = false;
  let reason: unknown = null;
  for (const { name, data } of events.slice(1, -1)) {
    const block = content.at(-1);
    const delta = data.delta as Record<string, string> | undefined;
    if (name === "content_block_start") {
      expect([open, data.index]).toEqual([false, content.length]);
      const { input: _, ...started } = data.content_block as Record<string, unknown>;
      content.push(started.type === "tool_use" ? { ...started, json: "" } : started);
      open = true;
    } else if (name === "content_block_stop") {
      expect([open, data.index]).toEqual([true, content.length - 1]);
      open = false;
    } else if (name === "content_block_delta" && block !== undefined && delta !== undefined) {
      const field =
        { text_delta: "text", thinking_delta: "thinking", input_json_delta: "json" }[delta.type ?? ""] ?? "";
      block[field] = `${block[field]}${delta.text ?? delta.thinking ?? delta.partial_json ?? ""}`;
    } else reason = (data.delta as { stop_reason: string }).stop_reason;
  }
  expect([open, events[0]?.name, events.at(-1)?.name]).toEqual([false, "message_start", "message_stop"]);
  return { content, reason };
}

test("a stream that ends without a finish is no answer", () => {
  expect(() => eventsOf(words(), [chunk({ content: "a" })])).toThrow(HttpError);
});

test.each([
  ["bad_request", "invalid_request_error"],
  ["unauthenticated", "authentication_error"],
  ["model_not_found", "not_found_error"],
  ["body_too_large", "request_too_large"],
  ["queue_full", "rate_limit_error"],
  ["method_not_allowed", "invalid_request_error"],
  ["internal", "api_error"],
  ["engine_failed", "api_error"],
  ["model_not_ready", "overloaded_error"],
  ["timeout", "timeout_error"],
] as const)("%s is Anthropic's %s", (code, type) => {
  expect(anthropicError(new HttpError(code, "Why."), "r1")).toEqual({
    type: "error",
    error: { type, message: "Why." },
    request_id: "r1",
  });
});
