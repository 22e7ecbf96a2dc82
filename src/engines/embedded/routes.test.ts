/** The server program on the real engine with tiny models: text completions and embeddings. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningEngine, startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";
import { buildTinyModel } from "../../../tools/tiny-gguf/tiny-gguf.ts";

let engine: RunningEngine;

beforeAll(async () => {
  engine = await startReadyEngine({ model: buildTinyModel({ isPooled: true }) });
});
afterAll(async () => {
  await engine?.stop();
});

describe("completions", () => {
  type Completion = {
    choices: { text: string; finish_reason: string; logprobs: { tokens: string[] } | null }[];
  };
  const complete = async (more: object) => {
    const body = { model: "tiny", prompt: "Once", max_tokens: 6, temperature: 0, ignore_eos: true, ...more };
    return (await engine.post("/v1/completions", body)).body as Completion;
  };

  it("takes text, tokens, and lists of one", async () => {
    const text = (await complete({})).choices[0]?.text;
    expect((await complete({ prompt: ["Once"] })).choices[0]?.text).toBe(text);
    // The tokens of O, n, c, e in the tiny vocabulary are their bytes.
    const tokens = [...Buffer.from("Once")];
    expect((await complete({ prompt: tokens })).choices[0]?.text).toBe(text);
    expect((await complete({ prompt: [tokens] })).choices[0]?.text).toBe(text);
    expect((await complete({ echo: true })).choices[0]?.text).toBe(`Once${text}`);
  });

  it("streams the same text", async () => {
    const text = (await complete({})).choices[0]?.text;
    const body = { model: "tiny", prompt: "Once", max_tokens: 6, temperature: 0, ignore_eos: true };
    let streamed = "";
    for await (const event of engine.stream("/v1/completions", body)) {
      streamed += (event as Completion).choices[0]?.text ?? "";
    }
    expect(streamed).toBe(text);
  });
});

describe("embeddings", () => {
  type Embeddings = {
    data: { index: number; embedding: number[] | string }[];
    usage: { prompt_tokens: number };
  };
  const embed = async (input: unknown, more: object = {}) =>
    (await engine.post("/v1/embeddings", { model: "tiny", input, ...more })).body as Embeddings;
  const vectorOf = (answer: Embeddings, index = 0) => answer.data[index]?.embedding as number[];

  it("are of length 1, one for each input, the same for the same text", async () => {
    const answer = await embed(["Hello", "Goodbye", [..."Hello"].map((letter) => letter.charCodeAt(0))]);
    expect(answer.data.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(vectorOf(answer)).toHaveLength(64);
    expect(Math.hypot(...vectorOf(answer))).toBeCloseTo(1);
    expect(vectorOf(answer, 1)).not.toEqual(vectorOf(answer));
    expect(vectorOf(await embed("Hello"))).toEqual(vectorOf(answer));
    expect(answer.usage.prompt_tokens).toBeGreaterThan(3);
  });

  it("come as base64, shorter or longer as asked", async () => {
    const plain = vectorOf(await embed("Hello"));
    const packed = (await embed("Hello", { encoding_format: "base64" })).data[0]?.embedding as string;
    const bytes = Buffer.from(packed, "base64");
    expect(bytes.readFloatLE(4)).toBeCloseTo(plain[1] ?? 0);
    const short = vectorOf(await embed("Hello", { dimensions: 32 }));
    expect(short).toHaveLength(32);
    expect(Math.hypot(...short)).toBeCloseTo(1);
    const long = vectorOf(await embed("Hello", { dimensions: 80 }));
    expect(long.slice(64)).toEqual(new Array(16).fill(0));
  });

  it.each([
    ["nothing", []],
    ["an empty text", [""]],
    ["what is no text", [{}]],
    ["more than the context", "word ".repeat(600)],
  ])("refuse %s", async (_, input) => {
    expect((await engine.post("/v1/embeddings", { model: "tiny", input })).status).toBe(400);
  });
});
