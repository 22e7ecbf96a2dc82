import { expect, test } from "vitest";
import { anthropicMessagesIn } from "../../schema/anthropic.ts";
import { HttpError } from "../../schema/errors.ts";
import { toChat, wantsThinking } from "./anthropic-request.ts";

function chatOf(fields: Record<string, unknown>): Record<string, unknown> {
  const hi = { role: "user", content: "hi" };
  return toChat(anthropicMessagesIn.parse({ model: "m", messages: [hi], ...fields }));
}

const text = (said: string) => ({ type: "text", text: said, cache_control: { type: "ephemeral" } });

test("a conversation with tools becomes one flat list of messages", () => {
  const { messages } = chatOf({
    system: [text("Be brief."), text("Be kind.")],
    messages: [
      { role: "user", content: [text("What is"), text("3 + 4?")] },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "A sum.", signature: "s" },
          { type: "redacted_thinking", data: "x" },
          text("I add."),
          { type: "tool_use", id: "t1", name: "add", input: { a: 3, b: 4 } },
          { type: "tool_use", id: "t2", name: "now", input: {} },
        ],
      },
      {
        role: "user",
        content: [
          text("Go on."),
          { type: "tool_result", tool_use_id: "t1", content: [text("7")] },
          { type: "tool_result", tool_use_id: "t2", content: "no clock", is_error: true },
        ],
      },
      { role: "assistant", content: "The sum is" },
    ],
  });
  expect(messages).toEqual([
    { role: "system", content: "Be brief.\nBe kind." },
    { role: "user", content: "What is\n3 + 4?" },
    {
      role: "assistant",
      content: "I add.",
      reasoning_content: "A sum.",
      tool_calls: [
        { id: "t1", type: "function", function: { name: "add", arguments: '{"a":3,"b":4}' } },
        { id: "t2", type: "function", function: { name: "now", arguments: "{}" } },
      ],
    },
    { role: "tool", tool_call_id: "t1", content: "7" },
    { role: "tool", tool_call_id: "t2", content: "Error: no clock" },
    { role: "user", content: "Go on." },
    { role: "assistant", content: "The sum is" },
  ]);
});

test("parameters", () => {
  const schema = { type: "object", properties: { a: { type: "integer" } } };
  const chat = chatOf({
    max_tokens: 9,
    temperature: 0.5,
    top_k: 3,
    stop_sequences: ["END"],
    stream: true,
    metadata: { user_id: "u1" },
    tools: [{ name: "add", description: "Adds.", input_schema: schema }],
    tool_choice: { type: "tool", name: "add", disable_parallel_tool_use: true },
    output_config: { format: { type: "json_schema", schema } },
    betas: ["unknown"],
  });
  expect(chat).toMatchObject({
    model: "m",
    max_tokens: 9,
    temperature: 0.5,
    top_k: 3,
    stop: ["END"],
    stream: true,
    stream_options: { include_usage: true },
    user: "u1",
    tools: [{ type: "function", function: { name: "add", description: "Adds.", parameters: schema } }],
    tool_choice: { type: "function", function: { name: "add" } },
    parallel_tool_calls: false,
    response_format: { type: "json_schema", json_schema: { schema } },
  });
  expect(chat).not.toHaveProperty("betas");
});

test.each([
  ["auto", "auto"],
  ["any", "required"],
  ["none", "none"],
])("tool_choice %s is %s", (type, expected) => {
  expect(chatOf({ tools: [{ name: "x" }], tool_choice: { type } }).tool_choice).toBe(expected);
});

test("images are passed on as parts", () => {
  const source = { type: "base64", media_type: "image/png", data: "AAAA" };
  const { messages } = chatOf({
    messages: [{ role: "user", content: [text("What is this?"), { type: "image", source }] }],
  });
  expect(messages).toEqual([
    {
      role: "user",
      content: [
        { type: "text", text: "What is this?" },
        { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
      ],
    },
  ]);
});

test.each([
  [{ type: "enabled", budget_tokens: 1024 }, true, { enabled: true }],
  [{ enabled: true }, true, { enabled: true }],
  [{}, true, { enabled: true }],
  [{ type: "adaptive" }, false, undefined],
  [{ type: "disabled" }, false, { enabled: false }],
  [{ enabled: false }, false, { enabled: false }],
])("thinking %j", (thinking, isWanted, reasoning) => {
  const hi = { role: "user", content: "hi" };
  const asked = anthropicMessagesIn.parse({ model: "m", messages: [hi], thinking });
  expect([wantsThinking(asked), toChat(asked).reasoning]).toEqual([isWanted, reasoning]);
});

test.each([
  [{ messages: [{ role: "user", content: [{ type: "search_result" }] }] }, "messages[0].content[0]"],
  [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages[0].content[0]"],
  [
    { messages: [{ role: "user", content: [{ type: "tool_use", id: "a", name: "b", input: {} }] }] },
    "cannot stand",
  ],
  [
    { messages: [{ role: "user", content: [{ type: "document", source: { type: "url" } }] }] },
    "document of type url",
  ],
  [{ tools: [{ type: "bash_20250124", name: "bash" }] }, "tools[0]"],
  [{ tools: [{ name: "x" }], tool_choice: { type: "tool" } }, "tool_choice.name"],
  [{ output_config: { format: { type: "xml" } } }, "output_config.format"],
])("what has no counterpart is refused by its place: %j", (fields, place) => {
  expect(() => chatOf(fields)).toThrow(HttpError);
  expect(() => chatOf(fields)).toThrow(place);
});
