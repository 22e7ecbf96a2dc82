import { expect, test } from "vitest";
import { HttpError } from "../../schema/errors.ts";
import { responsesIn } from "../../schema/responses.ts";
import { responsesToChat } from "./responses-request.ts";

const chatOf = (fields: Record<string, unknown>) =>
  responsesToChat(responsesIn.parse({ model: "m", input: "hi", ...fields }));

test("a text with instructions", () => {
  expect(chatOf({ instructions: "Be brief.", max_output_tokens: 9, temperature: 0, store: true })).toEqual({
    model: "m",
    max_tokens: 9,
    temperature: 0,
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "hi" },
    ],
  });
});

test("items become messages; calls and reasoning join the assistant's", () => {
  const { messages } = chatOf({
    input: [
      { role: "developer", content: "Be brief." },
      { type: "message", role: "user", content: [{ type: "input_text", text: "3 + 4?" }] },
      { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "A sum." }] },
      { type: "function_call", call_id: "c1", name: "add", arguments: '{"a":3}' },
      { type: "function_call", call_id: "c2", name: "now", arguments: "{}" },
      { type: "function_call_output", call_id: "c1", output: "7" },
      { type: "function_call_output", call_id: "c2", output: [{ type: "input_text", text: "noon" }] },
      {
        type: "message",
        role: "assistant",
        content: [{ type: "output_text", text: "7 at noon.", annotations: [] }],
      },
    ],
  });
  expect(messages).toEqual([
    { role: "system", content: "Be brief." },
    { role: "user", content: "3 + 4?" },
    {
      role: "assistant",
      content: null,
      reasoning_content: "A sum.",
      tool_calls: [
        { id: "c1", type: "function", function: { name: "add", arguments: '{"a":3}' } },
        { id: "c2", type: "function", function: { name: "now", arguments: "{}" } },
      ],
    },
    { role: "tool", tool_call_id: "c1", content: "7" },
    { role: "tool", tool_call_id: "c2", content: "noon" },
    { role: "assistant", content: "7 at noon." },
  ]);
});

test("tools, their choice, and formats", () => {
  const parameters = { type: "object" };
  const chat = chatOf({
    tools: [{ type: "function", name: "add", parameters, strict: true }],
    tool_choice: { type: "function", name: "add" },
    text: { format: { type: "json_schema", name: "out", schema: parameters, strict: true } },
    reasoning: { effort: "low" },
    include: ["message.output_text.logprobs"],
    top_logprobs: 2,
    stream: true,
  });
  expect(chat).toMatchObject({
    tools: [{ type: "function", function: { name: "add", parameters, strict: true } }],
    tool_choice: { type: "function", function: { name: "add" } },
    response_format: { type: "json_schema", json_schema: { name: "out", schema: parameters, strict: true } },
    reasoning_effort: "low",
    logprobs: true,
    top_logprobs: 2,
    stream_options: { include_usage: true },
  });
  expect(chatOf({ text: { format: { type: "text" } } })).not.toHaveProperty("response_format");
});

test.each([
  ["previous_response_id", "resp_1"],
  ["conversation", "conv_1"],
  ["prompt", { id: "p" }],
  ["background", true],
  ["truncation", "auto"],
  ["tools[0]", [{ type: "web_search" }], "tools"],
  ["input[0]", [{ type: "item_reference", id: "x" }], "input"],
  ["input[0].content[0]", [{ role: "user", content: [{ type: "input_file" }] }], "input"],
  ["input[0].call_id", [{ type: "function_call", name: "x" }], "input"],
])("%s is refused by its name", (place, value, field = place) => {
  expect(() => chatOf({ [field]: value })).toThrow(HttpError);
  expect(() => chatOf({ [field]: value })).toThrow(place);
});

test.each([
  ["background", false],
  ["truncation", "disabled"],
  ["previous_response_id", null],
])("%s: %j asks for nothing", (field, value) => {
  expect(() => chatOf({ [field]: value })).not.toThrow();
});
