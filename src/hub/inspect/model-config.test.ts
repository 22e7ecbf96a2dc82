import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readModelConfig } from "./model-config.ts";

describe("a configuration of", () => {
  test("a model with grouped heads", () => {
    const facts = readModelConfig({
      architectures: ["LlamaForCausalLM"],
      hidden_size: 8192,
      intermediate_size: 28_672,
      num_hidden_layers: 80,
      num_attention_heads: 64,
      num_key_value_heads: 8,
      vocab_size: 128_256,
      max_position_embeddings: 131_072,
      tie_word_embeddings: false,
    });
    expect(facts).toMatchObject({
      architecture: "LlamaForCausalLM",
      task: "text-generation",
      layers: 80,
      heads: 64,
      kvHeads: 8,
      headSize: 128,
      contextTokens: 131_072,
      layerKinds: { fullAttention: 80, slidingAttention: 0, recurrent: 0, stateless: 0, windowTokens: null },
      latentAttention: null,
      experts: null,
      quantization: null,
    });
  });

  test("a model with latent attention and experts, in 8 bits", () => {
    const facts = readModelConfig({
      architectures: ["DeepseekV3ForCausalLM"],
      hidden_size: 7168,
      num_hidden_layers: 61,
      num_attention_heads: 128,
      num_key_value_heads: 128,
      kv_lora_rank: 512,
      q_lora_rank: 1536,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
      n_routed_experts: 256,
      n_shared_experts: 1,
      num_experts_per_tok: 8,
      moe_intermediate_size: 2048,
      quantization_config: { quant_method: "fp8", weight_block_size: [128, 128] },
    });
    expect(facts.latentAttention).toEqual({
      kvRank: 512,
      queryRank: 1536,
      ropeHeadSize: 64,
      plainHeadSize: 128,
      valueHeadSize: 128,
    });
    expect(facts.experts).toEqual({ total: 256, active: 8, shared: 1, intermediateSize: 2048 });
    expect(facts).toMatchObject({
      headSize: 192,
      valueHeadSize: 128,
      quantization: { method: "fp8", bits: 8 },
    });
  });

  test("a model that also sees, with windows in five of six layers", () => {
    const facts = readModelConfig({
      architectures: ["Gemma3ForConditionalGeneration"],
      vision_config: { num_hidden_layers: 27, hidden_size: 1152 },
      text_config: {
        model_type: "gemma3_text",
        hidden_size: 5376,
        num_hidden_layers: 62,
        num_attention_heads: 32,
        num_key_value_heads: 16,
        head_dim: 128,
        sliding_window: 1024,
      },
    });
    expect(facts).toMatchObject({ layers: 62, hiddenSize: 5376, headSize: 128 });
    expect(facts.layerKinds).toMatchObject({ fullAttention: 10, slidingAttention: 52, windowTokens: 1024 });
  });

  test("models that list their layers, or whose window is switched off", () => {
    const base = { num_hidden_layers: 4, hidden_size: 64, num_attention_heads: 4, sliding_window: 128 };
    const kinds = (more: object) => readModelConfig({ ...base, ...more }).layerKinds;
    const listed = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"];
    expect(kinds({ layer_types: listed })).toMatchObject({ fullAttention: 2, slidingAttention: 2 });
    expect(kinds({ use_sliding_window: false })).toMatchObject({ fullAttention: 4, windowTokens: null });
    expect(kinds({ model_type: "mistral" })).toMatchObject({ slidingAttention: 4, windowTokens: 128 });
    expect(kinds({ model_type: "qwen2", use_sliding_window: true, max_window_layers: 3 })).toMatchObject({
      fullAttention: 3,
      slidingAttention: 1,
    });
  });

  test("windows that a family's code or its own list spreads", () => {
    const llama4 = {
      text_config: {
        ...{ model_type: "llama4_text", num_hidden_layers: 48, attention_chunk_size: 8192 },
        ...{ hidden_size: 5120, num_attention_heads: 40, num_key_value_heads: 8, head_dim: 128 },
      },
    };
    expect(readModelConfig(llama4).layerKinds).toMatchObject({ fullAttention: 12, slidingAttention: 36 });
    const numbered = { num_hidden_layers: 6, hybrid_layer_pattern: [0, 1, 1, 1, 1, 0], sliding_window: 128 };
    expect(readModelConfig(numbered).layerKinds).toMatchObject({ fullAttention: 2, slidingAttention: 4 });
  });

  test("other heads where a layer sees everything", () => {
    const facts = readModelConfig({
      ...{
        num_hidden_layers: 2,
        hidden_size: 64,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        head_dim: 256,
      },
      ...{ global_head_dim: 512, num_global_key_value_heads: 2, sliding_window: 1024 },
      layer_types: ["sliding_attention", "full_attention"],
    });
    expect(facts).toMatchObject({ kvHeads: 8, headSize: 256 });
    expect(facts.layerKinds?.fullHeads).toEqual({ kvHeads: 2, headSize: 512 });
  });

  test("one vector for all heads, of which layers keep one of several", () => {
    const facts = readModelConfig({
      ...{ model_type: "deepseek_v4", num_hidden_layers: 4, hidden_size: 4096, num_attention_heads: 64 },
      ...{
        num_key_value_heads: 1,
        head_dim: 512,
        qk_rope_head_dim: 64,
        q_lora_rank: 1024,
        sliding_window: 128,
      },
      compress_ratios: [0, 4, 128, 4, 0],
    });
    expect(facts.latentAttention).toMatchObject({ kvRank: 448, ropeHeadSize: 64, plainHeadSize: null });
    expect(facts.layerKinds).toMatchObject({ slidingAttention: 4, compressedTokens: 0.5 + 1 / 128 });
  });

  test("blocks that were pruned one by one", () => {
    const block = (size: number | null) => ({ attention: { n_heads_in_group: size, no_op: size === null } });
    const facts = readModelConfig({
      ...{ num_hidden_layers: 4, hidden_size: 8192, num_attention_heads: 64 },
      block_configs: [block(8), block(null), block(16), block(null)],
    });
    expect(facts).toMatchObject({ kvHeads: 8, layerKinds: { fullAttention: 2, stateless: 2 } });
  });

  test("linear attention beside latent, and layers that are listed alone", () => {
    const kimi = readModelConfig({
      ...{ num_hidden_layers: 4, hidden_size: 2304, num_attention_heads: 32 },
      linear_attn_config: { kda_layers: [1, 2, 3], num_heads: 32, head_dim: 128, short_conv_kernel_size: 4 },
    });
    expect(kimi.layerKinds).toMatchObject({
      fullAttention: 1,
      recurrent: 3,
      recurrentStateSize: 32 * 128 * (128 + 9),
    });
    const listed = readModelConfig({ hidden_size: 64, layers_block_type: ["mamba", "moe", "attention"] });
    expect(listed).toMatchObject({ layers: 3, layerKinds: { fullAttention: 1, recurrent: 1, stateless: 1 } });
  });

  test("hybrids, with the size of their state", () => {
    const linear = readModelConfig({
      model_type: "qwen3_next",
      num_hidden_layers: 48,
      hidden_size: 2048,
      num_attention_heads: 16,
      num_key_value_heads: 2,
      head_dim: 256,
      full_attention_interval: 4,
      linear_num_value_heads: 32,
      linear_num_key_heads: 16,
      linear_key_head_dim: 128,
      linear_value_head_dim: 128,
      linear_conv_kernel_dim: 4,
    });
    expect(linear.layerKinds).toMatchObject({
      fullAttention: 12,
      recurrent: 36,
      recurrentStateSize: 32 * 128 * 128 + 3 * (2 * 16 * 128 + 32 * 128),
    });
    const letters = readModelConfig({
      num_hidden_layers: 6,
      hidden_size: 64,
      hybrid_override_pattern: "M-M*M-",
    });
    expect(letters.layerKinds).toMatchObject({ fullAttention: 1, recurrent: 3, stateless: 2 });
    const jamba = readModelConfig({
      num_hidden_layers: 32,
      hidden_size: 4096,
      attn_layer_period: 8,
      attn_layer_offset: 4,
      mamba_d_state: 16,
      mamba_d_conv: 4,
      mamba_expand: 2,
    });
    expect(jamba.layerKinds).toMatchObject({
      fullAttention: 4,
      recurrent: 28,
      recurrentStateSize: 8192 * 16 + 3 * 8192,
    });
  });

  test.each([
    [
      { quant_method: "gptq", bits: 4 },
      { method: "gptq", bits: 4 },
    ],
    [
      { quant_method: "bitsandbytes", load_in_4bit: true },
      { method: "bitsandbytes", bits: 4 },
    ],
    [{ quant_method: "mxfp4" }, { method: "mxfp4", bits: 4 }],
    [
      { quant_method: "compressed-tensors", config_groups: { group_0: { weights: { num_bits: 4 } } } },
      { method: "compressed-tensors", bits: 4 },
    ],
  ])("the quantization %j", (quantization_config, expected) => {
    expect(readModelConfig({ quantization_config }).quantization).toEqual(expected);
  });

  test.each([
    ["BertModel", "embeddings"],
    ["Qwen3ForSequenceClassification", "text-classification"],
    ["Qwen3ForCausalLM", "text-generation"],
  ])("%s is for %s", (architecture, task) => {
    expect(readModelConfig({ architectures: [architecture] }).task).toBe(task);
  });
});

describe("a hostile configuration", () => {
  test.each([
    ["numbers that are no sizes", { num_hidden_layers: 1e308, hidden_size: -1, vocab_size: 0.5 }],
    ["texts for numbers", { num_hidden_layers: "80", hidden_size: "big" }],
    [
      "lists for everything",
      { num_hidden_layers: [], text_config: [], architectures: {}, quantization_config: [] },
    ],
  ])("with %s says nothing", (_name, json) => {
    expect(readModelConfig(json)).toMatchObject({ layers: null, hiddenSize: null, layerKinds: null });
  });

  test("of a million layer names costs no more than its layers", () => {
    const layer_types = Array(1_000_000).fill("full_attention");
    expect(readModelConfig({ num_hidden_layers: 2, layer_types }).layerKinds).toMatchObject({
      fullAttention: 2,
    });
  });

  test("of any shape gives facts", () => {
    fc.assert(
      fc.property(fc.anything(), (json) => {
        expect(readModelConfig(json)).toHaveProperty("layers");
      }),
    );
  });
});
