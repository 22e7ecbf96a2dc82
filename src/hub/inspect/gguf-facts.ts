/**
 * The sizes of a model from the keys of a GGUF header, in the vocabulary of ModelFacts. Pure. Values are hostile: a
 * number is a number in its range or it is not there.
 */
import type { GgufValue } from "../../core/gguf-header.ts";
import type { LayerKinds, Quantization } from "../../core/model-facts.ts";
import type { ModelHeader } from "./gguf-tensors.ts";
import type { ConfigFacts } from "./model-config.ts";

export type GgufFacts = ConfigFacts & { readonly hasChatTemplate: boolean };

/** `general.file_type`, as llama.cpp numbers it. */
const fileTypes: Readonly<Record<number, readonly [string, number]>> = {
  0: ["F32", 32],
  1: ["F16", 16],
  2: ["Q4_0", 4],
  3: ["Q4_1", 4],
  7: ["Q8_0", 8],
  8: ["Q5_0", 5],
  9: ["Q5_1", 5],
  10: ["Q2_K", 2],
  11: ["Q3_K_S", 3],
  12: ["Q3_K_M", 3],
  13: ["Q3_K_L", 3],
  14: ["Q4_K_S", 4],
  15: ["Q4_K_M", 4],
  16: ["Q5_K_S", 5],
  17: ["Q5_K_M", 5],
  18: ["Q6_K", 6],
  19: ["IQ2_XXS", 2],
  20: ["IQ2_XS", 2],
  21: ["Q2_K_S", 2],
  22: ["IQ3_XS", 3],
  23: ["IQ3_XXS", 3],
  24: ["IQ1_S", 1],
  25: ["IQ4_NL", 4],
  26: ["IQ3_S", 3],
  27: ["IQ3_M", 3],
  28: ["IQ2_S", 2],
  29: ["IQ2_M", 2],
  30: ["IQ4_XS", 4],
  31: ["IQ1_M", 1],
  32: ["BF16", 16],
  36: ["TQ1_0", 1],
  37: ["TQ2_0", 2],
  38: ["MXFP4", 4],
};
const unquantized = new Set(["F32", "F16", "BF16"]);

export function readGgufFacts({ values, lengths, texts, tensors }: ModelHeader): GgufFacts {
  const architecture = textOf(values.get("general.architecture"));
  const key = (name: string) => `${architecture ?? ""}.${name}`;
  const size = (name: string, max = 2 ** 31) => wholeNumber(values.get(key(name)), max);
  const layers = size("block_count", 4096);
  const heads = size("attention.head_count", 65_536);
  const hiddenSize = size("embedding_length");
  const plainHeadSize = hiddenSize === null || heads === null ? null : Math.floor(hiddenSize / heads);
  const kvRank = size("attention.kv_lora_rank");
  const ropeHeadSize = size("rope.dimension_count");
  // With latent attention, newer files give the sizes of the compressed heads here and the true ones under `_mla`.
  const headSize = size("attention.key_length_mla") ?? size("attention.key_length") ?? plainHeadSize;
  const valueHeadSize = size("attention.value_length_mla") ?? size("attention.value_length") ?? headSize;
  const total = size("expert_count", 65_536);
  return {
    architecture,
    task:
      lengths.has(key("pooling_type")) || values.has(key("pooling_type")) ? "embeddings" : "text-generation",
    quantization: readQuantization(values.get("general.file_type")),
    layers,
    layerKinds: layers === null ? null : readLayerKinds(values, key, layers),
    hiddenSize,
    intermediateSize: size("feed_forward_length"),
    vocabularySize: lengths.get("tokenizer.ggml.tokens") ?? size("vocab_size"),
    contextTokens: size("context_length", 2 ** 40),
    heads,
    kvHeads: size("attention.head_count_kv", 65_536) ?? heads,
    headSize,
    valueHeadSize,
    latentAttention:
      kvRank === null || ropeHeadSize === null
        ? null
        : {
            kvRank,
            ropeHeadSize,
            queryRank: size("attention.q_lora_rank"),
            plainHeadSize: headSize === null ? null : Math.max(0, headSize - ropeHeadSize),
            valueHeadSize,
          },
    experts:
      total === null || total < 2
        ? null
        : {
            total,
            active: size("expert_used_count", total),
            shared: size("expert_shared_count", 65_536) ?? 0,
            intermediateSize: size("expert_feed_forward_length") ?? size("feed_forward_length"),
          },
    // Where the output is a tensor of its own, it is not the embedding's.
    hasTiedEmbeddings: tensors !== null && tensors.bytes > 0 && !tensors.bytesByPart.has("output"),
    hasChatTemplate: texts.has("tokenizer.chat_template"),
  };
}

