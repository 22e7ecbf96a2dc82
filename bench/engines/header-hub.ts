/** The stand-in hub of inspect.ts as a process: two repositories of more than 400 GB, one of few large tensors, one of many. */
import { startHeaderHub } from "../../tools/model-headers/hub.ts";

const dense = {
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
const experts = {
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

const hub = await startHeaderHub(
  [
    { name: "bench/dense-405B", config: dense, shards: 190 },
    { name: "bench/experts-235B", config: experts, shards: 190 },
  ],
  Number(process.argv[2] ?? 50),
);
console.log(JSON.stringify({ url: hub.url, repos: ["bench/dense-405B", "bench/experts-235B"] }));
