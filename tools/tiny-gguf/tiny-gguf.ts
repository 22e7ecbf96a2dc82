/**
 * Writes a tiny GGUF model with random weights (llama architecture, byte-level BPE, ChatML template with Hermes tools),
 * so that tests can run the real engine without any download. What it says is noise; that it is read, batched, stopped
 * and counted correctly is what tests need. The same seed gives the same bytes. Run by hand: `node tiny-gguf.ts out.gguf`.
 */
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { byteToCharacter, createRandom, encodeHead, padding, tensorType, type Value } from "./encode.ts";

export type TinyModelOptions = {
  /** Any 32-bit integer; decides the weights. */
  seed?: number;
  /** Tokens of context the model claims to be trained on. */
  contextTokens?: number;
  layers?: number;
  /** Leaves the chat template out when null. */
  chatTemplate?: string | null;
  /** Makes it a model for embeddings, by the mean of its last layer. */
  isPooled?: boolean;
};

export const tinyControlTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;
const userTokens = ["<tool_call>", "</tool_call>"] as const;
const merges = ["t h", "h e", "th e", "i n", "e r", "a n", "Ġ t", "Ġ a", "o u", "r e"];
const embedding = 64;
const attentionHeads = 2;
const feedForward = 128;

export const tinyChatTemplate = `{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
{{- 'Tools:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
{{- '\\n</tools>\\nAnswer a call as <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' and message.tool_calls %}
{{- '<|im_start|>assistant' + ('\\n' + message.content if message.content else '') }}
{%- for call in message.tool_calls %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif not (tools and loop.first and message.role == 'system') %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

/** The whole file as bytes, about 0.5 MB. */
export function buildTinyModel(options: TinyModelOptions = {}): Buffer {
  const layers = options.layers ?? 2;
  const random = createRandom(options.seed ?? 1);
  const byteTokens = Array.from({ length: 256 }, (_, byte) => byteToCharacter(byte));
  const tokens = [
    ...byteTokens,
    ...merges.map((m) => m.replace(" ", "")),
    ...tinyControlTokens,
    ...userTokens,
  ];
  const types = tokens.map((token) =>
    (tinyControlTokens as readonly string[]).includes(token)
      ? 3
      : (userTokens as readonly string[]).includes(token)
        ? 4
        : 1,
  );
  const template = options.chatTemplate === undefined ? tinyChatTemplate : options.chatTemplate;
  const metadata: [string, Value][] = [
    ["general.architecture", { string: "llama" }],
    ["general.name", { string: "tiny" }],
    ["llama.block_count", { u32: layers }],
    ["llama.context_length", { u32: options.contextTokens ?? 512 }],
    ["llama.embedding_length", { u32: embedding }],
    ["llama.feed_forward_length", { u32: feedForward }],
    ["llama.attention.head_count", { u32: attentionHeads }],
    ["llama.attention.head_count_kv", { u32: attentionHeads }],
    ["llama.attention.layer_norm_rms_epsilon", { f32: 1e-5 }],
    ["llama.rope.dimension_count", { u32: embedding / attentionHeads }],
    ["llama.vocab_size", { u32: tokens.length }],
    ["tokenizer.ggml.model", { string: "gpt2" }],
    ["tokenizer.ggml.pre", { string: "gpt-2" }],
    ["tokenizer.ggml.tokens", { strings: tokens }],
    ["tokenizer.ggml.token_type", { i32s: types }],
    ["tokenizer.ggml.merges", { strings: merges }],
    ["tokenizer.ggml.bos_token_id", { u32: tokens.indexOf("<|endoftext|>") }],
    ["tokenizer.ggml.eos_token_id", { u32: tokens.indexOf("<|im_end|>") }],
    ["tokenizer.ggml.add_bos_token", { bool: false }],
  ];
  if (options.isPooled === true) metadata.push(["llama.pooling_type", { u32: 1 }]);
  if (template !== null) metadata.push(["tokenizer.chat_template", { string: template }]);
  const tensors = tensorsOf(layers, tokens.length, random);
  const heads = tensors.map(({ name, shape, data }) => ({
    ...{ name, shape, type: tensorType.f32 },
    bytes: data.byteLength,
  }));
  const bodies = tensors.flatMap(({ data }) => [Buffer.from(data.buffer), padding(data.byteLength)]);
  return Buffer.concat([encodeHead(metadata, heads), ...bodies]);
}

type Tensor = { name: string; shape: number[]; data: Float32Array };

function tensorsOf(layers: number, vocabulary: number, random: () => number): Tensor[] {
  const filled = (name: string, shape: number[], scale: number): Tensor => ({
    name,
    shape,
    data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() * scale),
  });
  const ones = (name: string): Tensor => ({
    name,
    shape: [embedding],
    data: new Float32Array(embedding).fill(1),
  });
  const tensors = [filled("token_embd.weight", [embedding, vocabulary], 1)];
  for (let layer = 0; layer < layers; layer++) {
    const at = (part: string) => `blk.${layer}.${part}.weight`;
    tensors.push(ones(at("attn_norm")), ones(at("ffn_norm")));
    for (const part of ["attn_q", "attn_k", "attn_v", "attn_output"]) {
      tensors.push(filled(at(part), [embedding, embedding], 0.2));
    }
    tensors.push(filled(at("ffn_gate"), [embedding, feedForward], 0.2));
    tensors.push(filled(at("ffn_up"), [embedding, feedForward], 0.2));
    tensors.push(filled(at("ffn_down"), [feedForward, embedding], 0.2));
  }
  tensors.push(ones("output_norm.weight"), filled("output.weight", [embedding, vocabulary], 0.4));
  return tensors;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const target = process.argv[2];
  if (target === undefined) {
    process.stderr.write("Usage: node tools/tiny-gguf/tiny-gguf.ts FILE.gguf\n");
    process.exitCode = 2;
  } else {
    await writeFile(target, buildTinyModel());
  }
}
