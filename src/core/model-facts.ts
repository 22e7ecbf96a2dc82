/**
 * What can be known of a model without its weights: how large it is, in which numbers, and the sizes that memory and
 * speed follow from. Plain values, read by the hub from configuration files and headers; null where a repository does
 * not say. Must not hold a decision: what fits where is computed from this elsewhere.
 */

export type WeightFormat = "safetensors" | "gguf" | "pickle";

/** What tensors are for; sums over them tell what can be split over GPUs and what every GPU holds whole. */
export type TensorPart =
  /** Token embeddings; also the output where both are one tensor. */
  | "embedding"
  | "output"
  | "attention"
  | "feedForward"
  /** Experts of which each token uses some. */
  | "routedExperts"
  /** Encoders of images or sound, and what joins them to the text model. */
  | "encoder"
  /** Norms, routers, scales and whatever else has no better place. */
  | "other";

export type Quantization = {
  /** As the repository names it: "gptq", "awq", "fp8", "mxfp4", "compressed-tensors", or GGUF's "Q4_K_M". */
  readonly method: string;
  /** Bits of a weight, null where it is not said. */
  readonly bits: number | null;
};

/** Latent attention (DeepSeek's MLA): a token's cache is `kvRank + ropeHeadSize` numbers a layer, for all heads. */
export type LatentAttention = {
  readonly kvRank: number;
  /** Null where queries are not compressed. */
  readonly queryRank: number | null;
  readonly ropeHeadSize: number;
  readonly plainHeadSize: number | null;
  readonly valueHeadSize: number | null;
};

export type Experts = {
  /** Routed experts a layer. */
  readonly total: number;
  /** Routed experts a token uses; null where it is not said. */
  readonly active: number | null;
  /** Experts every token uses. */
  readonly shared: number;
  readonly intermediateSize: number | null;
};

/** Which layers keep which kind of state. The three counts add up to `layers` where all are known. */
export type LayerKinds = {
  /** Layers whose cache grows with the context. */
  readonly fullAttention: number;
  /** Layers whose cache ends at `windowTokens`. */
  readonly slidingAttention: number;
  /** Layers with a state of constant size (Mamba, linear attention). */
  readonly recurrent: number;
  /** Layers without any state over time, as in models that mix feed-forward layers in. */
  readonly stateless: number;
  readonly windowTokens: number | null;
  /** Numbers in the state of one recurrent layer of one sequence, null where that is not known. */
  readonly recurrentStateSize: number | null;
  /** Heads of the layers that see everything, where they are unlike the others'. */
  readonly fullHeads?: { readonly kvHeads: number; readonly headSize: number };
  /**
   * What layers keep of each token in compressed form beside their window, as a number of layers that would keep it whole:
   * 1/4 for a layer that keeps one of four.
   */
  readonly compressedTokens?: number;
};

export type ModelFacts = {
  readonly format: WeightFormat;
  /** "LlamaForCausalLM", or GGUF's "llama". */
  readonly architecture: string | null;
  /** The API's `task`, for example "text-generation" or "embeddings". */
  readonly task: string;
  /** Weights as trained, packed ones unpacked; null where neither headers nor configuration tell. */
  readonly parameters: number | null;
  /** Bytes of all weight files that were looked at. */
  readonly weightBytes: number;
  /** Bytes by number format as the file names it: "BF16", "F8_E4M3", "Q4_K". */
  readonly bytesByDtype: Readonly<Record<string, number>>;
  readonly bytesByPart: Readonly<Partial<Record<TensorPart, number>>>;
  /** False: so many headers that some were read and the others counted like them. */
  readonly isCounted: boolean;
  readonly quantization: Quantization | null;
  readonly layers: number | null;
  readonly layerKinds: LayerKinds | null;
  readonly hiddenSize: number | null;
  readonly intermediateSize: number | null;
  readonly vocabularySize: number | null;
  readonly contextTokens: number | null;
  readonly heads: number | null;
  readonly kvHeads: number | null;
  /** Size of a key of one head. */
  readonly headSize: number | null;
  /** Size of a value of one head. */
  readonly valueHeadSize: number | null;
  readonly latentAttention: LatentAttention | null;
  readonly experts: Experts | null;
  readonly hasTiedEmbeddings: boolean;
  readonly hasChatTemplate: boolean;
  /** Set when the repository holds an adapter rather than a model. */
  readonly adapter: { readonly base: string | null; readonly rank: number | null } | null;
};

/** Bytes of the tensors by what they are for, from their names; the names that the common trainers use are known. */
export function partOfTensor(name: string): TensorPart {
  const plain = name.toLowerCase();
  if (/vision|visual|image|audio|speech|multi_modal|mm_projector|whisper/.test(plain)) return "encoder";
  if (/norm|(^|\.)ln_|router|\.gate\.(weight|e_score)|ffn_gate_inp|rotary|_scale_inv$/.test(plain))
    return "other";
  if (/shared_expert|_shexp/.test(plain)) return "feedForward";
  if (/experts[._]|_exps\b/.test(plain)) return "routedExperts";
  if (
    /embed_tokens|token_embd|word_embeddings|(^|\.)wte\.|embed_in|tok_embeddings|(^|\.)embedding/.test(plain)
  ) {
    return "embedding";
  }
  if (/lm_head|embed_out|(^|\.)output\.(weight|bias|qweight)/.test(plain)) return "output";
  if (/attn|attention|mixer|ssm_|linear_attn/.test(plain) && !/attention\.output\.dense/.test(plain))
    return "attention";
  if (/mlp|ffn|feed_forward|fc1|fc2|dense_(h|4h)|intermediate|\.w[123]\./.test(plain)) return "feedForward";
  return "other";
}
