/**
 * Whether a model fits: the memory that one GPU (or the machine, where the engine computes on the CPU) needs for its
 * weights, its cache and its work, line by line, against what there is. Pure; from ModelFacts alone. Careful: what it
 * calls fitting should start. `isCertain` tells when even the least that is conceivable does not fit.
 */
import { type CacheShape, cacheBytes, shapeOfCache } from "./fit-cache.ts";
import { correct, type MeasuredMemory } from "./fit-measured.ts";
import { type EngineKind, weightsOfOneGpu } from "./fit-weights.ts";
import type { ModelFacts } from "./model-facts.ts";
import type { StandardArgs } from "./standard-args.ts";

/** What an engine does with memory. */
export type EngineMemory = {
  readonly kind: EngineKind;
  /** Most bytes that it takes for the cache, as the installation is set up; null: whatever is left. */
  readonly mostCacheBytes: number | null;
  /** Fewest tokens with which it starts, whatever was asked for; null: it starts with all that it was asked for or not at all. */
  readonly leastContextTokens: number | null;
};

/** What the arguments of an engine mean for memory. */
export type FitArgs = {
  readonly batch: number;
  /** Tokens that a request was promised; null: as many as the model takes, or fewer. */
  readonly contextTokens: number | null;
  readonly gpuMemoryFraction: number | null;
  readonly prefillTokens: number | null;
  readonly kvCacheDtype: StandardArgs["kvCacheDtype"] | null;
  readonly quantization: StandardArgs["quantization"] | null;
};

export type FitAsk = {
  readonly facts: ModelFacts;
  readonly engine: EngineMemory;
  readonly args: FitArgs;
  /** 0: the CPU. */
  readonly gpus: number;
  /** Of one GPU as programs see it, or of the machine. */
  readonly memoryBytes: number;
  readonly measured: MeasuredMemory | null;
};

export type FitLine = {
  readonly what: "weights" | "cache" | "activations" | "graphs" | "runtime" | "reserve";
  readonly bytes: number;
  readonly text: string;
};

export type Fit = {
  /** `shorter`: it runs, but not `batch` requests of `contextTokens` at the same time. */
  readonly verdict: "fits" | "shorter" | "does-not-fit";
  /** Of `does-not-fit`: no estimate that is a little off could change it. */
  readonly isCertain: boolean;
  readonly gpus: number;
  readonly memoryBytes: number;
  readonly batch: number;
  /** Tokens a request was to have. */
  readonly contextTokens: number;
  /** Tokens that each of `batch` requests can have at the same time; 0: not even a few. */
  readonly contextForAll: number;
  /** Tokens that one request can have while it is alone. */
  readonly contextForOne: number;
  /** What is asked for, on one GPU; the sum is `neededBytes`. */
  readonly lines: readonly FitLine[];
  readonly neededBytes: number;
  /** Set when memory is not the reason. */
  readonly obstacle: string | null;
};

/** Below this many tokens a model is of no use, unless it takes no more. */
export const leastContextTokens = 2048;
/** Where a model does not say how much it takes. */
const usualContextTokens = 8192;
/** How far an estimate may be off before it is called certain. */
const doubt = 0.9;

/** Share of a GPU's memory that vLLM takes. */
const usualGpuFraction = 0.9;
/** llama.cpp takes what it needs; some must stay free for what its sum leaves out. */
const llamacppGpuFraction = 0.95;
/** Memory of a machine that the system and Berth itself need. */
const cpuFraction = 0.92;

