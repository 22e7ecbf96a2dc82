/**
 * What of a model's weights one GPU holds: what tensor parallelism splits, what every GPU holds whole, and what an engine
 * makes of the files in memory (padding, copies, other number formats). Pure. Says nothing of caches and of what fits.
 */
import type { ModelFacts, TensorPart } from "./model-facts.ts";
import type { StandardArgs } from "./standard-args.ts";

/** How an engine lays a model out. */
export type EngineKind =
  /** Splits tensors over GPUs. */
  | "vllm"
  /** Splits layers over GPUs, or computes on the CPU. */
  | "llamacpp";

export type WeightsAsk = {
  readonly facts: ModelFacts;
  readonly kind: EngineKind;
  /** 0: the CPU. */
  readonly gpus: number;
  readonly quantization: StandardArgs["quantization"] | null;
};

/** Bytes that each GPU, or the machine where there is none, holds. */
export function weightsOfOneGpu(ask: WeightsAsk): number {
  const share = Math.max(1, ask.gpus);
  return Math.ceil(ask.kind === "vllm" ? splitTensors(ask, share) : splitLayers(ask, share));
}

function splitTensors({ facts, quantization }: WeightsAsk, gpus: number): number {
  const parts = partsInMemory(facts, quantization ?? null);
  const known = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  // Where nothing tells what the bytes are for, a little of them is taken to be on every GPU.
  if (known === 0) return (facts.weightBytes / gpus) * (gpus > 1 ? 1.03 : 1);
  const attention = parts.attention * attentionShare(facts, gpus);
  const split = (parts.embedding + parts.output + parts.feedForward + parts.routedExperts) / gpus;
  return attention + split + parts.encoder + parts.other + positionTable(facts) + absorbedCopies(facts, gpus);
}

type Parts = Readonly<Record<TensorPart, number>>;

/** Bytes by part as they are once loaded. */
function partsInMemory(facts: ModelFacts, quantization: string | null): Parts {
  const of = (part: TensorPart) => facts.bytesByPart[part] ?? 0;
  const factor = loadedShare(facts);
  // Weights of 16 bits that the engine quantizes itself; embeddings and the output stay as they are.
  const bits =
    facts.quantization === null && quantization !== null ? (quantizedBits[quantization] ?? 16) : 16;
  const matrix = (part: TensorPart) => of(part) * factor * (bits / 16);
  return {
    embedding: of("embedding") * factor,
    output: of("output") * factor,
    attention: matrix("attention"),
    feedForward: matrix("feedForward"),
    routedExperts: matrix("routedExperts") * expertPadding(facts),
    encoder: of("encoder") * factor,
    other: of("other") * factor,
  };
}

const quantizedBits: Readonly<Record<string, number>> = { fp8: 8, bitsandbytes: 4.5 };

/** Models that are published in 32 bits are loaded in 16. Scales in 32 bits beside packed weights stay. */
function loadedShare({ bytesByDtype }: ModelFacts): number {
  const total = Object.values(bytesByDtype).reduce((sum, bytes) => sum + bytes, 0);
  const wide = (bytesByDtype.F32 ?? 0) + (bytesByDtype.F64 ?? 0);
  return total > 0 && wide / total > 0.5 ? 0.5 : 1;
}

/** The kernels for MXFP4 want sizes that are multiples of this. */
const mxfp4Multiple = 256;

function expertPadding({ quantization, hiddenSize }: ModelFacts): number {
  if (quantization?.method !== "mxfp4" || hiddenSize === null) return 1;
  return (Math.ceil(hiddenSize / mxfp4Multiple) * mxfp4Multiple) / hiddenSize;
}

/**
 * The share of attention's weights that a GPU holds. Keys and values of fewer heads than GPUs are on several of them; of
 * latent attention, what compresses is on all.
 */
function attentionShare(facts: ModelFacts, gpus: number): number {
  const { heads, kvHeads, headSize, valueHeadSize, hiddenSize, latentAttention: latent } = facts;
  if (heads === null || headSize === null || hiddenSize === null) return 1 / gpus;
  if (latent !== null) {
    const { kvRank, ropeHeadSize, queryRank } = latent;
    const valueSize = latent.valueHeadSize ?? headSize;
    const down = hiddenSize * ((queryRank ?? 0) + kvRank + ropeHeadSize);
    const plain = latent.plainHeadSize ?? Math.max(1, headSize - ropeHeadSize);
    const up = heads * ((queryRank ?? hiddenSize) * headSize + kvRank * (plain + valueSize));
    const whole = down + up + heads * valueSize * hiddenSize;
    return (down + (whole - down) / gpus) / whole;
  }
  const pairs = kvHeads ?? heads;
  const queries = heads * (headSize + (valueHeadSize ?? headSize));
  const keysAndValues = pairs * (headSize + (valueHeadSize ?? headSize));
  const heldPairs = (keysAndValues / pairs) * Math.ceil(pairs / gpus);
  return (queries / gpus + heldPairs) / (queries + keysAndValues);
}

/** Angles of the positions, made at the start: a row for each token of the longest context. */
function positionTable({ contextTokens, headSize, latentAttention }: ModelFacts): number {
  const size = latentAttention?.ropeHeadSize ?? headSize;
  return contextTokens === null || size === null ? 0 : Math.min(contextTokens, 2 ** 20) * size * 2;
}

/** With latent attention the second half of the compression is kept a second time, in 16 bits, for decoding. */
function absorbedCopies({ latentAttention, heads, layers }: ModelFacts, gpus: number): number {
  if (latentAttention === null || heads === null || layers === null) return 0;
  const { kvRank, plainHeadSize, valueHeadSize } = latentAttention;
  // One vector for all heads has nothing to be decompressed with.
  if (plainHeadSize === null || valueHeadSize === null) return 0;
  const width = plainHeadSize + valueHeadSize;
  return (layers * heads * kvRank * width * 2) / gpus;
}

/** A layer is whole on one GPU, so that the fullest has up to one more than its share. */
function splitLayers({ facts, gpus: asked }: WeightsAsk, gpus: number): number {
  const bytes = sumOf(facts.bytesByPart) || facts.weightBytes;
  const embedding = facts.bytesByPart.embedding ?? 0;
  // Rows of the embedding are looked up by the CPU; a GPU has them where they are the output too.
  const onGpus = asked === 0 || facts.hasTiedEmbeddings ? bytes : bytes - embedding;
  if (gpus === 1) return onGpus;
  const ends = (facts.bytesByPart.output ?? 0) + (facts.hasTiedEmbeddings ? embedding : 0);
  const layers = Math.max(gpus, facts.layers ?? gpus);
  return ((onGpus - ends) * Math.ceil(layers / gpus)) / layers + ends;
}

function sumOf(parts: ModelFacts["bytesByPart"]): number {
  return Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
}
