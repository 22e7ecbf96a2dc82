/**
 * The sizes of a model from its config.json: the many names that model families have for the same things become one
 * vocabulary. Pure. Every value is taken as hostile: a number is a number in its range or it is not there. Must not read
 * files.
 */
import type {
  Experts,
  LatentAttention,
  LayerKinds,
  ModelFacts,
  Quantization,
} from "../../core/model-facts.ts";

/** What a configuration can say; the rest of ModelFacts comes from the files' headers. */
export type ConfigFacts = Omit<
  ModelFacts,
  | "format"
  | "parameters"
  | "weightBytes"
  | "bytesByDtype"
  | "bytesByPart"
  | "isCounted"
  | "hasChatTemplate"
  | "adapter"
>;

type Config = Readonly<Record<string, unknown>>;

const maxLayers = 4096;
const maxSize = 2 ** 31;

/** @param json what config.json holds, parsed; anything */
export function readModelConfig(json: unknown): ConfigFacts {
  const outer = asConfig(json);
  const config = textPart(outer);
  const layers = number(config, layerNames, maxLayers);
  const hiddenSize = number(config, ["hidden_size", "n_embd", "d_model", "dim", "model_dim"], maxSize);
  const heads = number(config, ["num_attention_heads", "n_head", "n_heads", "num_heads"], 65_536);
  const latentAttention = readLatentAttention(config);
  const headSize = readHeadSize(config, hiddenSize, heads, latentAttention);
  const architecture = text(list(outer.architectures)[0]) ?? text(list(config.architectures)[0]);
  return {
    architecture,
    task: taskOf(architecture),
    quantization: readQuantization(outer) ?? readQuantization(config),
    layers,
    layerKinds: layers === null ? null : readLayerKinds(config, layers),
    hiddenSize,
    intermediateSize: number(
      config,
      ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "hidden_dim", "encoder_ffn_dim"],
      maxSize,
    ),
    vocabularySize: number(config, ["vocab_size", "padded_vocab_size"], maxSize),
    contextTokens: number(config, contextNames, 2 ** 40),
    heads,
    kvHeads: readKvHeads(config, heads),
    headSize,
    valueHeadSize: latentAttention?.valueHeadSize ?? headSize,
    latentAttention,
    experts: readExperts(config),
    hasTiedEmbeddings: (config.tie_word_embeddings ?? outer.tie_word_embeddings) === true,
  };
}

const layerNames = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
const contextNames = [
  "max_position_embeddings",
  "max_sequence_length",
  "seq_length",
  "n_positions",
  "n_ctx",
  "max_seq_len",
  "model_max_length",
];

/** Models that also see or hear keep the text model's sizes in a configuration of its own. */
function textPart(outer: Config): Config {
  const parts = ["text_config", "llm_config", "language_config", "thinker_config", "decoder"];
  for (const name of parts) {
    const inner = asConfig(outer[name]);
    if (number(inner, layerNames, maxLayers) !== null) return inner;
    const deeper = asConfig(inner.text_config);
    if (number(deeper, layerNames, maxLayers) !== null) return deeper;
  }
  return outer;
}

function readHeadSize(
  config: Config,
  hiddenSize: number | null,
  heads: number | null,
  latent: LatentAttention | null,
): number | null {
  if (latent?.plainHeadSize != null) return latent.plainHeadSize + latent.ropeHeadSize;
  const said = number(config, ["head_dim", "kv_channels", "attention_head_dim", "d_kv"], maxSize);
  if (said !== null) return said;
  return hiddenSize === null || heads === null ? null : Math.floor(hiddenSize / heads);
}

function readKvHeads(config: Config, heads: number | null): number | null {
  const said = number(
    config,
    ["num_key_value_heads", "num_kv_heads", "n_head_kv", "num_key_value_groups"],
    65_536,
  );
  // Falcon's first generation shares one head unless its decoder is the new one.
  if (config.multi_query === true && config.new_decoder_architecture !== true) return 1;
  if (config.multi_query_attention === true) return number(config, ["multi_query_group_num"], 65_536) ?? 1;
  return said ?? heads;
}

