import fc from "fast-check";
import { expect, test } from "vitest";
import { type Abilities, unknownAbilities } from "../../core/abilities.ts";
import { HttpError } from "../../schema/errors.ts";
import { modelOf } from "../test-rig.ts";
import type { Asked } from "./face.ts";
import { openAiFace } from "./openai.ts";

const able: Abilities = { ...unknownAbilities, engine: "able", usageByDefault: true };

function read(fields: Record<string, unknown> | string, path = "/v1/chat/completions", headers = {}): Asked {
  const text =
    typeof fields === "string"
      ? fields
      : JSON.stringify({ model: "chat", messages: [], prompt: "x", input: "x", ...fields });
  const body = Buffer.from(text);
  return openAiFace.read({ path, query: new URLSearchParams(), headers, body, requestId: "r", nowMs: 0 });
}

/** What the engine gets of a request. */
function sent(fields: Record<string, unknown> | string, abilities: Abilities = able, path?: string): string {
  const asked = read(fields, path);
  return asked.bodyFor(modelOf([], { abilities }), asked.selectors[0] ?? "").toString();
}

function refusal(act: () => unknown): HttpError {
  try {
    act();
  } catch (error) {
    if (error instanceof HttpError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("a body with nothing to change goes on byte for byte", () => {
  const text =
    '{ "model":"chat",\n"messages":[{"role":"user","content":"\\u00e9"}], "seed": 18446744073709551615, "stream":true }';
  expect(sent(text)).toBe(text);
});

test.each<[string, Record<string, unknown>]>([
  ["engine priority", { priority: -1 }],
  ["a cache salt", { cache_salt: "theirs" }],
  ["a slot", { id_slot: 3 }],
  ["where its cache comes from", { kv_transfer_params: { host: "x" } }],
  ["what nobody knows", { whatever: 1 }],
  ["what is the gateway's alone", { models: ["b"], fail_fast: true }],
])("an engine is not told %s", (_name, fields) => {
  expect(sent({ ...fields, top_p: 0.5 })).toBe('{"model":"chat","messages":[],"top_p":0.5}');
});

test.each<[string, unknown]>([
  ["chat_template", "{{ x }}"],
  ["prompt_embeds", "AAAA"],
  ["logits_processors", ["os.system"]],
  ["mm_processor_kwargs", { a: 1 }],
])("no request supplies %s", (name, value) => {
  expect(refusal(() => read({ [name]: value }))).toMatchObject({ code: "bad_request", param: name });
  expect(JSON.parse(sent({ [name]: null }))).toEqual({ model: "chat", messages: [] });
});

test("no template comes in by chat_template_kwargs", () => {
  const kwargs = { enable_thinking: false, chat_template: "{{ x }}" };
  expect(JSON.parse(sent({ chat_template_kwargs: kwargs }))).toMatchObject({
    chat_template_kwargs: { enable_thinking: false },
  });
});

const part = (value: unknown) => ({ messages: [{ role: "user", content: [value] }] });
const image = (url: string) => part({ type: "image_url", image_url: { url } });

test.each([
  "file:///etc/passwd",
  "http://localhost/x",
  "http://127.1/x",
  "http://2130706433/",
  "https://[::1]/",
  "https://[::ffff:10.0.0.1]/",
  "http://169.254.169.254/latest/meta-data",
  "https://metadata.google.internal/",
  "https://user:pw@example.com/",
  "ftp://example.com/a.png",
  "//x",
])("an engine is not made to fetch %s", (url) => {
  const shapes = [
    image(url),
    part({ image_url: url }),
    { messages: [{ role: "user", content: { type: "video_url", video_url: { url } } }] },
  ];
  for (const fields of shapes) {
    expect(refusal(() => read(fields))).toMatchObject({ code: "bad_request", param: "messages" });
  }
  const hidden = JSON.stringify({ model: "m", ...image(url) }).replaceAll("image_url", "image\\u005furl");
  expect(refusal(() => read(hidden)).code).toBe("bad_request");
});

test("media goes on where the engine takes it, and nothing can hide behind a key that occurs twice", () => {
  for (const url of ["data:image/png;base64,AAAA", "https://example.com/a.png"]) {
    expect(JSON.parse(sent(image(url)))).toMatchObject(image(url));
    expect(refusal(() => sent(image(url), { ...able, images: false }))).toMatchObject({ param: "messages" });
  }
  expect(refusal(() => read(part({ type: "image_embeds", image_embeds: "AAAA" }))).code).toBe("bad_request");
  const twice =
    '{"model":"chat","messages":[{"role":"user","content":[{"image_url":{"url":"file:///x"}}],"content":"hi"}]}';
  expect(sent(twice)).toBe('{"model":"chat","messages":[{"role":"user","content":"hi"}]}');
});

test.each<[Record<string, unknown>, string, string]>([
  [{ temperature: 2.1 }, "temperature", "less_than_equal"],
  [{ temperature: "warm" }, "temperature", "float_parsing"],
  [{ temperature: [] }, "temperature", "float_type"],
  [{ top_p: 0 }, "top_p", "greater_than"],
  [{ min_p: -0.1 }, "min_p", "greater_than_equal"],
  [{ top_k: 1000 }, "top_k", "less_than_equal"],
  [{ top_k: 1.5 }, "top_k", "int_from_float"],
  [{ n: 5 }, "n", "less_than_equal"],
  [{ n: "two" }, "n", "int_parsing"],
  [{ max_tokens: -1 }, "max_tokens", "greater_than_equal"],
  [{ max_tokens: 10_000_001 }, "max_tokens", "less_than_equal"],
  [{ presence_penalty: -2.5 }, "presence_penalty", "greater_than_equal"],
  [{ repetition_penalty: 0 }, "repetition_penalty", "greater_than_equal"],
  [{ stop: Array.from({ length: 17 }, () => "x") }, "stop", "too_long"],
  [{ stop: [1] }, "stop", "string_type"],
  [{ stream: "maybe" }, "stream", "bool_parsing"],
  [{ stream_options: 1 }, "stream_options", "dict_type"],
  [{ reasoning_effort: "much" }, "reasoning_effort", "enum"],
  [{ models: [] }, "models", "too_short"],
  [{ models: ["a", "b", "c", "d", "e"] }, "models", "too_long"],
  [{ tools: {} }, "tools", "list_type"],
  [{ top_logprobs: 21 }, "top_logprobs", "less_than_equal"],
  [{ messages: "hi" }, "messages", "list_type"],
  [{ messages: undefined }, "messages", "missing"],
  [{ model: undefined }, "model", "missing"],
  [{ model: "" }, "model", "string_too_short"],
  [{ response_format: { type: "xml" } }, "response_format", "enum"],
])("%j is refused by name", (fields, param, type) => {
  const error = refusal(() => read(fields));
  expect(error).toMatchObject({ status: 422, code: "invalid_input", param });
  const body = openAiFace.errorBody(error, "r") as { error: unknown; detail: { loc: unknown[] }[] };
  expect(body.error).toMatchObject({ param, type: "invalid_request_error", code: "invalid_input" });
  expect(body.detail).toEqual([
    { loc: expect.arrayContaining(["body", param]), type, msg: expect.any(String) },
  ]);
});

test.each<[Record<string, unknown>, string, string]>([
  [
    { response_format: { type: "regex", regex: "(a{1000}){1000}" } },
    "response_format",
    "The expression in response_format comes to more than 100000 characters when its repetitions are written out, which is the limit. Ask for a simpler one.",
  ],
  [
    { response_format: { type: "json_schema", json_schema: { name: "x", schema: { maxItems: 1e9 } } } },
    "response_format",
    "The JSON schema in response_format has a maxItems above 100000, which is the limit. Ask for a simpler one.",
  ],
  [
    { tools: [{ type: "function", function: { name: "f", parameters: { pattern: "a{999999}" } } }] },
    "tools",
    "The schema of a tool's parameters in tools has a pattern that comes to more than 100000 characters when its repetitions are written out, which is the limit. Ask for a simpler one.",
  ],
  [
    { response_format: { type: "json_object", filler: "x".repeat(1_000_001) } },
    "response_format",
    "What is asked for in response_format is longer than 1000000 characters, which is the limit. Ask for a simpler one.",
  ],
])("what no engine should have to compile is refused with the limit: %#", (fields, param, message) => {
  expect(refusal(() => read(fields))).toMatchObject({
    status: 400,
    code: "unsupported_parameter",
    param,
    message,
  });
});

test("a seed beyond its range, and one at its edge", () => {
  expect(refusal(() => read('{"model":"m","messages":[],"seed":18446744073709551616}')).param).toBe("seed");
  const edge = '{"model":"chat","messages":[],"seed":-9223372036854775808}';
  expect(sent(edge)).toBe(edge);
});

test("values are taken as DeepInfra takes them, and passed on as what they mean", () => {
  const fields = { temperature: "0.5", n: "2", stream: "false", max_tokens: 0, top_k: 40.0, logprobs: null };
  expect(JSON.parse(sent(fields))).toEqual({
    model: "chat",
    messages: [],
    temperature: 0.5,
    n: 2,
    stream: false,
    max_tokens: null,
    top_k: 40,
    logprobs: null,
  });
});

test.each<[Record<string, unknown>, Partial<Abilities>, string]>([
  [{ tools: [{ type: "function" }] }, { tools: false }, "tools"],
  [{ response_format: { type: "json_object" } }, { jsonObject: false }, "response_format"],
  [{ response_format: { type: "json_schema", json_schema: {} } }, { jsonSchema: false }, "response_format"],
  [{ response_format: { type: "regex", regex: "a" } }, { regex: false }, "response_format"],
  [{ logprobs: true }, { logprobs: false }, "logprobs"],
  [{ n: 2 }, { maxChoices: 1 }, "n"],
  [{ reasoning_effort: "low" }, { reasoning: false }, "reasoning_effort"],
  [{ reasoning: { enabled: true } }, { reasoning: false }, "reasoning"],
  [{}, { chat: false }, "model"],
])("%j at an engine that cannot is a 400 that names it", (fields, lack, param) => {
  expect(sent(fields)).toBeTypeOf("string");
  const error = refusal(() => sent(fields, { ...able, ...lack }));
  expect(error).toMatchObject({ status: 400, code: "unsupported_parameter", param });
  expect(error.message).toContain("able");
  expect(error.message).toContain(param);
});

test("what asks for nothing needs no ability", () => {
  const weak = { ...able, tools: false, reasoning: false, jsonObject: false, logprobs: false, maxChoices: 1 };
  const fields = {
    tools: [],
    n: 1,
    logprobs: false,
    top_logprobs: 0,
    reasoning_effort: "none",
    response_format: { type: "text" },
  };
  expect(JSON.parse(sent(fields, weak))).toMatchObject(fields);
  expect(sent({ tools: [{}], tool_choice: "none" }, weak)).toBeTypeOf("string");
});

test("usage is asked for where the engine does not give it by itself, and where the client does not want it", () => {
  const lazy = { ...able, usageByDefault: false };
  const options = (fields: Record<string, unknown>, abilities: Abilities) =>
    JSON.parse(sent({ stream: true, ...fields }, abilities)).stream_options;
  expect(options({}, able)).toBeUndefined();
  expect(options({}, lazy)).toEqual({ include_usage: true });
  expect(options({ stream_options: { include_usage: true } }, lazy)).toEqual({ include_usage: true });
  expect(options({ stream_options: { include_usage: false, x: 1 } }, able)).toEqual({
    include_usage: true,
    x: 1,
  });
  expect(JSON.parse(sent({}, lazy)).stream_options).toBeUndefined();
});

test("tiers: the body wins, the older words are understood, unknown ones are the default", () => {
  const tier = (fields: Record<string, unknown>, header?: string) =>
    read(fields, undefined, header === undefined ? {} : { "x-deepinfra-service-tier": header }).tier;
  expect(tier({})).toBe("default");
  expect(tier({}, "flex")).toBe("flex");
  expect(tier({ service_tier: "priority" }, "flex")).toBe("priority");
  expect(tier({ service_tier: "auto" })).toBe("priority");
  expect(tier({ service_tier: "standard_only" })).toBe("default");
  expect(tier({ service_tier: "gold" })).toBe("default");
});

test("a fallback model is asked under its own name", () => {
  const asked = read({ models: ["other", "chat"] });
  expect(asked.selectors).toEqual(["chat", "other"]);
  const body = asked.bodyFor(modelOf([], { abilities: able, name: "ann/other" }), "other");
  expect(JSON.parse(body.toString())).toEqual({ model: "other", messages: [] });
});

test("vLLM is told to continue a trailing assistant message", () => {
  const vllm = { ...able, engine: "vllm" };
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  expect(JSON.parse(sent({ messages }, vllm))).toMatchObject({
    continue_final_message: true,
    add_generation_prompt: false,
  });
  expect(JSON.parse(sent({ messages: messages.slice(0, 1) }, vllm))).toEqual({
    model: "chat",
    messages: messages.slice(0, 1),
  });
  expect(JSON.parse(sent({ messages }, able))).toEqual({ model: "chat", messages });
});

test("any body is read or refused in a known way, and what is sent is one JSON object with known keys", () => {
  const names = [
    "temperature",
    "n",
    "stop",
    "stream",
    "tools",
    "response_format",
    "models",
    "seed",
    "stream_options",
  ];
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom("1", "true", 1e300, -1, [""], { type: "text" }));
  const fields = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), value, { maxKeys: 5 });
  fc.assert(
    fc.property(fields, (given) => {
      try {
        expect(JSON.parse(sent(given))).toMatchObject({ model: expect.any(String) });
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        expect([400, 422]).toContain(error.status);
      }
    }),
  );
});
