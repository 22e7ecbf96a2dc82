/**
 * What the memory of a conversation takes: keys and values that grow with the context, those that end at a window, the
 * compressed ones of latent attention, and states of constant size. Pure.
 */
import type { EngineKind } from "./fit-weights.ts";
import type { ModelFacts } from "./model-facts.ts";

export type CacheAsk = {
  readonly facts: ModelFacts;
  readonly kind: EngineKind;
  /** 0: the CPU. */
  readonly gpus: number;
  /** Bytes of a number in the cache. */
  readonly numberBytes: number;
  /** Prompt tokens computed in one step: a window keeps those too while a prompt is read. */
  readonly prefillTokens: number;
};

/** What one GPU, or the machine, keeps of each request. */
export type CacheShape = {
  /** Bytes of a token in the layers that see everything. */
  readonly tokenBytes: number;
  /** Bytes of a token in the layers that see a window. */
  readonly windowTokenBytes: number;
  readonly windowTokens: number;
  /** Bytes of a request whatever its length. */
  readonly stateBytes: number;
};

/** Engines hand the cache out in blocks of this many tokens. */
const blockTokens = 16;

/** Null where the model does not say enough: nothing can be said of its cache then. */
export function shapeOfCache(ask: CacheAsk): CacheShape | null {
  const { facts, gpus } = ask;
  const kinds = facts.layerKinds;
  if (kinds === null || facts.layers === null) return null;
  const width = numbersOfLayer(ask);
  if (width === null && kinds.fullAttention + kinds.slidingAttention > 0) return null;
  // Layers that are split over GPUs: the fullest has up to one more than its share.
  const held = (layers: number) => (ask.kind === "llamacpp" ? Math.ceil(layers / Math.max(1, gpus)) : layers);
  const bytes = (width ?? 0) * ask.numberBytes;
  const fullBytes = (widthOfFull(ask) ?? width ?? 0) * ask.numberBytes;
  const states = held(kinds.recurrent) * (kinds.recurrentStateSize ?? 0) * stateNumberBytes(ask);
  return {
    tokenBytes: held(kinds.fullAttention) * fullBytes + (kinds.compressedTokens ?? 0) * bytes,
    windowTokenBytes: held(kinds.slidingAttention) * bytes,
    // A window of a length that is not known is no bound.
    windowTokens: kinds.windowTokens ?? Number.POSITIVE_INFINITY,
    stateBytes: ask.kind === "vllm" ? states / Math.max(1, gpus) : states,
  };
}

/** llama.cpp keeps states in 32 bits, vLLM in the model's 16. */
function stateNumberBytes({ kind }: CacheAsk): number {
  return kind === "llamacpp" ? 4 : 2;
}

/** The same of a layer that sees everything, where its heads are unlike the others'. */
function widthOfFull({ facts, kind, gpus }: CacheAsk): number | null {
  const heads = facts.layerKinds?.fullHeads;
  if (heads === undefined) return null;
  const held = kind === "vllm" ? Math.ceil(heads.kvHeads / Math.max(1, gpus)) : heads.kvHeads;
  return held * heads.headSize * 2;
}

/** Numbers that one layer keeps for a token on one GPU. */
function numbersOfLayer({ facts, kind, gpus }: CacheAsk): number | null {
  const { latentAttention: latent, kvHeads, headSize, valueHeadSize } = facts;
  // Compressed for all heads together: every GPU has it whole.
  if (latent !== null) return latent.kvRank + latent.ropeHeadSize;
  if (kvHeads === null || headSize === null) return null;
  const heads = kind === "vllm" ? Math.ceil(kvHeads / Math.max(1, gpus)) : kvHeads;
  return heads * (headSize + (valueHeadSize ?? headSize));
}

/** Bytes for `batch` requests of `contextTokens` each. Grows with both. */
export function cacheBytes(
  shape: CacheShape,
  batch: number,
  contextTokens: number,
  prefillTokens: number,
): number {
  const context = Math.ceil(contextTokens / blockTokens) * blockTokens;
  const window = Math.min(context, Math.ceil(shape.windowTokens / blockTokens) * blockTokens + blockTokens);
  // One prompt at a time is read beyond its window.
  const reading = Math.min(Math.max(0, context - window), prefillTokens);
  return Math.ceil(
    batch * (shape.tokenBytes * context + shape.stateBytes) +
      shape.windowTokenBytes * (batch * window + reading),
  );
}
