/**
 * A model on the CPU: loads a GGUF and offers what the batcher needs of it, one decode step at a time. Drives llama.cpp's
 * addon itself, and not node-llama-cpp's iterators: those cannot take a queued prompt back when its client leaves, copy the
 * whole context at each token, and cannot give the full distribution's logprobs beside a sampled token.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Addon,
  type AddonContext,
  type AddonContextOptions,
  type AddonModel,
  openAddon,
} from "./addon.ts";
import { type ArchitectureMetadata, roundUp } from "./capacity.ts";
import { readModelHead, type SamplingDefaults } from "./model-head.ts";
import { type Sampler, type SamplerSettings, Samplers } from "./samplers.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";
import { createVocabulary, type Vocabulary } from "./vocabulary.ts";

/** Tokens of one sequence that go into a step; `isOutputWanted` asks for the logits after the last of them. */
export type StepPart = {
  readonly sequence: number;
  readonly position: number;
  readonly tokens: readonly number[];
  readonly isOutputWanted: boolean;
};

export type DecodeContext = {
  readonly slots: number;
  readonly contextTokens: number;
  readonly batchTokens: number;
  /** Computes one batch; returns an output per part, -1 where none was wanted. One call at a time. */
  decode(parts: readonly StepPart[]): Promise<readonly number[]>;
  /** Throws GrammarError when the grammar cannot be used. */
  createSampler(settings: SamplerSettings, grammar: string | null): Sampler;
  /** Forgets a sequence's tokens from a position on; false when it had to forget all of them. */
  forget(sequence: number, from: number): boolean;
};

export type Model = Pick<Tokenizer, "bosText" | "eosText" | "isEnd" | "tokenize"> & {
  readonly vocabulary: Vocabulary;
  readonly trainedTokens: number;
  readonly architecture: ArchitectureMetadata;
  /** Keeps a cache that grows with the context; state-space models do not. */
  readonly isRecurrent: boolean;
  readonly chatTemplate: string | null;
  /** Put in front of a prompt that does not start with it; null when the model wants none. */
  readonly bosToken: number | null;
  readonly canGenerate: boolean;
  readonly samplingDefaults: SamplingDefaults;
  readonly embeddingSize: number;
  createContext(slots: number, contextTokens: number): Promise<DecodeContext>;
  /** The returned function serves one input at a time. */
  createEmbedder(contextTokens: number): Promise<(tokens: readonly number[]) => Promise<readonly number[]>>;
};

/** Tokens a single step may compute; bounds the memory of intermediate results. */
const batchTokens = 512;
/** Longest that a logged reason is waited for after a failed load. */
const logDelayMs = 1000;

/** @param threads that compute, 1 or more */
export async function loadModel(
  path: string,
  threads: number,
  onProgress: (progress: number) => void,
): Promise<Model> {
  const refusal = Promise.withResolvers<string | null>();
  const addon = await openAddon((message) => {
    const why = /error loading model: (.+)/.exec(message)?.[1];
    if (why !== undefined) refusal.resolve(why);
    const line = printableLine(message);
    if (line !== null) process.stderr.write(`llama.cpp: ${line}\n`);
  });
  const model = new addon.AddonModel(path, {
    ...{ addonExports: addon, gpuLayers: 0, useMmap: true, onLoadProgress: onProgress },
  });
  if (!(await model.init())) {
    // The library says only that it failed; why, it logs, on another way that may take a moment longer.
    const why = await Promise.race([refusal.promise, sleep(logDelayMs, null)]);
    throw new Error(why ?? "Failed to load model");
  }
  return describeModel({ addon, model, threads }, path);
}

type Loaded = { readonly addon: Addon; readonly model: AddonModel; readonly threads: number };

function describeModel(loaded: Loaded, path: string): Model {
  const { addon, model } = loaded;
  const head = readModelHead(path);
  const tokenizer = createTokenizer(model);
  const { bosText, eosText, isEnd, tokenize } = tokenizer;
  return {
    ...{ bosText, eosText, isEnd, tokenize },
    vocabulary: createVocabulary(head.tokenizer, head.tokens, head.tokenTypes, isEnd),
    trainedTokens: model.getTrainContextSize(),
    architecture: head.architecture,
    isRecurrent: addon.getIsArchRecurrent(head.family) ?? false,
    chatTemplate: head.chatTemplate,
    bosToken: tokenizer.prependedBos,
    canGenerate: head.family !== "t5encoder" && !/bert/.test(head.family),
    samplingDefaults: head.samplingDefaults,
    embeddingSize: model.getEmbeddingVectorSize(),
    createContext: (slots, contextTokens) => createContext(loaded, slots, contextTokens),
    createEmbedder: (contextTokens) => createEmbedder(loaded, tokenizer, contextTokens),
  };
}

/** A log line of llama.cpp that names its function; a grammar it cannot read it prints whole, and that is a client's. */
function printableLine(message: string): string | null {
  const line = /^(?:llama|ggml|load_tensors|sched_reserve)\w*: .+/.exec(message.trimStart())?.[0] ?? null;
  return line === null || /grammar/i.test(line) ? null : line.slice(0, 500);
}

async function openContext(
  { addon, model, threads }: Loaded,
  options: Pick<AddonContextOptions, "contextSize" | "batchSize" | "sequences" | "embeddings">,
): Promise<AddonContext> {
  const context = new addon.AddonContext(model, {
    ...options,
    ...{ flashAttention: "auto", threads },
    // Sliding-window models drop what has left the window; a reused beginning would then have holes.
    swaFullCache: true,
  });
  if (!(await context.init())) throw new Error("Failed to create context");
  return context;
}

const noOutputs = new Uint32Array(0);

async function createContext(loaded: Loaded, slots: number, contextTokens: number): Promise<DecodeContext> {
  const context = await openContext(loaded, {
    contextSize: slots * roundUp(contextTokens),
    ...{ batchSize: Math.max(batchTokens, slots), sequences: slots },
  });
  const samplers = new Samplers(loaded.addon, loaded.model, context);
  return {
    ...{ slots, contextTokens, batchTokens },
    async decode(parts) {
      context.initBatch(parts.reduce((sum, part) => sum + part.tokens.length, 0));
      const outputs = parts.map(({ sequence, position, tokens, isOutputWanted }) => {
        const wanted = isOutputWanted ? Uint32Array.of(tokens.length - 1) : noOutputs;
        return context.addToBatch(sequence, position, new Uint32Array(tokens), wanted)[0] ?? -1;
      });
      await context.decodeBatch();
      return outputs;
    },
    createSampler: (settings, grammar) => samplers.create(settings, grammar),
    forget(sequence, from) {
      if (from > 0 && context.removeTokenCellsFromSequence(sequence, from, -1)) return true;
      context.disposeSequence(sequence);
      return from === 0;
    },
  };
}

async function createEmbedder(
  loaded: Loaded,
  tokenizer: Tokenizer,
  contextTokens: number,
): Promise<(tokens: readonly number[]) => Promise<readonly number[]>> {
  // An input is one batch: a model that looks both ways must see all of it at once.
  const context = await openContext(loaded, {
    ...{ contextSize: roundUp(contextTokens), batchSize: contextTokens, sequences: 1, embeddings: true },
  });
  return async (input) => {
    const tokens = tokenizer.frame(input);
    context.disposeSequence(0);
    context.initBatch(tokens.length);
    context.addToBatch(0, 0, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1));
    await context.decodeBatch();
    return [...context.getEmbedding(tokens.length)];
  };
}
