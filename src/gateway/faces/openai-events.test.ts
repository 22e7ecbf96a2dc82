import fc from "fast-check";
import { expect, test } from "vitest";
import { firstEventEnd, lastEventEnd, OpenAiEvents } from "./openai-events.ts";
import { finishAnswer, finishTail, type UsageTerms } from "./openai-usage.ts";

const terms: UsageTerms = {
  prices: { inputUsd: 1, outputUsd: 2, cachedUsd: 0.5 },
  tier: null,
  isUsageShown: true,
};

const event = (value: unknown, end = "\n\n") =>
  `data: ${typeof value === "string" ? value : JSON.stringify(value)}${end}`;
const text = (content: string) => ({
  id: "1",
  choices: [{ index: 0, delta: { content }, finish_reason: null }],
  usage: null,
});
const finish = { id: "1", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };
const usage = {
  prompt_tokens: 10,
  completion_tokens: 3,
  total_tokens: 13,
  prompt_tokens_details: { cached_tokens: 4 },
};
const alone = { id: "1", choices: [], usage };
/** 6 fresh at 1, 4 cached at 0.5, 3 generated at 2 dollars per million. */
const shown = { ...usage, estimated_cost: 0.000014 };

function run(stream: string, given: Partial<UsageTerms> = {}): { out: string; events: OpenAiEvents } {
  const events = new OpenAiEvents({ ...terms, ...given });
  const bytes = Buffer.from(stream);
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = firstEventEnd(bytes, at);
    out.push(events.push(bytes.subarray(at, end)));
    at = end;
  }
  return { out: Buffer.concat([...out, events.flush()]).toString(), events };
}

test("events without finish and usage go through as they are", () => {
  const stream = [
    ": note\n\n",
    event(text('say "usage": {} and "finish_reason":"stop"')),
    "id: 1\r\ndata: x\r\n\r\n",
    event("[DONE]"),
  ].join("");
  expect(run(stream).out).toBe(stream);
});

test("usage that comes in an event of its own goes into the one that finishes", () => {
  const { out, events } = run([event(text("a")), event(finish), event(alone), event("[DONE]")].join(""));
  expect(out).toBe([event(text("a")), event({ ...finish, usage: shown }), event("[DONE]")].join(""));
  expect(events.usage).toEqual({ inputTokens: 10, outputTokens: 3, cachedTokens: 4 });
});

test("usage that is in its place already gets the cost; the line ends stay", () => {
  const stream = event({ ...finish, usage }, "\r\n\r\n") + event("[DONE]", "\r\n\r\n");
  expect(run(stream).out).toBe(stream.replace(JSON.stringify(usage), JSON.stringify(shown)));
});

test("with several choices the usage goes into the last one that finishes", () => {
  const other = { ...finish, choices: [{ index: 1, delta: {}, finish_reason: "length" }] };
  const { out } = run(
    [event(finish), event(text("b")), event(other), event(alone), event("[DONE]")].join(""),
  );
  expect(out).toBe(
    [event(finish), event(text("b")), event({ ...other, usage: shown }), event("[DONE]")].join(""),
  );
});

test("a client that does not want usage gets none, wherever the engine says it; Berth counts", () => {
  for (const stream of [[event(finish), event(alone)].join(""), event({ ...finish, usage })]) {
    const { out, events } = run(stream, { isUsageShown: false });
    expect(out).toBe(event(finish));
    expect(events.usage?.outputTokens).toBe(3);
  }
  expect(run(event(alone), { isUsageShown: false }).out).toBe("");
});

test("the tier stands beside the usage", () => {
  expect(run(event({ ...finish, usage }), { tier: "flex" }).out).toBe(
    event({ ...finish, usage: shown, service_tier: "flex" }),
  );
  const answer = '{"service_tier":null, "usage":{"prompt_tokens":1} }';
  const finished = finishAnswer(Buffer.from(answer), { ...terms, tier: "priority" });
  expect(JSON.parse(String(finished?.bytes))).toMatchObject({
    service_tier: "priority",
    usage: { prompt_tokens: 1 },
  });
});

test("a finish without usage is not lost when the stream ends", () => {
  expect(run(event(finish)).out).toBe(event(finish));
  expect(run(event(finish) + event("[DONE]")).out).toBe(event(finish) + event("[DONE]"));
});

test("whole answers: the cost is put in, everything else stays byte for byte", () => {
  const body = `{ "id":"é", "choices":[{"text":"\\"usage\\":{}"}],\n "usage": ${JSON.stringify(usage)} }`;
  const finished = finishAnswer(Buffer.from(body), terms);
  expect(String(finished?.bytes)).toBe(body.replace(JSON.stringify(usage), JSON.stringify(shown)));
  expect(finished?.usage?.cachedTokens).toBe(4);
  for (const other of ["", "[]", "no json"]) expect(finishAnswer(Buffer.from(other), terms)).toBeNull();
  for (const odd of ["{}", '{"usage":1}']) {
    expect(finishAnswer(Buffer.from(odd), terms)).toEqual({ bytes: Buffer.from(odd), usage: null });
  }
});

test("of a long answer the tail is enough", () => {
  const tail = `0.25,0.5]}],"model":"m","usage":${JSON.stringify(usage)}}`;
  const { bytes, usage: found } = finishTail(Buffer.from(tail), terms);
  expect(bytes.toString()).toBe(tail.replace(JSON.stringify(usage), JSON.stringify(shown)));
  expect(found?.inputTokens).toBe(10);
  for (const odd of ["0.5]}]}", '"usage":', '"usage":{"a":', '"usage":{"prompt_tokens":"\\"']) {
    expect(finishTail(Buffer.from(odd), terms)).toEqual({ bytes: Buffer.from(odd), usage: null });
  }
});

test("borders of events are found however the bytes are cut", () => {
  const pieces = fc.array(fc.constantFrom("\n", "\r\n", "data: a", "é", "\n\n", "\r\n\r\n"), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(pieces, fc.nat(20), (parts, cut) => {
      const bytes = Buffer.from(parts.join(""));
      const at = cut % (bytes.length + 1);
      const [before, piece] = [bytes.subarray(0, at), bytes.subarray(at)];
      let last = 0;
      for (let i = 1; i <= bytes.length; i += 1) {
        if (/\n\r?\n$/.test(bytes.subarray(0, i).toString("latin1"))) last = i;
      }
      expect(lastEventEnd(before, piece)).toBe(Math.max(0, last - at));
    }),
  );
});
