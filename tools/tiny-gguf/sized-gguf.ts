/**
 * Writes GGUF models of real sizes with random weights in Q8_0 (llama architecture, 32,000 tokens), so that speed can be
 * measured without any download. What they say is noise; the work for each token is that of a real model of the size.
 * Run by hand: `node sized-gguf.ts 58M out.gguf`.
 */
import { open, rename } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { byteToCharacter, createRandom, encodeHead, padding, type TensorHead, tensorType } from "./encode.ts";

type Shape = { layers: number; embedding: number; feedForward: number; heads: number; keyHeads: number };

/** By their number of parameters; the embedding is the output as well, as small models have it. */
export const sizes = {
  "58M": { layers: 13, embedding: 512, feedForward: 1408, heads: 8, keyHeads: 8 },
  "500M": { layers: 24, embedding: 1280, feedForward: 3328, heads: 20, keyHeads: 20 },
} as const satisfies Record<string, Shape>;

const vocabularySize = 32_000;
const contextTokens = 8192;

export async function writeSizedModel(path: string, size: keyof typeof sizes): Promise<void> {
  const shape = sizes[size];
  const tensors = tensorsOf(shape);
  const random = createRandom(1);
  const file = await open(`${path}.part`, "w");
  try {
    await file.write(encodeHead(metadataOf(size, shape), tensors));
    const noise = Uint8Array.from({ length: noiseBlocks * blockWeights }, () => random() * 127);
    for (const tensor of tensors) {
      for (const piece of tensor.type === tensorType.f32 ? ones(tensor) : weights(tensor, noise)) {
        await file.write(piece);
      }
      await file.write(padding(tensor.bytes));
    }
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
}

function metadataOf(size: string, shape: Shape): Parameters<typeof encodeHead>[0] {
  const tokens = vocabulary();
  return [
    ["general.architecture", { string: "llama" }],
    ["general.name", { string: `random-${size}` }],
    ["general.file_type", { u32: 7 }],
    ["llama.block_count", { u32: shape.layers }],
    ["llama.context_length", { u32: contextTokens }],
    ["llama.embedding_length", { u32: shape.embedding }],
    ["llama.feed_forward_length", { u32: shape.feedForward }],
    ["llama.attention.head_count", { u32: shape.heads }],
    ["llama.attention.head_count_kv", { u32: shape.keyHeads }],
    ["llama.attention.layer_norm_rms_epsilon", { f32: 1e-5 }],
    ["llama.rope.dimension_count", { u32: shape.embedding / shape.heads }],
    ["llama.vocab_size", { u32: tokens.length }],
    ["tokenizer.ggml.model", { string: "gpt2" }],
    ["tokenizer.ggml.pre", { string: "gpt-2" }],
    ["tokenizer.ggml.tokens", { strings: tokens }],
    ["tokenizer.ggml.token_type", { i32s: tokens.map((token) => (token === endToken ? 3 : 1)) }],
    ["tokenizer.ggml.merges", { strings: [] }],
    ["tokenizer.ggml.bos_token_id", { u32: tokens.indexOf(endToken) }],
    ["tokenizer.ggml.eos_token_id", { u32: tokens.indexOf(endToken) }],
    ["tokenizer.ggml.add_bos_token", { bool: false }],
  ];
}

const endToken = "<|endoftext|>";

/**
 * ASCII, and words of four letters; without merges a prompt is a token a byte. Other bytes are left out: noise would make
 * of them what is no UTF-8, which llama.cpp's server takes for a failure.
 */
function vocabulary(): string[] {
  const bytes = Array.from({ length: 128 }, (_, byte) => byteToCharacter(byte));
  const letters = "abcdefghijklmnop";
  const word = (n: number) => `Ġ${[12, 8, 4, 0].map((shift) => letters[(n >> shift) & 15] ?? "").join("")}`;
  const words = Array.from({ length: vocabularySize - bytes.length - 1 }, (_, n) => word(n));
  return [...bytes, ...words, endToken];
}

function tensorsOf({ layers, embedding, feedForward, heads, keyHeads }: Shape): TensorHead[] {
  const keys = (embedding / heads) * keyHeads;
  const matrix = (name: string, columns: number, rows: number): TensorHead => ({
    ...{ name: `${name}.weight`, shape: [columns, rows], type: tensorType.q8_0 },
    bytes: ((columns * rows) / blockWeights) * blockBytes,
  });
  const norm = (name: string): TensorHead => ({
    ...{ name: `${name}.weight`, shape: [embedding], type: tensorType.f32, bytes: embedding * 4 },
  });
  const layer = (at: string): TensorHead[] => [
    norm(`${at}.attn_norm`),
    norm(`${at}.ffn_norm`),
    matrix(`${at}.attn_q`, embedding, embedding),
    matrix(`${at}.attn_k`, embedding, keys),
    matrix(`${at}.attn_v`, embedding, keys),
    matrix(`${at}.attn_output`, embedding, embedding),
    matrix(`${at}.ffn_gate`, embedding, feedForward),
    matrix(`${at}.ffn_up`, embedding, feedForward),
    matrix(`${at}.ffn_down`, feedForward, embedding),
  ];
  return [
    matrix("token_embd", embedding, vocabularySize),
    ...Array.from({ length: layers }, (_, n) => layer(`blk.${n}`)).flat(),
    norm("output_norm"),
  ];
}

function* ones({ bytes }: TensorHead): Generator<Uint8Array> {
  yield new Uint8Array(new Float32Array(bytes / 4).fill(1).buffer);
}

/** Q8_0: a scale in half precision, then 32 numbers of one byte. */
const blockWeights = 32;
const blockBytes = 34;
/** A prime number, so that no two rows begin alike. */
const noiseBlocks = 65_537;
const blocksPerWrite = 32_768;

/** Scaled as trained models are, so that nothing grows from layer to layer. */
function* weights({ shape, bytes }: TensorHead, noise: Uint8Array): Generator<Uint8Array> {
  const scale = Math.sqrt(3 / (shape[0] ?? 1)) / 127;
  const blocks = bytes / blockBytes;
  for (let at = 0; at < blocks; at += blocksPerWrite) {
    const piece = new Uint8Array(Math.min(blocksPerWrite, blocks - at) * blockBytes);
    const view = new DataView(piece.buffer);
    for (let block = 0; block * blockBytes < piece.length; block += 1) {
      const from = ((at + block) % noiseBlocks) * blockWeights;
      view.setFloat16(block * blockBytes, scale, true);
      piece.set(noise.subarray(from, from + blockWeights), block * blockBytes + 2);
    }
    yield piece;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , size, target] = process.argv;
  if (target === undefined || (size !== "58M" && size !== "500M")) {
    process.stderr.write("Usage: node tools/tiny-gguf/sized-gguf.ts 58M|500M FILE.gguf\n");
    process.exitCode = 2;
  } else {
    await writeSizedModel(target, size);
  }
}
