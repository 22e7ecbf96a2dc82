/**
 * An answer that broke off is continued exactly: for every place between two events of a stream, what comes after the
 * text sent so far is what would have come. On the starter, because it writes like a real model; and tokens, there and back.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningEngine, startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";

const starter = fileURLToPath(new URL("../../../starter/model/berth-starter-F16.gguf", import.meta.url));
let engine: RunningEngine;

beforeAll(async () => {
  engine = await startReadyEngine({ model: starter, launch: { slots: 1 } });
});
afterAll(async () => {
  await engine?.stop();
});

type Usage = { prompt_tokens: number; completion_tokens: number };
type Event = {
  choices: { delta?: { content?: string }; text?: string; finish_reason: string | null }[];
  usage?: Usage;
};
type Answer = { pieces: string[]; finish: string | null; usage: Usage | null };

async function answer(path: string, body: object): Promise<Answer> {
  const result: Answer = { pieces: [], finish: null, usage: null };
  for await (const event of engine.stream(path, { model: "tiny", temperature: 0, ...body, stream: true })) {
    const { choices, usage } = event as Event;
    const text = choices[0]?.delta?.content ?? choices[0]?.text ?? "";
    if (text !== "") result.pieces.push(text);
    result.finish = choices[0]?.finish_reason ?? result.finish;
    result.usage = usage ?? result.usage;
  }
  return result;
}

async function expectExact(path: string, body: object): Promise<number> {
  const whole = await answer(path, body);
  expect(whole.pieces.length).toBeGreaterThan(1);
  for (let cut = 0; cut <= whole.pieces.length; cut += 1) {
    const begun = whole.pieces.slice(0, cut).join("");
    const rest = await answer(path, { ...body, continuation: begun });
    expect([cut, begun + rest.pieces.join("")]).toEqual([cut, whole.pieces.join("")]);
    expect([cut, rest.finish, rest.usage]).toMatchObject([
      cut,
      whole.finish,
      { prompt_tokens: whole.usage?.prompt_tokens, completion_tokens: whole.usage?.completion_tokens },
    ]);
  }
  return whole.pieces.length;
}

describe("continuing", () => {
  it.each([
    "Tell me a story about a fox.",
    "What is 12 + 29?",
    "Say hello in French, please.",
    "Write the numbers from 1 to 9.",
  ])("a chat: %s", async (content) => {
    await expectExact("/v1/chat/completions", { messages: [{ role: "user", content }], max_tokens: 60 });
  });

  it("a chat that had begun with the client's own words", async () => {
    const messages = [
      { role: "user", content: "Tell me a story about a fox." },
      { role: "assistant", content: "Once there was" },
    ];
    await expectExact("/v1/chat/completions", { messages, max_tokens: 30 });
  });

  it("a completion, also where its prompt ends within a word, and with a stop text", async () => {
    await expectExact("/v1/completions", { prompt: "Once upon a ti", max_tokens: 40 });
    await expectExact("/v1/completions", { prompt: "The fox said hel", max_tokens: 40, stop: ["zzz", ". "] });
  });

  it("says which stop text ended an answer", async () => {
    const body = { model: "tiny", temperature: 0, messages: [{ role: "user", content: "What is 3 + 4?" }] };
    type Ended = { choices: { finish_reason: string; stop_reason: string | null }[] };
    const plain = (await engine.post("/v1/chat/completions", body)).body as Ended;
    expect(plain.choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: null });
    const cut = (await engine.post("/v1/chat/completions", { ...body, stop: ["zzz", "7"] })).body as Ended;
    expect(cut.choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: "7" });
    const last: unknown[] = [];
    const streamed = { ...body, stop: "=", stream: true };
    for await (const event of engine.stream("/v1/chat/completions", streamed)) last.push(event);
    expect((last.at(-1) as Ended).choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: "=" });
  });

  it("reaches the limit where the whole answer would have", async () => {
    const body = { messages: [{ role: "user", content: "Tell me a story about a fox." }], max_tokens: 9 };
    const whole = await answer("/v1/chat/completions", body);
    expect(whole.finish).toBe("length");
    const rest = await answer("/v1/chat/completions", { ...body, continuation: whole.pieces.join("") });
    expect(rest).toMatchObject({ pieces: [], finish: "length", usage: { completion_tokens: 9 } });
  });

  it("refuses several answers and what is no text", async () => {
    const body = { model: "tiny", messages: [{ role: "user", content: "Hi" }] };
    expect((await engine.post("/v1/chat/completions", { ...body, continuation: "H", n: 2 })).status).toBe(
      400,
    );
    expect((await engine.post("/v1/chat/completions", { ...body, continuation: 3 })).status).toBe(400);
  });
});

describe("tokens", () => {
  type Tokens = { count: number; max_model_len: number; tokens: number[]; token_strs: string[] | null };
  const tokenize = async (more: object) =>
    (await engine.post("/tokenize", { model: "tiny", ...more })).body as Tokens;

  it("of a prompt, there and back", async () => {
    const prompt = "Grüße an die Füchse 🌍 <|im_end|>";
    const counted = await tokenize({ prompt, return_token_strs: true });
    expect(counted.count).toBe(counted.tokens.length);
    expect(counted.max_model_len).toBeGreaterThan(0);
    expect(counted.token_strs).toHaveLength(counted.count);
    const plain = await tokenize({ prompt: "Hello, fox!" });
    expect(plain.token_strs).toBeNull();
    const back = await engine.post("/detokenize", { model: "tiny", tokens: plain.tokens });
    expect(back.body).toEqual({ prompt: "Hello, fox!" });
  });

  it("of a conversation are the prompt tokens that it costs", async () => {
    const messages = [{ role: "user", content: "Hello!" }];
    const counted = await tokenize({ messages });
    const reply = await engine.post("/v1/chat/completions", { model: "tiny", messages, max_tokens: 1 });
    expect((reply.body as { usage: Usage }).usage.prompt_tokens).toBe(counted.count);
  });

  it("refuses what is neither", async () => {
    expect((await engine.post("/tokenize", { model: "tiny" })).status).toBe(400);
    expect((await engine.post("/tokenize", { model: "other", prompt: "a" })).status).toBe(404);
    expect((await engine.post("/detokenize", { model: "tiny", tokens: [1e9] })).status).toBe(400);
    expect((await engine.post("/tokenize", { model: "tiny", prompt: "a ".repeat(3e6) })).status).toBe(400);
  });
});
