/**
 * Which layers of a model keep what over time, from its config.json: families list it, give a period, or have it in their
 * code alone. Pure.
 */
import type { LayerKinds } from "../../core/model-facts.ts";
import { asConfig, type Config, list, maxLayers, maxSize, number, text } from "./config-values.ts";

const layerNames = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];

/** As it is said, or as many as are listed; null where neither is. */
export function countLayers(config: Config): number | null {
  const said = number(config, layerNames, maxLayers);
  if (said !== null) return said;
  const listed = list(config.layers_block_type).length;
  return listed > 0 && listed <= maxLayers ? listed : null;
}

export function readLayerKinds(config: Config, layers: number): LayerKinds {
  const windowTokens =
    config.use_sliding_window === false
      ? null
      : number(config, ["sliding_window", "sliding_window_size", "attention_chunk_size"], 2 ** 40);
  const named =
    kindsByName(config, layers) ??
    kindsByBlock(config, layers) ??
    kindsByPeriod(config, layers, windowTokens);
  const count = { full: 0, sliding: 0, recurrent: 0, stateless: 0 };
  for (const kind of named) count[kind] += 1;
  return {
    fullAttention: count.full,
    slidingAttention: count.sliding,
    recurrent: count.recurrent,
    stateless: count.stateless,
    windowTokens: count.sliding > 0 ? windowTokens : null,
    recurrentStateSize: count.recurrent > 0 ? readStateSize(config) : null,
    ...readUnlikeLayers(config, layers),
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
  const numbered = list(config.hybrid_layer_pattern);
  if (numbered.length > 0)
    return Array.from({ length: layers }, (_, index) => (numbered[index] === 1 ? "sliding" : "full"));
  const linear = new Set(list(asConfig(config.linear_attn_config).kda_layers).slice(0, maxLayers));
  // Counted from 1.
  if (linear.size > 0)
    return Array.from({ length: layers }, (_, index) => (linear.has(index + 1) ? "recurrent" : "full"));
  const pattern = text(config.hybrid_override_pattern);
  if (pattern === null) return null;
  const kinds: Readonly<Record<string, Kind>> = { M: "recurrent", "*": "full" };
  return [...pattern.replaceAll("|", "").slice(0, layers)].map((letter) => kinds[letter] ?? "stateless");
}

/** Families whose blocks were pruned one by one. */
function kindsByBlock(config: Config, layers: number): Kind[] | null {
  const blocks = readBlocks(config);
  if (blocks.length === 0) return null;
  return Array.from({ length: layers }, (_, index) =>
    blocks[index]?.headsInGroup === null ? "stateless" : "full",
  );
}

/** Of each block how many heads share keys and values; null where it has no attention. */
export function readBlocks(config: Config): { readonly headsInGroup: number | null }[] {
  return list(config.block_configs)
    .slice(0, maxLayers)
    .map((block) => ({
      headsInGroup: number(asConfig(asConfig(block).attention), ["n_heads_in_group"], 65_536),
    }));
}

/** Layers that see everything and have other heads than the rest, and those that keep a fraction of what they see. */
function readUnlikeLayers(config: Config, layers: number): Partial<LayerKinds> {
  const headSize = number(config, ["global_head_dim"], maxSize);
  const kvHeads = number(config, ["num_global_key_value_heads"], 65_536);
  const ratios = list(config.compress_ratios).slice(0, layers);
  const compressed = ratios
    .filter((ratio) => typeof ratio === "number" && ratio >= 1)
    .reduce<number>((sum, ratio) => sum + 1 / (ratio as number), 0);
  return {
    ...(headSize === null || kvHeads === null ? {} : { fullHeads: { kvHeads, headSize } }),
    ...(compressed > 0 ? { compressedTokens: compressed } : {}),
  };
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
  llama4_text: 4,
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
  const linear = asConfig(config.linear_attn_config);
  const [linearHeads, linearSize] = [
    number(linear, ["num_heads"], 65_536),
    number(linear, ["head_dim"], maxSize),
  ];
  if (linearHeads !== null && linearSize !== null) {
    const kernel = number(linear, ["short_conv_kernel_size"], 1024) ?? 4;
    return linearHeads * linearSize * (linearSize + 3 * (kernel - 1));
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
