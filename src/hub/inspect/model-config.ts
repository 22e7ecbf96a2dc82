/**
 * The sizes of a model from its config.json: the many names that model families have for the same things become one
 * vocabulary. Pure. Every value is taken as hostile: a number is a number in its range or it is not there. Must not read
 * files.
 */
import type { Experts, LatentAttention, ModelFacts, Quantization } from "../../core/model-facts.ts";
import { asConfig, type Config, list, maxSize, number, text } from "./config-values.ts";
import { countLayers, readBlocks, readLayerKinds } from "./layer-kinds.ts";

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

/** @param json what config.json holds, parsed; anything */
export function readModelConfig(json: unknown): ConfigFacts {
  const outer = asConfig(json);
  const config = textPart(outer);
  const layers = countLayers(config);
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
    if (countLayers(inner) !== null) return inner;
    const deeper = asConfig(inner.text_config);
    if (countLayers(deeper) !== null) return deeper;
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
  const grouped = readBlocks(config)
    .map(({ headsInGroup }) => headsInGroup)
    .filter((size) => size !== null);
  // Blocks that differ: the one with the most keys and values bounds the others.
  if (heads !== null && grouped.length > 0) return Math.ceil(heads / Math.min(...grouped));
  // Falcon's first generation shares one head unless its decoder is the new one.
  if (config.multi_query === true && config.new_decoder_architecture !== true) return 1;
  if (config.multi_query_attention === true) return number(config, ["multi_query_group_num"], 65_536) ?? 1;
  return said ?? heads;
}

function readLatentAttention(config: Config): LatentAttention | null {
  const kvRank = number(config, ["kv_lora_rank"], maxSize);
  const ropeHeadSize = number(config, ["qk_rope_head_dim"], maxSize);
  if (ropeHeadSize === null) return null;
  if (kvRank === null) return readSharedVector(config, ropeHeadSize);
  return {
    kvRank,
    ropeHeadSize,
    queryRank: number(config, ["q_lora_rank"], maxSize),
    plainHeadSize: number(config, ["qk_nope_head_dim"], maxSize),
    valueHeadSize: number(config, ["v_head_dim"], maxSize),
  };
}

/** DeepSeek's fourth generation keeps one vector for all heads that is key and value at once. */
function readSharedVector(config: Config, ropeHeadSize: number): LatentAttention | null {
  const size = number(config, ["head_dim"], maxSize);
  if (config.model_type !== "deepseek_v4" || size === null || size <= ropeHeadSize) return null;
  return {
    kvRank: size - ropeHeadSize,
    ropeHeadSize,
    queryRank: number(config, ["q_lora_rank"], maxSize),
    plainHeadSize: null,
    valueHeadSize: null,
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
