/**
 * How much context memory allows: bytes a token takes in the KV cache, from the GGUF's metadata, and from that how many
 * requests can be served at once and how long each may be. Pure. The reduction is said in one sentence, never silent.
 */

/** The part of a GGUF's architecture block that sizes its KV cache. */
export type ArchitectureMetadata = {
  readonly block_count?: number;
  readonly embedding_length?: number;
  readonly attention?: {
    readonly head_count?: number | readonly number[];
    readonly head_count_kv?: number | readonly number[];
    readonly key_length?: number;
    readonly value_length?: number;
    readonly kv_lora_rank?: number;
  };
  readonly rope?: { readonly dimension_count?: number };
};

/** Keys and values are kept in half precision. */
const bytesPerElement = 2;
/** llama.cpp rounds a context up to a multiple of this many tokens. */
export const contextStep = 256;
/** Without an explicit length a context is not cut below this to make room for more slots. */
const comfortableContextTokens = 8192;

/** Bytes one token of one request takes; 0 where the metadata does not say (state-space models keep no such cache). */
export function kvBytesPerToken(metadata: ArchitectureMetadata): number {
  const layers = metadata.block_count ?? 0;
  const attention = metadata.attention ?? {};
  if (attention.kv_lora_rank !== undefined) {
    // Multi-head latent attention caches one compressed vector and the rotary part a layer.
    return layers * (attention.kv_lora_rank + (metadata.rope?.dimension_count ?? 0)) * bytesPerElement;
  }
  const queryHeads = perLayer(attention.head_count ?? 0, layers);
  const heads = perLayer(attention.head_count_kv ?? attention.head_count ?? 0, layers);
  const headSize = (metadata.embedding_length ?? 0) / Math.max(1, ...queryHeads);
  const perHead = (attention.key_length ?? headSize) + (attention.value_length ?? headSize);
  return Math.ceil(heads.reduce((sum, count) => sum + count, 0) * perHead * bytesPerElement);
}

function perLayer(value: number | readonly number[], layers: number): readonly number[] {
  return typeof value === "number" ? Array.from({ length: layers }, () => value) : value;
}

export type Capacity = {
  /** Requests served at once, 1 or more. */
  readonly slots: number;
  /** Tokens one request may take, prompt and answer together. */
  readonly contextTokens: number;
  /** One sentence when it is less than was asked or the model could take. */
  readonly note: string | null;
};

/**
 * The context is the model's own where memory holds it for every slot asked for. Else it shrinks, but not below 8192
 * tokens or what was asked for explicitly; from there on slots are given up instead, down to one.
 */
export function planCapacity(asked: {
  slots: number;
  contextTokens: number | null;
  trainedTokens: number;
  bytesPerToken: number;
  memoryBytes: number;
}): Capacity {
  const wanted = Math.min(asked.contextTokens ?? asked.trainedTokens, asked.trainedTokens);
  if (asked.bytesPerToken === 0) return { slots: asked.slots, contextTokens: wanted, note: null };
  const held = Math.floor(asked.memoryBytes / asked.bytesPerToken);
  if (held < contextStep) {
    throw new Error(
      `${megabytes(asked.memoryBytes)} of context memory hold ${held} tokens of this model; ${contextStep} are the least.`,
    );
  }
  const least = asked.contextTokens === null ? Math.min(wanted, comfortableContextTokens) : wanted;
  const evenShare = roundDown(held / asked.slots);
  const contextTokens = Math.min(wanted, Math.max(evenShare, least), roundDown(held));
  const slots = Math.max(1, Math.min(asked.slots, Math.floor(held / roundUp(contextTokens))));
  return { slots, contextTokens, note: describe(asked, wanted, { slots, contextTokens }) };
}

function describe(
  asked: { slots: number; memoryBytes: number },
  wanted: number,
  given: { slots: number; contextTokens: number },
): string | null {
  const memory = `${megabytes(asked.memoryBytes)} of context memory`;
  const fewer = given.slots < asked.slots;
  const shorter = given.contextTokens < wanted;
  if (fewer && shorter) {
    return `${memory} hold ${given.slots} of the ${asked.slots} slots asked for at ${given.contextTokens} of the model's ${wanted} tokens of context.`;
  }
  if (fewer) {
    return `${memory} hold ${given.slots} of the ${asked.slots} slots asked for at ${wanted} tokens of context each.`;
  }
  if (shorter) {
    return `${memory} hold ${given.contextTokens} of the model's ${wanted} tokens of context for each of ${given.slots} slots.`;
  }
  return null;
}

function roundDown(tokens: number): number {
  return Math.floor(tokens / contextStep) * contextStep;
}

/** To a number that llama.cpp itself would not round up further. */
export function roundUp(tokens: number): number {
  return Math.ceil(tokens / contextStep) * contextStep;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`;
}
