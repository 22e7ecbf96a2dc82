/**
 * Configurations of two models of more than 400 GB, in the form of well-known open ones: what headers are made of where reading
 * them is tested and measured.
 */

/** 405 billion parameters in few large tensors, of eight bits. */
export const denseModel = {
  architecture: "LlamaForCausalLM",
  num_hidden_layers: 126,
  hidden_size: 16_384,
  intermediate_size: 53_248,
  num_attention_heads: 128,
  num_key_value_heads: 8,
  vocab_size: 128_256,
  max_position_embeddings: 131_072,
  tie_word_embeddings: false,
  quant_method: "fp8",
} as const;

/** 235 billion parameters in many tensors, of sixteen bits: 128 experts a layer. */
export const expertsModel = {
  architecture: "Qwen3MoeForCausalLM",
  num_hidden_layers: 94,
  hidden_size: 4096,
  intermediate_size: 12_288,
  moe_intermediate_size: 1536,
  num_experts: 128,
  num_experts_per_tok: 8,
  num_attention_heads: 64,
  num_key_value_heads: 4,
  head_dim: 128,
  vocab_size: 151_936,
  max_position_embeddings: 40_960,
  tie_word_embeddings: false,
} as const;
