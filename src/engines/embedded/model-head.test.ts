/** What is read of a file's head, on files made for it; that llama.cpp agrees, the engine's own tests show. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeHead } from "../../../tools/tiny-gguf/encode.ts";
import { GgufError } from "../../core/gguf-header.ts";
import { readModelHead } from "./model-head.ts";

const folder = mkdtempSync(join(tmpdir(), "berth-head-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Metadata = Parameters<typeof encodeHead>[0];

function headOf(metadata: Metadata, cutAt?: number) {
  const path = join(folder, "model.gguf");
  writeFileSync(path, encodeHead(metadata, []).subarray(0, cutAt));
  return readModelHead(path);
}

/** More than is read at a time, so that texts lie across the borders of pieces. */
const tokens = Array.from({ length: 60_000 }, (_, n) => `Ġtoken-${n}-of-a-vocabulary-${"é".repeat(n % 5)}`);
const whole: Metadata = [
  ["general.architecture", { string: "llama" }],
  ["general.sampling.temp", { f32: 0.5 }],
  ["general.sampling.top_p", { f32: 7 }],
  ["llama.block_count", { u32: 3 }],
  ["llama.embedding_length", { u32: 64 }],
  ["llama.attention.head_count", { u32: 4 }],
  ["llama.attention.head_count_kv", { i32s: [1, 0, 2] }],
  ["tokenizer.ggml.model", { string: "gpt2" }],
  ["tokenizer.ggml.tokens", { strings: tokens }],
  ["tokenizer.ggml.token_type", { i32s: tokens.map((_, n) => (n === 5 ? 3 : 1)) }],
  ["tokenizer.chat_template", { string: "x".repeat(2000) }],
];

describe("a file's head", () => {
  it("gives the vocabulary whole, and what serving needs", () => {
    const head = headOf(whole);
    expect(head.tokens).toEqual(tokens);
    expect(head.tokenTypes.slice(4, 7)).toEqual([1, 3, 1]);
    expect(head.tokenTypes).toHaveLength(tokens.length);
    expect(head).toMatchObject({ family: "llama", tokenizer: "gpt2", chatTemplate: "x".repeat(2000) });
    expect(head.architecture).toEqual({
      ...{ block_count: 3, embedding_length: 64, rope: {} },
      attention: { head_count: 4, head_count_kv: [1, 0, 2] },
    });
    expect(head.samplingDefaults).toEqual({ temperature: 0.5, topP: null, topK: null, minP: null });
  });

  it("says nothing where the file says nothing", () => {
    expect(headOf([["general.architecture", { string: "bert" }]])).toMatchObject({
      ...{ family: "bert", tokenizer: "", tokens: [], tokenTypes: [], chatTemplate: null },
      architecture: { attention: {}, rope: {} },
    });
  });

  it("is refused where the file ends before it", () => {
    for (const cutAt of [0, 3, 30, 5000, 2_000_000]) {
      expect(() => headOf(whole, cutAt), String(cutAt)).toThrow(GgufError);
    }
  });
});
