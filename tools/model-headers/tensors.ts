/**
 * The tensors that a repository of a well-known architecture has, from its config.json: names, number formats and shapes
 * as the makers' files have them, without a byte of weights. For tests and measurements of what is read from headers.
 */

/** config.json, as far as it matters here. */
export type ModelShape = {
  readonly architecture: string;
  readonly num_hidden_layers: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim?: number;
  readonly vocab_size: number;
  readonly tie_word_embeddings: boolean;
  readonly quant_method?: "fp8" | "mxfp4" | "awq" | "gptq" | "int8";
  readonly bits?: number;
  /** Only the feed-forward part is quantized. */
  readonly keeps_attention?: boolean;
  readonly num_experts?: number;
  readonly num_local_experts?: number;
  readonly n_routed_experts?: number;
  readonly moe_intermediate_size?: number;
  readonly shared_expert_intermediate_size?: number;
  readonly n_shared_experts?: number;
  readonly first_k_dense_replace?: number;
  readonly q_lora_rank?: number;
  readonly kv_lora_rank?: number;
  readonly qk_nope_head_dim?: number;
  readonly qk_rope_head_dim?: number;
  readonly v_head_dim?: number;
};

export type Tensor = { readonly name: string; readonly dtype: string; readonly shape: readonly number[] };

const elementBits: Readonly<Record<string, number>> = {
  BF16: 16,
  F16: 16,
  F32: 32,
  F8_E4M3: 8,
  I8: 8,
  U8: 8,
  I32: 32,
};
/** Weights that share a scale. */
const group = 128;
const mxfp4Group = 32;

export function bytesOfTensor({ dtype, shape }: Tensor): number {
  return (shape.reduce((product, size) => product * size, 1) * (elementBits[dtype] ?? 8)) / 8;
}

export function tensorsOf(model: ModelShape): Tensor[] {
  const { hidden_size: hidden, vocab_size: vocabulary } = model;
  const layers = Array.from({ length: model.num_hidden_layers }, (_, index) => tensorsOfLayer(model, index));
  const ends = [plain("model.embed_tokens.weight", vocabulary, hidden), plain("model.norm.weight", hidden)];
  if (!model.tie_word_embeddings) ends.push(plain("lm_head.weight", vocabulary, hidden));
  return [...ends, ...layers.flat()];
}

function tensorsOfLayer(model: ModelShape, index: number): Tensor[] {
  const at = `model.layers.${index}`;
  const { hidden_size: hidden } = model;
  return [
    plain(`${at}.input_layernorm.weight`, hidden),
    plain(`${at}.post_attention_layernorm.weight`, hidden),
    ...attention(model, `${at}.self_attn`),
    ...feedForward(model, `${at}.mlp`, index),
  ];
}

function attention(model: ModelShape, at: string): Tensor[] {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: pairs } = model;
  if (model.kv_lora_rank !== undefined) return latentAttention(model, at);
  const size = model.head_dim ?? hidden / heads;
  const isPacked = model.quant_method !== "mxfp4" && model.keeps_attention !== true;
  const matrix = (name: string, out: number, into: number) =>
    isPacked ? linear(model, `${at}.${name}`, out, into) : [plain(`${at}.${name}.weight`, out, into)];
  const rest: Tensor[] = [];
  if (/^Qwen2|^GptOss/.test(model.architecture)) {
    for (const [name, width] of [
      ["q_proj", heads * size],
      ["k_proj", pairs * size],
      ["v_proj", pairs * size],
    ] as const)
      rest.push(plain(`${at}.${name}.bias`, width));
  }
  if (/^Qwen3/.test(model.architecture))
    rest.push(plain(`${at}.q_norm.weight`, size), plain(`${at}.k_norm.weight`, size));
  return [
    ...matrix("q_proj", heads * size, hidden),
    ...matrix("k_proj", pairs * size, hidden),
    ...matrix("v_proj", pairs * size, hidden),
    ...matrix("o_proj", hidden, heads * size),
    ...rest,
  ];
}

function latentAttention(model: ModelShape, at: string): Tensor[] {
  const { hidden_size: hidden, num_attention_heads: heads, kv_lora_rank: kvRank = 0 } = model;
  const { qk_nope_head_dim: nope = 0, qk_rope_head_dim: rope = 0, v_head_dim: value = 0 } = model;
  const queries =
    model.q_lora_rank === undefined
      ? linear(model, `${at}.q_proj`, heads * (nope + rope), hidden)
      : [
          ...linear(model, `${at}.q_a_proj`, model.q_lora_rank, hidden),
          ...linear(model, `${at}.q_b_proj`, heads * (nope + rope), model.q_lora_rank),
          plain(`${at}.q_a_layernorm.weight`, model.q_lora_rank),
        ];
  return [
    ...queries,
    ...linear(model, `${at}.kv_a_proj_with_mqa`, kvRank + rope, hidden),
    ...linear(model, `${at}.kv_b_proj`, heads * (nope + value), kvRank),
    ...linear(model, `${at}.o_proj`, hidden, heads * value),
    plain(`${at}.kv_a_layernorm.weight`, kvRank),
  ];
}

