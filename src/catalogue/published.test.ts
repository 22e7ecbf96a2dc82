/** That the catalogue says of each model what its makers publish: published.yaml was read and written apart from it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { readCatalogue } from "./read.ts";

const count = z.int().min(1);

const config = z.strictObject({
  architecture: z.enum([
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "DeepseekV3ForCausalLM",
    "GptOssForCausalLM",
  ]),
  num_hidden_layers: count,
  hidden_size: count,
  intermediate_size: count,
  num_attention_heads: count,
  num_key_value_heads: count,
  head_dim: count.optional(),
  vocab_size: count,
  max_position_embeddings: count,
  tie_word_embeddings: z.boolean(),
  torch_dtype: z.literal("bfloat16").optional(),
  attention_bias: z.boolean().optional(),
  quant_method: z.enum(["fp8", "mxfp4"]).optional(),
  num_experts: count.optional(),
  num_local_experts: count.optional(),
  n_routed_experts: count.optional(),
  num_experts_per_tok: count.optional(),
  moe_intermediate_size: count.optional(),
  n_shared_experts: count.optional(),
  first_k_dense_replace: count.optional(),
  q_lora_rank: count.optional(),
  kv_lora_rank: count.optional(),
  qk_nope_head_dim: count.optional(),
  qk_rope_head_dim: count.optional(),
  v_head_dim: count.optional(),
});
type Config = z.output<typeof config>;

const source = z.string().min(10);
const parsersOf = z.strictObject({ tool: z.string(), reasoning: z.string() }).partial();
type Parsers = z.output<typeof parsersOf>;
const publishedModel = z.strictObject({
  config,
  config_from: source,
  billions: z.number().positive(),
  billions_from: source,
  license: z.string().min(2),
  license_from: source,
  gguf: z.string().optional(),
  gguf_from: source.optional(),
  parsers: parsersOf.optional(),
  parsers_from: source.optional(),
});

const textOf = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");
const published = new Map(
  Object.entries(z.record(z.string(), publishedModel).parse(parse(textOf("published.yaml")))),
);
const entries = readCatalogue([new URL("models.yaml", import.meta.url).pathname]);

/** Berth's own model is in the repository itself. */
const starter = "berth/starter";
const others = entries.filter(({ name }) => name !== starter);

/** The parameters of a model, apart by what quantization treats apart. */
type Parts = { embeddings: number; experts: number; matrices: number; rest: number };

const total = ({ embeddings, experts, matrices, rest }: Parts) => embeddings + experts + matrices + rest;

function headSizeOf(found: Config): number {
  return found.head_dim ?? found.hidden_size / found.num_attention_heads;
}

/** Attention of one layer: its matrices, and what is beside them (biases, norms of heads, sinks). */
function countAttention(found: Config): { matrices: number; rest: number } {
  const { hidden_size: hidden, num_attention_heads: heads, kv_lora_rank: kvRank } = found;
  if (kvRank !== undefined) {
    const { q_lora_rank: qRank = 0, qk_nope_head_dim: plain = 0, qk_rope_head_dim: rope = 0 } = found;
    const { v_head_dim: value = 0 } = found;
    const queries = hidden * qRank + qRank * heads * (plain + rope);
    const keysAndValues = hidden * (kvRank + rope) + kvRank * heads * (plain + value);
    return { matrices: queries + keysAndValues + heads * value * hidden, rest: qRank + kvRank };
  }
  const headSize = headSizeOf(found);
  const [width, kvWidth] = [heads * headSize, found.num_key_value_heads * headSize];
  const matrices = 2 * hidden * width + 2 * hidden * kvWidth;
  switch (found.architecture) {
    case "Qwen2ForCausalLM":
      return { matrices, rest: width + 2 * kvWidth };
    case "Qwen3ForCausalLM":
    case "Qwen3MoeForCausalLM":
      return { matrices, rest: 2 * headSize };
    case "GptOssForCausalLM":
      return { matrices, rest: width + 2 * kvWidth + hidden + heads };
    default:
      return { matrices, rest: 0 };
  }
}

function expertsOf(found: Config): number {
  return found.n_routed_experts ?? found.num_experts ?? found.num_local_experts ?? 0;
}