function readLatentAttention(config: Config): LatentAttention | null {
  const kvRank = number(config, ["kv_lora_rank"], maxSize);
  const ropeHeadSize = number(config, ["qk_rope_head_dim"], maxSize);
  if (kvRank === null || ropeHeadSize === null) return null;
  return {
    kvRank,
    ropeHeadSize,
    queryRank: number(config, ["q_lora_rank"], maxSize),
    plainHeadSize: number(config, ["qk_nope_head_dim"], maxSize),
    valueHeadSize: number(config, ["v_head_dim"], maxSize),
  };
}

function readExperts(config: Config): Experts | null {
  const total = number(
    config,
    ["n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", "num_moe_experts"],
    65_536,
  );
  if (total === null || total < 2) return null;
  const active = number(
    config,
    [
      "num_experts_per_tok",
      "num_experts_per_token",
      "experts_per_token",
      "moe_top_k",
      "moe_topk",
      "top_k_experts",
    ],
    total,
  );
  const shared = number(config, ["n_shared_experts", "num_shared_experts", "num_shared_expert"], 65_536) ?? 0;
  // Qwen2-MoE has one shared expert and says only how wide it is.
  const hasSharedOne = shared === 0 && number(config, ["shared_expert_intermediate_size"], maxSize) !== null;
  return {
    total,
    active,
    shared: hasSharedOne ? 1 : shared,
    intermediateSize: number(
      config,
      ["moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size", "ffn_hidden_size"],
      maxSize,
    ),
  };
}

function readQuantization(config: Config): Quantization | null {
  const found = asConfig(config.quantization_config ?? config.compression_config);
  const method = text(found.quant_method) ?? text(found.quant_algo)?.toLowerCase();
  if (method == null) return null;
  const said = number(found, ["bits", "w_bit", "num_bits"], 32);
  if (said !== null) return { method, bits: said };
  if (found.load_in_4bit === true) return { method, bits: 4 };
  if (found.load_in_8bit === true) return { method, bits: 8 };
  for (const group of Object.values(asConfig(found.config_groups)).slice(0, 64)) {
    const bits = number(asConfig(asConfig(group).weights), ["num_bits"], 32);
    if (bits !== null) return { method, bits };
  }
  const bits = /fp8|int8|w8/.test(method) ? 8 : /fp4|int4|w4/.test(method) ? 4 : null;
  return { method, bits };
}

function readLayerKinds(config: Config, layers: number): LayerKinds {
  const windowTokens =
    config.use_sliding_window === false
      ? null
      : number(config, ["sliding_window", "sliding_window_size", "attention_chunk_size"], 2 ** 40);
  const named = kindsByName(config, layers) ?? kindsByPeriod(config, layers, windowTokens);
  const count = { full: 0, sliding: 0, recurrent: 0, stateless: 0 };
  for (const kind of named) count[kind] += 1;
  return {
    fullAttention: count.full,
    slidingAttention: count.sliding,
    recurrent: count.recurrent,
    stateless: count.stateless,
    windowTokens: count.sliding > 0 ? windowTokens : null,
    recurrentStateSize: count.recurrent > 0 ? readStateSize(config) : null,
  };
}

type Kind = "full" | "sliding" | "recurrent" | "stateless";

/** Families that list what each layer is. */
function kindsByName(config: Config, layers: number): Kind[] | null {
  const names = [config.layer_types, config.layers_block_type, config.block_types]
    .map(list)
    .find((one) => one.length > 0);
  if (names !== undefined) {
    const kinds = names.slice(0, maxLayers).map((name) => kindOf(String(name)));
    // Griffin's blocks are a pattern that repeats.
    return Array.from({ length: layers }, (_, index) => kinds[index % kinds.length] ?? "full");
  }
  const pattern = text(config.hybrid_override_pattern);
  if (pattern === null) return null;
  const kinds: Readonly<Record<string, Kind>> = { M: "recurrent", "*": "full" };
  return [...pattern.replaceAll("|", "").slice(0, layers)].map((letter) => kinds[letter] ?? "stateless");
}

function kindOf(name: string): Kind {
  if (/linear|mamba|recurrent|ssm|conv/.test(name)) return "recurrent";
  return /sliding|chunked|local/.test(name) ? "sliding" : /moe|mlp/.test(name) ? "stateless" : "full";
}