function feedForward(model: ModelShape, at: string, index: number): Tensor[] {
  const { hidden_size: hidden, intermediate_size: dense } = model;
  const experts = model.n_routed_experts ?? model.num_experts ?? model.num_local_experts ?? 0;
  if (experts === 0 || index < (model.first_k_dense_replace ?? 0)) return gated(model, at, dense);
  const width = model.moe_intermediate_size ?? dense;
  const router = plain(`${at}.gate.weight`, experts, hidden);
  if (model.quant_method === "mxfp4")
    return [router, ...packedExperts(model, `${at}.experts`, experts, width)];
  const shared =
    model.shared_expert_intermediate_size ??
    (model.n_shared_experts ?? 0) * (model.moe_intermediate_size ?? 0);
  return [
    router,
    ...Array.from({ length: experts }, (_, expert) => gated(model, `${at}.experts.${expert}`, width)).flat(),
    ...(shared > 0 ? gated(model, `${at}.shared_expert`, shared) : []),
  ];
}

function gated(model: ModelShape, at: string, width: number): Tensor[] {
  const { hidden_size: hidden } = model;
  return [
    ...linear(model, `${at}.gate_proj`, width, hidden),
    ...linear(model, `${at}.up_proj`, width, hidden),
    ...linear(model, `${at}.down_proj`, hidden, width),
  ];
}

/** All experts of a layer in one tensor, four bits a weight and eight a scale. */
function packedExperts(
  { hidden_size: hidden }: ModelShape,
  at: string,
  experts: number,
  width: number,
): Tensor[] {
  const packed = (name: string, out: number, into: number): Tensor[] => [
    { name: `${at}.${name}_blocks`, dtype: "U8", shape: [experts, out, into / mxfp4Group, mxfp4Group / 2] },
    { name: `${at}.${name}_scales`, dtype: "U8", shape: [experts, out, into / mxfp4Group] },
    plain(`${at}.${name}_bias`, experts, out),
  ];
  return [...packed("gate_up_proj", 2 * width, hidden), ...packed("down_proj", hidden, width)];
}

function linear(
  { quant_method: method, bits = 4 }: ModelShape,
  at: string,
  out: number,
  into: number,
): Tensor[] {
  const packing = 32 / bits;
  const groups = Math.ceil(into / group);
  switch (method) {
    case "fp8":
      return [
        { name: `${at}.weight`, dtype: "F8_E4M3", shape: [out, into] },
        { name: `${at}.weight_scale_inv`, dtype: "F32", shape: [Math.ceil(out / group), groups] },
      ];
    case "int8":
      return [
        { name: `${at}.weight`, dtype: "I8", shape: [out, into] },
        { name: `${at}.weight_scale`, dtype: "F32", shape: [out, 1] },
      ];
    case "awq":
      return [
        { name: `${at}.qweight`, dtype: "I32", shape: [into, out / packing] },
        { name: `${at}.qzeros`, dtype: "I32", shape: [groups, out / packing] },
        { name: `${at}.scales`, dtype: "F16", shape: [groups, out] },
      ];
    case "gptq":
      return [
        { name: `${at}.qweight`, dtype: "I32", shape: [into / packing, out] },
        { name: `${at}.qzeros`, dtype: "I32", shape: [groups, out / packing] },
        { name: `${at}.scales`, dtype: "F16", shape: [groups, out] },
        { name: `${at}.g_idx`, dtype: "I32", shape: [into] },
      ];
    default:
      return [plain(`${at}.weight`, out, into)];
  }
}

function plain(name: string, ...shape: readonly number[]): Tensor {
  return { name, dtype: "BF16", shape };
}

/** A safetensors header, as the file has it after the eight bytes of its length, and the bytes of weights that follow. */
export function headerOf(tensors: readonly Tensor[]): { readonly json: string; readonly dataBytes: number } {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += bytesOfTensor(tensor);
    return [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }] as const;
  });
  const json = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  // Writers pad the header to a multiple of eight.
  return { json: json.padEnd(Math.ceil(json.length / 8) * 8), dataBytes: end };
}