/** @returns null where too little is known of the model to say anything */
export function fitModel(ask: FitAsk): Fit | null {
  const { facts, args } = ask;
  const sizing = sizeUp(ask);
  if (sizing === null) return null;
  const most = facts.contextTokens ?? usualContextTokens;
  const contextTokens = args.contextTokens ?? most;
  const usable = args.contextTokens ?? Math.min(most, leastContextTokens);
  const least = Math.min(usable, ask.engine.leastContextTokens ?? usable);
  const budget = ask.memoryBytes - sizing.reserveBytes;
  const longest = (batch: number, room: number) =>
    longestContext(contextTokens, (tokens) => isRoomFor(ask, sizing, { batch, tokens }, room));
  const contextForAll = longest(args.batch, budget);
  const contextForOne = longest(1, budget);
  const obstacle = whyNotSplit(ask);
  const lines = linesOf(ask, sizing, contextTokens);
  const runs = obstacle === null && contextForOne >= least;
  return {
    verdict: !runs ? "does-not-fit" : contextForAll >= contextTokens ? "fits" : "shorter",
    isCertain: !runs && (obstacle !== null || !couldFit(ask, sizing, least)),
    ...{ gpus: ask.gpus, memoryBytes: ask.memoryBytes, batch: args.batch, contextTokens },
    ...{ contextForAll, contextForOne, lines, obstacle },
    neededBytes: lines.reduce((sum, line) => sum + line.bytes, 0),
  };
}

type Sizing = {
  readonly weightBytes: number;
  readonly shape: CacheShape;
  readonly prefillTokens: number;
  readonly activationBytes: number;
  readonly graphBytes: number;
  readonly runtimeBytes: number;
  readonly reserveBytes: number;
};

function sizeUp(ask: FitAsk): Sizing | null {
  const { facts, gpus, args } = ask;
  const { kind } = ask.engine;
  const prefillTokens = args.prefillTokens ?? usualPrefill(ask);
  const numberBytes = args.kvCacheDtype === "fp8" ? 1 : 2;
  const shape = shapeOfCache({ facts, kind, gpus, numberBytes, prefillTokens });
  if (shape === null || facts.weightBytes <= 0) return null;
  const work = {
    activationBytes: activations(ask, prefillTokens),
    graphBytes: kind === "vllm" && gpus > 0 ? (facts.layers ?? 32) * graphBytesOfLayer : 0,
    runtimeBytes: gpus === 0 ? processBytes : contextBytes + (gpus > 1 ? exchangeBytes : 0),
  };
  const workBytes = work.activationBytes + work.graphBytes + work.runtimeBytes;
  const weightBytes = weightsOfOneGpu({ facts, kind, gpus, quantization: args.quantization ?? null });
  const corrected = correct({ weightBytes, workBytes }, ask.measured);
  const factor = corrected.workBytes / workBytes;
  return {
    ...{ weightBytes: corrected.weightBytes, shape, prefillTokens },
    activationBytes: Math.ceil(work.activationBytes * factor),
    graphBytes: Math.ceil(work.graphBytes * factor),
    runtimeBytes: Math.ceil(work.runtimeBytes * factor),
    reserveBytes: Math.ceil(ask.memoryBytes * (1 - fractionOf(ask))),
  };
}

export function fractionOf({ gpus, args, engine }: Pick<FitAsk, "gpus" | "args" | "engine">): number {
  if (gpus === 0) return cpuFraction;
  return engine.kind === "vllm" ? (args.gpuMemoryFraction ?? usualGpuFraction) : llamacppGpuFraction;
}

const mib = 2 ** 20;
/** Per layer, for the graphs of all batch sizes that are captured. */
const graphBytesOfLayer = 16 * mib;
/** CUDA's own. */
export const contextBytes = 600 * mib;
/** Buffers by which GPUs exchange results. */
const exchangeBytes = 1024 * mib;
/** A process on the CPU, beside what the model takes. */
export const processBytes = 200 * mib;

const largeGpuBytes = 70 * 2 ** 30;
/** llama.cpp computes a prompt in steps of this many tokens. */
const llamacppStep = 512;

/** vLLM takes longer steps on GPUs of the size of an A100-80GB and up. */
function usualPrefill({ engine, memoryBytes }: FitAsk): number {
  if (engine.kind === "llamacpp") return llamacppStep;
  return memoryBytes >= largeGpuBytes ? 8192 : 2048;
}

/** How often the numbers for the choice of the next token are in memory while it is sampled, 32 bits each. */
const samplerCopies = 8;