function countParts(found: Config): Parts {
  const { hidden_size: hidden, num_hidden_layers: layers, architecture } = found;
  const experts = expertsOf(found);
  const denseLayers = experts === 0 ? layers : (found.first_k_dense_replace ?? 0);
  const expertLayers = layers - denseLayers;
  const expertWidth = found.moe_intermediate_size ?? found.intermediate_size;
  const attention = countAttention(found);
  const shared = found.n_shared_experts ?? 0;
  // The router; gpt-oss gives it and its experts biases, DeepSeek corrects its choice by one number an expert.
  const biases = architecture === "GptOssForCausalLM" ? 1 + 2 * expertWidth + hidden : 0;
  const corrections = architecture === "DeepseekV3ForCausalLM" ? 1 : 0;
  const router = experts * (hidden + biases + corrections);
  return {
    embeddings: found.vocab_size * hidden * (found.tie_word_embeddings ? 1 : 2),
    experts: expertLayers * experts * 3 * hidden * expertWidth,
    matrices:
      layers * attention.matrices +
      denseLayers * 3 * hidden * found.intermediate_size +
      expertLayers * shared * 3 * hidden * expertWidth,
    rest: layers * (attention.rest + 2 * hidden) + expertLayers * router + hidden,
  };
}

/** Bits of a parameter on average: fp8 with a 32-bit scale a block of 128 x 128, mxfp4 with an 8-bit one for 32 numbers. */
function countBits(found: Config): number {
  const parts = countParts(found);
  if (found.quant_method === undefined) return 16;
  const packed = found.quant_method === "fp8" ? parts.experts + parts.matrices : parts.experts;
  const packedBits = found.quant_method === "fp8" ? 8 + 32 / 128 ** 2 : 4 + 8 / 32;
  return (packed * packedBits + (total(parts) - packed) * 16) / total(parts);
}

/** Bytes that a token keeps in 16 bits, all layers. */
function countKvBytes(found: Config): number {
  const latent = (found.kv_lora_rank ?? 0) + (found.qk_rope_head_dim ?? 0);
  const width = latent > 0 ? latent : 2 * found.num_key_value_heads * headSizeOf(found);
  return found.num_hidden_layers * width * 2;
}

function publishedOf(name: string) {
  const found = published.get(name);
  if (found === undefined) throw new Error(`published.yaml says nothing of ${name}`);
  return found;
}

/** What vLLM is started with for these parsers. */
function argsFor({ tool, reasoning }: Parsers): string[] {
  return [
    ...(tool === undefined ? [] : ["--enable-auto-tool-choice", "--tool-call-parser", tool]),
    ...(reasoning === undefined ? [] : ["--reasoning-parser", reasoning]),
  ];
}

describe("what is published", () => {
  it("is there for each model of the catalogue, and for no other", () => {
    expect([...published.keys()].sort()).toEqual(others.map(({ name }) => name).sort());
  });

  it.each([...published])(
    "%s: the count from its configuration is the published one within 2 %%",
    (_name, found) => {
      const counted = total(countParts(found.config)) / 1e9;
      expect(Math.abs(counted / found.billions - 1), `${counted} and ${found.billions}`).toBeLessThan(0.02);
    },
  );
});

describe("the catalogue", () => {
  it.each(others.map((entry) => [entry.name, entry] as const))(
    "%s: says what is published",
    (name, entry) => {
      const found = publishedOf(name);
      expect({
        repo: entry.repo,
        parameters: entry.parameters,
        context: entry.contextTokens,
        kvBytes: entry.kvBytesPerToken,
        license: entry.license,
        source: entry.source,
      }).toEqual({
        repo: name,
        parameters: total(countParts(found.config)),
        context: found.config.max_position_embeddings,
        kvBytes: countKvBytes(found.config),
        license: found.license,
        source: found.config_from,
      });
      expect(entry.bitsPerParameter).toBeCloseTo(countBits(found.config), 2);
    },
  );

  it.each(others.map((entry) => [entry.name, entry] as const))(
    "%s: names the GGUF files and the parsers of a source, and no others",
    (name, entry) => {
      const { gguf, gguf_from, parsers, parsers_from } = publishedOf(name);
      expect([gguf !== undefined, parsers !== undefined]).toEqual([
        gguf_from !== undefined,
        parsers_from !== undefined,
      ]);
      expect(entry.ggufRepo).toBe(gguf ?? null);
      for (const { engine, args } of entry.presets)
        expect(args.extraArgs).toEqual(engine === "vllm" ? argsFor(parsers ?? {}) : []);
    },
  );

  it("says of Berth's own model what its configuration says", () => {
    const own = z
      .record(z.string(), z.unknown())
      .parse(JSON.parse(textOf("../../starter/model/config.json")));
    const known = Object.keys(config.shape).map((key) => [key, own[key]] as const);
    const whole = config.parse({
      ...Object.fromEntries(known),
      architecture: "LlamaForCausalLM",
      torch_dtype: undefined,
    });
    const entry = entries.find(({ name }) => name === starter);
    expect(entry).toMatchObject({
      parameters: total(countParts(whole)),
      contextTokens: whole.max_position_embeddings,
      kvBytesPerToken: countKvBytes(whole),
    });
  });
});
