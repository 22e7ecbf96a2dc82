import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpError } from "../../schema/errors.ts";
import { responsesIn } from "../../schema/responses.ts";
import { ResponsesWords } from "./responses-answer.ts";
import { arbitraryAnswer, chunk, eventsOf, usage } from "./stream-testing.ts";

const asked = responsesIn.parse({ model: "mine", input: "hi", temperature: 0.5 });
const words = () => new ResponsesWords({ asked, model: "mine", requestId: "a-1", startedAtMs: 5000 });

test("a stream of text, event by event", () => {
  const events = eventsOf(words(), [
    chunk({ role: "assistant", content: "" }),
    chunk({ content: "Hel" }),
    chunk({ content: "lo" }),
    chunk({}, "stop"),
  ]);
  expect(events.map(({ name }) => name)).toEqual([
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
  ]);
  expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, at) => at));
  expect(events.every(({ name, data }) => data.type === name)).toBe(true);
  expect(events.at(-1)?.data.response).toMatchObject({
    id: "resp_a1",
    object: "response",
    created_at: 5,
    status: "completed",
    model: "mine",
    temperature: 0.5,
    store: false,
    output: [{ type: "message", content: [{ type: "output_text", text: "Hello", annotations: [] }] }],
    usage: {
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 4 },
      output_tokens: 5,
      total_tokens: 15,
    },
  });
});

test("the response at the end of a stream is that of the whole answer, and its items are those that ended", () => {
  fc.assert(
    fc.property(arbitraryAnswer, ({ chunks, whole }) => {
      const events = eventsOf(words(), chunks);
      const response = events.at(-1)?.data.response as { output: unknown[]; status: string };
      expect(response).toEqual(words().whole(whole, usage));
      const ended = events
        .filter(({ name }) => name === "response.output_item.done")
        .map(({ data }) => data.item);
      expect(ended).toEqual(response.output);
      const indexes = events.flatMap(({ data }) =>
        typeof data.output_index === "number" ? [data.output_index] : [],
      );
      expect(indexes).toEqual(indexes.toSorted((a, b) => a - b));
    }),
  );
});

test("an answer that was cut is incomplete", () => {
  const message = { role: "assistant", content: "Hi" };
  expect(words().whole({ choices: [{ index: 0, message, finish_reason: "length" }] }, usage)).toMatchObject({
    status: "incomplete",
    incomplete_details: { reason: "max_output_tokens" },
    output: [{ status: "incomplete" }],
  });
});

test("log probabilities go with the text", () => {
  const entry = { token: "Hi", logprob: -0.5, bytes: [72, 105], top_logprobs: [] };
  const choice = {
    index: 0,
    delta: { content: "Hi" },
    logprobs: { content: [entry] },
    finish_reason: "stop",
  };
  const events = eventsOf(words(), [{ choices: [choice] }]);
  const delta = events.find(({ name }) => name === "response.output_text.delta");
  expect(delta?.data).toMatchObject({ delta: "Hi", logprobs: [entry] });
});

test("an error in a stream is an error event", () => {
  const text = words().failed(new HttpError("engine_failed", "It broke."));
  expect(text).toMatch(/^event: error\ndata: /);
  expect(JSON.parse(text.slice(text.indexOf("data: ") + 6))).toMatchObject({
    type: "error",
    code: "engine_failed",
    message: "It broke.",
    error: { type: "server_error", code: "engine_failed", message: "It broke." },
  });
});