function readQuantization(value: GgufValue | undefined): Quantization | null {
  const found = typeof value === "number" ? fileTypes[value] : undefined;
  if (found === undefined || unquantized.has(found[0])) return null;
  return { method: found[0], bits: found[1] };
}

function readLayerKinds(
  values: ReadonlyMap<string, GgufValue>,
  key: (name: string) => string,
  layers: number,
): LayerKinds {
  const windowTokens = wholeNumber(values.get(key("attention.sliding_window")), 2 ** 40);
  const kvHeads = values.get(key("attention.head_count_kv"));
  const stateSize = wholeNumber(values.get(key("ssm.state_size")), 2 ** 31);
  const inner = wholeNumber(values.get(key("ssm.inner_size")), 2 ** 31);
  const family = textOf(values.get("general.architecture")) ?? "";
  // Hybrids list the heads layer by layer: none where the layer keeps a state instead.
  const withAttention = Array.isArray(kvHeads)
    ? kvHeads.slice(0, layers).filter((heads) => heads !== 0).length
    : layers;
  const interval = wholeNumber(values.get(key("full_attention_interval")), layers);
  const attention =
    stateSize === null
      ? withAttention
      : /^(falcon-)?mamba2?$/.test(family)
        ? 0
        : interval === null
          ? withAttention
          : Math.floor(layers / interval);
  const sliding =
    windowTokens === null
      ? 0
      : slidingOf(values.get(key("attention.sliding_window_pattern")), family, attention);
  const hasState = stateSize !== null && inner !== null;
  const groups = wholeNumber(values.get(key("ssm.group_count")), 65_536) ?? 0;
  const kernel = wholeNumber(values.get(key("ssm.conv_kernel")), 1024) ?? 4;
  return {
    fullAttention: attention - sliding,
    slidingAttention: sliding,
    recurrent: stateSize === null ? 0 : layers - attention,
    stateless: stateSize === null ? layers - attention : 0,
    windowTokens: sliding > 0 ? windowTokens : null,
    recurrentStateSize: hasState ? inner * stateSize + (kernel - 1) * (inner + 2 * groups * stateSize) : null,
  };
}

/** Layers with a window among `layers`: as listed, as a number says how often one sees everything, or as the family has it. */
function slidingOf(pattern: GgufValue | undefined, family: string, layers: number): number {
  if (Array.isArray(pattern))
    return Math.min(layers, pattern.filter((isSliding) => isSliding === true || isSliding === 1).length);
  const every = wholeNumber(pattern, 4096) ?? { gemma2: 2, gemma3: 6, "gpt-oss": 2, cohere2: 4 }[family];
  if (every === undefined) return layers;
  return layers - Math.floor(layers / every);
}

/** A whole number from 1 to `max`; of a list the largest, as sizes that differ by layer are bounded by it. */
function wholeNumber(value: GgufValue | undefined, max: number): number | null {
  const candidates = Array.isArray(value) ? value : [value];
  const numbers = candidates.filter(
    (one) => typeof one === "number" && Number.isInteger(one) && one >= 1 && one <= max,
  );
  return numbers.length === 0 ? null : Math.max(...(numbers as number[]));
}

function textOf(value: GgufValue | undefined): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
