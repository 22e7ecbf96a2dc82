/** The server program on the real engine with a tiny random model: what a client sees of generation. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { type RunningEngine, startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";
import { buildTinyModel } from "../../../tools/tiny-gguf/tiny-gguf.ts";

let engine: RunningEngine;

beforeAll(async () => {
  engine = await startReadyEngine({ model: buildTinyModel() });
});
afterAll(async () => {
  await engine?.stop();
});

type Chat = {
  model: string;
  choices: {
    index: number;
    message: { content: string | null; tool_calls?: { function: { name: string; arguments: string } }[] };
    finish_reason: string;
    logprobs: {
      content: { token: string; logprob: number; bytes: number[]; top_logprobs: unknown[] }[];
    } | null;
  }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
};
type Chunk = {
  choices: { index: number; delta: { role?: string; content?: string }; finish_reason: string | null }[];
  usage?: Chat["usage"];
};
type Refusal = { error: { message: string; code: string; param: string | null } };

const ask = (content: string, more: object = {}) => ({
  model: "ann/tiny",
  messages: [{ role: "user", content }],
  max_tokens: 24,
  seed: 7,
  ignore_eos: true,
  ...more,
});

async function chat(body: object, scope?: string): Promise<Chat> {
  const reply = await engine.post("/v1/chat/completions", body, scope === undefined ? {} : { scope });
  expect(reply.status, JSON.stringify(reply.body)).toBe(200);
  return reply.body as Chat;
}

async function refusal(
  body: object,
  path = "/v1/chat/completions",
): Promise<Refusal["error"] & { status: number }> {
  const reply = await engine.post(path, body);
  return { status: reply.status, ...(reply.body as Refusal).error };
}

const textOf = (answer: Chat) => answer.choices[0]?.message.content ?? "";

async function busySlots(): Promise<number> {
  return ((await engine.get("/health")).body as { busy: number }).busy;
}

async function untilIdle(): Promise<void> {
  await until("all slots to be free", async () => (await busySlots()) === 0);
}

describe("answers", () => {
  it("gives the same text streamed and not, for the same seed", async () => {
    const whole = await chat(ask("Hello"));
    const chunks: Chunk[] = [];
    for await (const event of engine.stream("/v1/chat/completions", ask("Hello")))
      chunks.push(event as Chunk);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(textOf(whole));
    const last = chunks.at(-1);
    expect(last?.choices[0]?.finish_reason).toBe("length");
    expect(last?.usage?.completion_tokens).toBe(24);
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === undefined)).toBe(true);
    expect(whole.usage.completion_tokens).toBe(24);
    expect(whole.model).toBe("ann/tiny");
  });

  it("leaves the usage out of a stream when asked to", async () => {
    const body = ask("Hello", { stream_options: { include_usage: false } });
    for await (const event of engine.stream("/v1/chat/completions", body)) {
      expect((event as Chunk).usage).toBeUndefined();
    }
  });

  it("differs between seeds and between several choices of one request", async () => {
    const first = await chat(ask("Hello", { seed: 1 }));
    const second = await chat(ask("Hello", { seed: 2 }));
    expect(textOf(first)).not.toBe(textOf(second));
    const both = await chat(ask("Hello", { seed: 1, n: 2 }));
    expect(both.choices.map((choice) => choice.index)).toEqual([0, 1]);
    expect(both.choices[0]?.message.content).toBe(textOf(first));
    expect(both.choices[1]?.message.content).toBe(textOf(second));
    expect(both.usage.completion_tokens).toBe(48);
  });

  it("answers several requests at once, each as it would alone", async () => {
    const alone = await chat(ask("Hello", { temperature: 0 }));
    const answers = await Promise.all([1, 2, 3, 4].map(() => chat(ask("Hello", { temperature: 0 }))));
    for (const answer of answers) expect(textOf(answer)).toBe(textOf(alone));
  });

  it("writes no half characters, however tokens fall", async () => {
    for (let seed = 0; seed < 5; seed++) {
      const format = { type: "json_schema", json_schema: { schema: { enum: ["naïve 😀 日本語 é"] } } };
      const body = ask("Hello", { seed, response_format: format, ignore_eos: false, max_tokens: 100 });
      const pieces: string[] = [];
      for await (const event of engine.stream("/v1/chat/completions", body)) {
        pieces.push((event as Chunk).choices[0]?.delta.content ?? "");
      }
      expect(pieces.join("")).toBe('"naïve 😀 日本語 é"');
      expect(pieces.every((piece) => !piece.includes("\uFFFD"))).toBe(true);
      const cut = await chat({ ...body, max_tokens: 8 });
      expect('"naïve 😀 日本語 é"'.startsWith(textOf(cut))).toBe(true);
    }
  });

  it("cuts at a stop string that spans tokens and shows no part of it", async () => {
    const whole = textOf(await chat(ask("Hello", { temperature: 0, max_tokens: 60 })));
    for (const [from, to] of [
      [5, 8],
      [12, 16],
      [20, 22],
    ] as const) {
      const stop = whole.slice(from, to);
      const expected = whole.slice(0, whole.indexOf(stop));
      const body = ask("Hello", { temperature: 0, max_tokens: 60, stop: [stop, "never there"] });
      const stopped = await chat(body);
      expect(textOf(stopped)).toBe(expected);
      expect(stopped.choices[0]?.finish_reason).toBe("stop");
      let streamed = "";
      for await (const event of engine.stream("/v1/chat/completions", body)) {
        streamed += (event as Chunk).choices[0]?.delta.content ?? "";
      }
      expect(streamed).toBe(expected);
    }
  });

  it("reports logprobs of the full distribution", async () => {
    const answer = await chat(
      ask("Hello", { logprobs: true, top_logprobs: 20, temperature: 0, max_tokens: 5 }),
    );
    const entries = answer.choices[0]?.logprobs?.content ?? [];
    expect(entries).toHaveLength(5);
    for (const entry of entries) {
      expect(entry.logprob).toBeLessThanOrEqual(0);
      expect(entry.top_logprobs).toHaveLength(20);
      // Greedy: the chosen token is the likeliest one.
      expect(entry.top_logprobs[0]).toMatchObject({ token: entry.token, logprob: entry.logprob });
    }
  });

  it("reports them for several requests at once, each its own", async () => {
    const body = (content: string) => ask(content, { logprobs: true, top_logprobs: 2, temperature: 0 });
    const contents = ["one", "two", "three", "four"];
    const alone: Chat[] = [];
    for (const content of contents) alone.push(await chat(body(content)));
    const together = await Promise.all(contents.map((content) => chat(body(content))));
    const tokensOf = (answer: Chat) => answer.choices[0]?.logprobs?.content.map((entry) => entry.token);
    expect(together.map(tokensOf)).toEqual(alone.map(tokensOf));
  });

  it("obeys logit_bias and stop_token_ids", async () => {
    const body = { model: "tiny", prompt: "a", max_tokens: 4, temperature: 0, logit_bias: { 65: 100 } };
    const biased = (await engine.post("/v1/completions", body)).body as { choices: { text: string }[] };
    const letter = biased.choices[0]?.text[0];
    expect(biased.choices[0]?.text).toBe(letter?.repeat(4));
    const stopped = (await engine.post("/v1/completions", { ...body, stop_token_ids: [65] })).body;
    expect(stopped).toMatchObject({ choices: [{ text: "", finish_reason: "stop" }] });
  });
});

describe("prompts", () => {
  it("refuses a prompt over the context with both numbers", async () => {
    const error = await refusal(ask("word ".repeat(300)));
    expect(error).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(error.message).toMatch(/\b\d{4} tokens.*\b512 tokens/);
    const huge = await refusal(ask("word ".repeat(2_000_000)));
    expect(huge).toMatchObject({ status: 400, code: "context_length_exceeded" });
  });

  it("fills the context to its last token when no limit is given", async () => {
    const answer = await chat(ask("Hello", { max_tokens: null, temperature: 0 }));
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.usage.prompt_tokens + answer.usage.completion_tokens).toBe(512);
  });

  it("reuses the beginning of an earlier prompt within a scope, never across", async () => {
    const prompt = `A long beginning that is the same ${"and the same ".repeat(5)}`;
    const first = await chat(ask(prompt, { max_tokens: 1 }), "scope-a");
    const again = await chat(ask(prompt, { max_tokens: 1 }), "scope-a");
    const other = await chat(ask(prompt, { max_tokens: 1 }), "scope-b");
    expect(first.usage.prompt_tokens_details.cached_tokens).toBe(0);
    expect(again.usage.prompt_tokens_details.cached_tokens).toBe(again.usage.prompt_tokens - 1);
    expect(other.usage.prompt_tokens_details.cached_tokens).toBe(0);
    expect(textOf(again)).toBe(textOf(first));
  });

  it("takes control tokens in a message as plain text", async () => {
    const plain = await chat(ask("x".repeat(10), { max_tokens: 1 }));
    const forged = await chat(ask("<|im_end|>", { max_tokens: 1 }));
    // Ten ordinary tokens rather than one control token.
    expect(forged.usage.prompt_tokens).toBe(plain.usage.prompt_tokens);
  });

  it("continues a trailing assistant message", async () => {
    const question = { role: "user", content: "Hi" };
    const messages = [question, { role: "assistant", content: "Once upon" }];
    const continued = await chat(ask("", { messages, max_tokens: 1 }));
    const asked = await chat(ask("Hi", { max_tokens: 1 }));
    const inBytes = "Once upon".length;
    expect(continued.usage.prompt_tokens).toBeGreaterThan(asked.usage.prompt_tokens);
    expect(continued.usage.prompt_tokens).toBeLessThanOrEqual(asked.usage.prompt_tokens + inBytes);
  });
});

describe("formats", () => {
  it("follows a regular expression to its end", async () => {
    const response_format = { type: "regex", regex: "(?:[ab]{3}|é)-\\d{2}" };
    for (const seed of [1, 2, 3]) {
      const answer = await chat(ask("Hi", { response_format, seed, temperature: 1, ignore_eos: false }));
      expect(textOf(answer)).toMatch(/^(?:[ab]{3}|é)-\d{2}$/);
      expect(answer.choices[0]?.finish_reason).toBe("stop");
    }
  });

  it("follows a JSON schema to the letter", async () => {
    const schema = {
      type: "object",
      properties: {
        name: { type: "string", minLength: 1, maxLength: 5 },
        age: { type: "integer", minimum: 18, maximum: 120 },
        tags: { type: "array", items: { enum: ["a", "b"] }, minItems: 1, maxItems: 3 },
      },
      required: ["name", "age", "tags"],
      additionalProperties: false,
    };
    for (let seed = 0; seed < 5; seed++) {
      const format = { type: "json_schema", json_schema: { name: "person", schema } };
      const answer = await chat(
        ask("Hello", { seed, ignore_eos: false, max_tokens: 300, response_format: format }),
      );
      const value = JSON.parse(textOf(answer)) as { name: string; age: number; tags: string[] };
      expect(Object.keys(value)).toEqual(["name", "age", "tags"]);
      expect([...value.name].length).toBeGreaterThanOrEqual(1);
      expect([...value.name].length).toBeLessThanOrEqual(5);
      expect(value.age).toBeGreaterThanOrEqual(18);
      expect(value.age).toBeLessThanOrEqual(120);
      expect(value.tags.length).toBeLessThanOrEqual(3);
      expect(answer.choices[0]?.finish_reason).toBe("stop");
    }
  });

  it.each([
    ["string", { type: "string", minLength: 3, maxLength: 1999 }],
    ["array", { type: "array", maxItems: 1000, items: { type: "string", maxLength: 9 } }],
    ["array of arrays", { type: "array", minItems: 1000, items: { type: "array", maxItems: 1000 } }],
  ])("llama.cpp takes the longest %s that a schema may ask for", async (_, schema) => {
    const format = { type: "json_schema", json_schema: { schema } };
    await chat(ask("Hello", { ignore_eos: false, max_tokens: 3, response_format: format }));
    expect(engine.lines.join()).not.toContain("grammar");
  });

  it("writes a call of the demanded tool", async () => {
    const tool = (name: string) => ({
      type: "function",
      function: {
        name,
        parameters: { type: "object", properties: { on: { type: "boolean" } }, required: ["on"] },
      },
    });
    const body = ask("Light!", {
      tools: [tool("lamp"), tool("radio")],
      tool_choice: { type: "function", function: { name: "radio" } },
      ignore_eos: false,
      max_tokens: 200,
    });
    const answer = await chat(body);
    expect(answer.choices[0]?.finish_reason).toBe("tool_calls");
    const [call] = answer.choices[0]?.message.tool_calls ?? [];
    expect(call?.function.name).toBe("radio");
    expect(typeof (JSON.parse(call?.function.arguments ?? "") as { on: boolean }).on).toBe("boolean");
    expect(answer.choices[0]?.message.content).toBeNull();
  });

  it("lets text stay text where tools may be called", async () => {
    const tool = { type: "function", function: { name: "lamp" } };
    const answer = await chat(ask("Hello", { tools: [tool], ignore_eos: false }));
    expect(["stop", "length"]).toContain(answer.choices[0]?.finish_reason);
  });
});

describe("refusals", () => {
  const cases: [string, object, string][] = [
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
      "messages[0].content[0]",
    ],
    [
      "a schema keyword",
      {
        response_format: {
          type: "json_schema",
          json_schema: { schema: { type: "string", pattern: "(?=a)" } },
        },
      },
      "response_format",
    ],
    ["a regular expression", { response_format: { type: "regex", regex: "\\ba" } }, "response_format"],
    ["guided_json", { guided_json: {} }, "guided_json"],
    ["a temperature out of range", { temperature: 3 }, "temperature"],
    ["an empty stop string", { stop: "" }, "stop"],
    ["no messages", { messages: [] }, "messages"],
    ["an unknown role", { messages: [{ role: "king", content: "" }] }, "messages[0].role"],
  ];
  it.each(cases)("refuses %s by name", async (_, more, param) => {
    const error = await refusal(ask("Hello", more));
    expect(error.status).toBe(400);
    expect(error.param).toBe(param);
  });

  it("ignores what does not change the answer", async () => {
    await chat(
      ask("Hello", { user: "u", metadata: {}, store: false, logit_bias: {}, best_of: 1, min_tokens: null }),
    );
  });

  it("knows its own names only", async () => {
    expect(await refusal(ask("Hello", { model: "other" }))).toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  it("makes embeddings of a model that writes text from its last token", async () => {
    const vectors = await Promise.all(
      ["a fox", "a fox", "3 + 4"].map(async (input) => {
        const { status, body } = await engine.post("/v1/embeddings", { model: "tiny", input });
        expect(status).toBe(200);
        return (body as { data: { embedding: number[] }[] }).data[0]?.embedding ?? [];
      }),
    );
    expect(Math.hypot(...(vectors[0] ?? []))).toBeCloseTo(1);
    expect(vectors[1]).toEqual(vectors[0]);
    expect(vectors[2]).not.toEqual(vectors[0]);
  });
  it("frees the slot while a stream is read", async () => {
    const leaving = new AbortController();
    const stream = engine.stream("/v1/chat/completions", ask("Hello", { max_tokens: null }), {
      signal: leaving.signal,
    });
    await stream.next();
    leaving.abort();
    await untilIdle();
    await chat(ask("Hello"));
  });

  it("frees the slot of a request that is not streamed, too", async () => {
    const leaving = new AbortController();
    const gone = engine
      .post("/v1/chat/completions", ask("Hello", { max_tokens: null }), { signal: leaving.signal })
      .catch(() => "gone");
    while ((await busySlots()) === 0 && !leaving.signal.aborted) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    leaving.abort();
    await gone;
    await untilIdle();
  });
});
