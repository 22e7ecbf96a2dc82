/**
 * The header of a GGUF file of the llama family of any size, in Q8_0, without a byte of its weights: what a reader of
 * headers can tell from it is true, and nothing can load it.
 */
import { text, u32, u64 } from "../tiny-gguf/encode.ts";
import type { ModelShape } from "./tensors.ts";

const types = { u32: 4, string: 8 } as const;
const q8 = { id: 8, bytes: 34, elements: 32 } as const;
const f32 = { id: 0, bytes: 4, elements: 1 } as const;
const alignment = 32;

type Entry = {
  readonly name: string;
  readonly sizes: readonly number[];
  readonly format: typeof q8 | typeof f32;
};

/** The header, and the bytes of the whole file. */
export function ggufHeaderOf(model: ModelShape): { readonly head: Buffer; readonly bytes: number } {
  const entries = entriesOf(model);
  const values: readonly (readonly [string, number | string])[] = [
    ["general.architecture", "llama"],
    ["general.file_type", 7],
    ["llama.block_count", model.num_hidden_layers],
    ["llama.context_length", 8192],
    ["llama.embedding_length", model.hidden_size],
    ["llama.feed_forward_length", model.intermediate_size],
    ["llama.attention.head_count", model.num_attention_heads],
    ["llama.attention.head_count_kv", model.num_key_value_heads],
    ["llama.vocab_size", model.vocab_size],
    ["tokenizer.chat_template", "{{ messages }}"],
  ];
  const parts: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(entries.length), u64(values.length)];
  for (const [key, value] of values) {
    parts.push(text(key));
    if (typeof value === "string") parts.push(u32(types.string), text(value));
    else parts.push(u32(types.u32), u32(value));
  }
  let offset = 0;
  for (const { name, sizes, format } of entries) {
    parts.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(format.id), u64(offset));
    const elements = sizes.reduce((product, size) => product * size, 1);
    offset = align(offset + (elements / format.elements) * format.bytes);
  }
  const head = Buffer.concat(parts);
  return { head, bytes: align(head.byteLength) + offset };
}

function entriesOf(model: ModelShape): Entry[] {
  const { hidden_size: hidden, intermediate_size: wide, vocab_size: vocabulary } = model;
  const keys = (hidden / model.num_attention_heads) * model.num_key_value_heads;
  const matrix = (name: string, into: number, out: number): Entry => ({
    name,
    sizes: [into, out],
    format: q8,
  });
  const norm = (name: string): Entry => ({ name, sizes: [hidden], format: f32 });
  const layers = Array.from({ length: model.num_hidden_layers }, (_, index): Entry[] => {
    const at = `blk.${index}`;
    return [
      norm(`${at}.attn_norm.weight`),
      matrix(`${at}.attn_q.weight`, hidden, hidden),
      matrix(`${at}.attn_k.weight`, hidden, keys),
      matrix(`${at}.attn_v.weight`, hidden, keys),
      matrix(`${at}.attn_output.weight`, hidden, hidden),
      norm(`${at}.ffn_norm.weight`),
      matrix(`${at}.ffn_gate.weight`, hidden, wide),
      matrix(`${at}.ffn_up.weight`, hidden, wide),
      matrix(`${at}.ffn_down.weight`, wide, hidden),
    ];
  });
  return [
    matrix("token_embd.weight", hidden, vocabulary),
    norm("output_norm.weight"),
    matrix("output.weight", hidden, vocabulary),
    ...layers.flat(),
  ];
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
