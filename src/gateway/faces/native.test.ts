import { expect, test } from "vitest";
import { freeOfCharge } from "../../core/usage.ts";
import { HttpError } from "../../schema/errors.ts";
import { NativeWords, nativeError } from "./native-answer.ts";
import { readNative } from "./native-request.ts";
import { eventsOf, usage } from "./stream-testing.ts";

const head = {
  requestId: "r1",
  prices: { ...freeOfCharge, outputUsd: 2 },
  startedAtMs: 1000,
  now: () => 1250,
};
const json = "application/json";
const read = (fields: unknown, type = json) => readNative("m", type, Buffer.from(JSON.stringify(fields)));

test("text generation is a completion of the prompt as it is", () => {
  const { task, body, webhook } = read({
    input: "<s>[INST] hi [/INST]",
    max_new_tokens: "20",
    num_responses: 2,
    stop: ["END"],
    repetition_penalty: 1.1,
    unknown: 1,
  });
  expect({ task, body, webhook }).toEqual({
    task: "text",
    body: {
      model: "m",
      prompt: "<s>[INST] hi [/INST]",
      max_tokens: 20,
      n: 2,
      stop: ["END"],
      repetition_penalty: 1.1,
    },
    webhook: null,
  });
  expect(read({ input: "a" }).body.max_tokens).toBe(512);
});

test("a form says the same as JSON", () => {
  const form = [
    ["input", "hi"],
    ["max_new_tokens", "20"],
    ["stop", '["a"]'],
    ["stream", "true"],
  ];
  const parts = form.map(
    ([name, value]) => `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const { body } = readNative(
    "m",
    "multipart/form-data; boundary=b",
    Buffer.from(`${parts.join("")}--b--\r\n`),
  );
  expect(body).toEqual({ model: "m", prompt: "hi", max_tokens: 20, stop: ["a"], stream: "true" });
});

test("inputs are embedded", () => {
  expect(read({ inputs: ["a", "b"] })).toMatchObject({
    task: "embeddings",
    body: { model: "m", input: ["a", "b"], encoding_format: "float" },
  });
});

test.each([
  [{ queries: ["a"], documents: ["b"] }, "unsupported_parameter", "queries"],
  [{ inputs: ["a"], normalize: false }, "unsupported_parameter", "normalize"],
  [{}, "invalid_input", "input"],
  [{ input: 7 }, "invalid_input", "input"],
  [{ input: "a", max_new_tokens: 0 }, "invalid_input", "max_new_tokens"],
])("refuses %j", (fields, code, param) => {
  const caught = (() => {
    try {
      return read(fields);
    } catch (error) {
      return error;
    }
  })();
  expect(caught).toMatchObject({ code, param });
});

test("a whole answer tells what it took", () => {
  const choices = [
    { index: 1, text: "two", finish_reason: "stop" },
    { index: 0, text: "one", finish_reason: "length" },
  ];
  expect(new NativeWords(head, "text").whole({ choices }, usage)).toEqual({
    results: [{ generated_text: "one" }, { generated_text: "two" }],
    num_tokens: 5,
    num_input_tokens: 10,
    request_id: "r1",
    inference_status: {
      status: "succeeded",
      runtime_ms: 250,
      cost: 0.00001,
      tokens_generated: 5,
      tokens_input: 10,
    },
  });
});

test("embeddings come in the order of the inputs", () => {
  const data = [
    { index: 1, embedding: [2] },
    { index: 0, embedding: [1] },
  ];
  expect(new NativeWords(head, "embeddings").whole({ data }, usage)).toMatchObject({
    embeddings: [[1], [2]],
    input_tokens: 10,
    inference_status: { tokens_generated: null, tokens_input: null },
  });
});

test("a stream names each token, and the last frame has the whole text", () => {
  const logprobs = { tokens: ["Hel", "lo"], token_logprobs: [-1, null] };
  const frames = eventsOf(new NativeWords(head, "text"), [
    { choices: [{ index: 0, text: "Hello", logprobs, finish_reason: null }] },
    { choices: [{ index: 0, text: " 🌍", logprobs: { tokens: [" ", "?", "?"] }, finish_reason: null }] },
    { choices: [{ index: 0, text: "", finish_reason: "stop" }] },
  ]).map(({ data }) => data);
  expect(frames.slice(0, 3)).toEqual(
    [
      ["Hel", -1],
      ["lo", null],
      [" 🌍", null],
    ].map(([text, logprob]) => ({
      token: { id: null, text, logprob, special: false },
      generated_text: null,
      details: null,
    })),
  );
  expect(frames[3]).toMatchObject({
    generated_text: "Hello 🌍",
    details: { finish_reason: "stop", generated_tokens: 5 },
  });
});

test("errors: a sentence, or what is wrong field by field", () => {
  expect(nativeError(new HttpError("engine_failed", "It broke."))).toEqual({
    detail: { error: "It broke." },
  });
  const issues = [{ loc: ["body", "input"], type: "missing", msg: "Field required" }];
  expect(nativeError(new HttpError("invalid_input", "input: Field required.", { issues }))).toEqual({
    detail: issues,
  });
  const text = new NativeWords(head, "text").failed(new HttpError("timeout", "Too slow."));
  expect(text).toBe('data: {"error_type":"timeout","error_message":"Too slow."}\n\n');
});