/** Families that say how often a kind returns, and those that have one kind alone. */
function kindsByPeriod(config: Config, layers: number, windowTokens: number | null): Kind[] {
  const each = (kind: (index: number) => Kind) => Array.from({ length: layers }, (_, index) => kind(index));
  const family = text(config.model_type) ?? "";
  const attentionEvery = number(config, ["attn_layer_period", "full_attention_interval"], maxLayers);
  if (attentionEvery !== null) {
    const offset = number(config, ["attn_layer_offset"], maxLayers) ?? attentionEvery - 1;
    return each((index) => (index % attentionEvery === offset % attentionEvery ? "full" : "recurrent"));
  }
  if (/^(falcon_)?mamba2?$|^rwkv/.test(family)) return each(() => "recurrent");
  if (windowTokens === null) return each(() => "full");
  const pattern =
    number(config, ["sliding_window_pattern", "_sliding_window_pattern"], maxLayers) ??
    usualPattern[family] ??
    null;
  if (pattern !== null && pattern > 1)
    return each((index) => ((index + 1) % pattern === 0 ? "full" : "sliding"));
  // Qwen2's first `max_window_layers` layers see everything.
  const from = /^qwen/.test(family) ? (number(config, ["max_window_layers"], maxLayers) ?? 0) : 0;
  return each((index) => (index >= from ? "sliding" : "full"));
}

/** Families whose pattern is in their code alone. */
const usualPattern: Readonly<Record<string, number>> = {
  gemma2: 2,
  gemma3: 6,
  gemma3_text: 6,
  cohere2: 4,
  gpt_oss: 2,
};

/** Numbers that one recurrent layer keeps for one sequence: its state and the last inputs of its convolution. */
function readStateSize(config: Config): number | null {
  const valueHeads = number(config, ["linear_num_value_heads"], 65_536);
  const keySize = number(config, ["linear_key_head_dim"], maxSize);
  const valueSize = number(config, ["linear_value_head_dim"], maxSize);
  if (valueHeads !== null && keySize !== null && valueSize !== null) {
    const keyHeads = number(config, ["linear_num_key_heads"], 65_536) ?? valueHeads;
    const kernel = number(config, ["linear_conv_kernel_dim"], 1024) ?? 4;
    return (
      valueHeads * keySize * valueSize + (kernel - 1) * (2 * keyHeads * keySize + valueHeads * valueSize)
    );
  }
  const state = number(
    config,
    ["mamba_d_state", "state_size", "ssm_state_size", "d_state", "mamba_state_dim"],
    maxSize,
  );
  const hidden = number(config, ["hidden_size", "d_model", "n_embd"], maxSize);
  if (state === null || hidden === null) return null;
  const mambaHeads = number(config, ["mamba_n_heads", "mamba_num_heads", "num_heads"], 65_536);
  const mambaHeadSize = number(config, ["mamba_d_head", "mamba_head_dim", "head_dim"], maxSize);
  const expand = number(config, ["mamba_expand", "expand"], 64) ?? 2;
  const inner =
    number(config, ["mamba_d_ssm", "d_inner", "intermediate_size_mamba"], maxSize) ??
    (mambaHeads !== null && mambaHeadSize !== null ? mambaHeads * mambaHeadSize : expand * hidden);
  const groups = number(config, ["mamba_n_groups", "n_groups", "mamba_ngroups"], 65_536) ?? 0;
  const kernel = number(config, ["mamba_d_conv", "conv_kernel", "d_conv"], 1024) ?? 4;
  return inner * state + (kernel - 1) * (inner + 2 * groups * state);
}

export function taskOf(architecture: string | null): string {
  if (architecture === null) return "text-generation";
  if (/ForSequenceClassification$/.test(architecture)) return "text-classification";
  if (/ForTokenClassification$/.test(architecture)) return "token-classification";
  if (
    /ForMaskedLM$|^(Bert|Roberta|XLMRoberta|MPNet|NomicBert|Distil\w*|ModernBert)Model$|ForTextEmbedding$/.test(
      architecture,
    )
  )
    return "embeddings";
  if (/^Whisper|ForSpeech/.test(architecture)) return "automatic-speech-recognition";
  return "text-generation";
}

/** The first of the names that holds a whole number from 1 to `max`. */
function number(config: Config, names: readonly string[], max: number): number | null {
  for (const name of names) {
    const value = config[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max) return value;
  }
  return null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" && value.length <= 4096 ? value : null;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function asConfig(value: unknown): Config {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : {};
}