/** The largest step: a long prompt through the widest layer, or the choice of a token for every request. */
function activations({ facts, engine, args, gpus }: FitAsk, prefillTokens: number): number {
  const hidden = facts.hiddenSize ?? 4096;
  const vocabulary = facts.vocabularySize ?? 128_000;
  if (engine.kind === "llamacpp") return llamacppStep * (vocabulary + 4 * hidden) * 4;
  const { experts } = facts;
  const active = experts === null ? 0 : (experts.active ?? 1) + experts.shared;
  const dense = facts.intermediateSize ?? 4 * hidden;
  const width = experts === null ? dense : Math.max(dense, active * (experts.intermediateSize ?? hidden));
  // Gate, up and their product, of which a GPU has its part; what each expert answers, and a few copies of what goes from
  // layer to layer, which it has whole; in 16 bits.
  const step = prefillTokens * ((3 * width) / Math.max(1, gpus) + (4 + active) * hidden) * 2;
  return step + args.batch * vocabulary * 4 * samplerCopies;
}

function isRoomFor(
  ask: FitAsk,
  sizing: Sizing,
  { batch, tokens }: { batch: number; tokens: number },
  budgetBytes: number,
): boolean {
  const cache = cacheBytes(sizing.shape, batch, tokens, sizing.prefillTokens);
  const most = ask.engine.mostCacheBytes;
  if (most !== null && cache > most) return false;
  return sizing.weightBytes + cache + workOf(sizing) <= budgetBytes;
}

function workOf({ activationBytes, graphBytes, runtimeBytes }: Sizing): number {
  return activationBytes + graphBytes + runtimeBytes;
}

/** Whether `least` tokens for one request fit if everything is as small as is conceivable. */
function couldFit(ask: FitAsk, sizing: Sizing, least: number): boolean {
  const cache = cacheBytes(sizing.shape, 1, least, sizing.prefillTokens) * doubt;
  const most = ask.engine.mostCacheBytes;
  if (most !== null && cache > most) return false;
  return sizing.weightBytes * doubt + cache <= ask.memoryBytes * Math.max(fractionOf(ask), doubt);
}

/** The largest number from 0 to `most` for which `isRoom` holds; it holds for all smaller ones too. */
function longestContext(most: number, isRoom: (tokens: number) => boolean): number {
  if (isRoom(most)) return most;
  let [low, high] = [0, most];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (isRoom(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Tensors are split between heads: each GPU has as many as the others. */
function whyNotSplit({ facts, gpus, engine }: FitAsk): string | null {
  if (engine.kind !== "vllm" || gpus < 2 || facts.heads === null) return null;
  if (facts.heads % gpus === 0) return null;
  return `its ${facts.heads} attention heads cannot be shared out evenly to ${gpus} GPUs`;
}

function linesOf(ask: FitAsk, sizing: Sizing, contextTokens: number): FitLine[] {
  const { gpus, args, facts } = ask;
  const each = gpus > 1 ? ` on each of ${gpus} GPUs` : "";
  const cache = cacheBytes(sizing.shape, args.batch, contextTokens, sizing.prefillTokens);
  const requests = args.batch === 1 ? "1 request" : `${args.batch} requests`;
  const wide = args.kvCacheDtype === "fp8" ? " in 8 bits" : "";
  const lines: FitLine[] = [
    { what: "weights", bytes: sizing.weightBytes, text: `weights${each}${describeWeights(facts)}` },
    {
      what: "cache",
      bytes: cache,
      text: `cache of ${requests} with ${contextTokens} tokens each${wide}`,
    },
    {
      what: "activations",
      bytes: sizing.activationBytes,
      text: `work on prompts, ${sizing.prefillTokens} tokens a step, and on the next token of ${requests}`,
    },
    { what: "graphs", bytes: sizing.graphBytes, text: "CUDA graphs" },
    {
      what: "runtime",
      bytes: sizing.runtimeBytes,
      text: gpus === 0 ? "the engine's process" : gpus > 1 ? "CUDA and exchange between GPUs" : "CUDA",
    },
    {
      what: "reserve",
      bytes: sizing.reserveBytes,
      text: gpus === 0 ? "left to the system" : "left free, against fragmentation",
    },
  ];
  return lines.filter(({ bytes }) => bytes > 0);
}

function describeWeights({ quantization, bytesByDtype }: ModelFacts): string {
  if (quantization !== null) return `, ${quantization.method}`;
  const [largest] = Object.entries(bytesByDtype).sort((a, b) => b[1] - a[1]);
  return largest === undefined ? "" : `, ${largest[0]}`;
}
