/**
 * The one place that touches node-llama-cpp: loads a GGUF on the CPU and offers what the batcher needs of it, one decode
 * step at a time. It goes below the package's public iterators on purpose: those cannot take a queued prompt back when its
 * client leaves, copy the whole context at each token, and cannot give the full distribution's logprobs beside a sampled
 * token. The package is pinned, and `checkBinding` fails at load, with a clear line, should its inside ever differ.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LlamaGrammarEvaluationState, type LlamaModel } from "node-llama-cpp";
import type { ArchitectureMetadata } from "./capacity.ts";
import { openLibrary } from "./library.ts";
import { createVocabulary, type Vocabulary } from "./vocabulary.ts";

/** How the next token is chosen; what is left out is not applied. Read by the native sampler under these names. */
export type SamplerSettings = {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  /** 0..2^32-2. */
  readonly seed: number;
  readonly repeatPenalty?: number;
  readonly repeatPenaltyPresencePenalty?: number;
  readonly repeatPenaltyFrequencyPenalty?: number;
  /** Present with any penalty: how many tokens back it looks, and those that came before the first one. */
  readonly repeatPenaltyMaxTokens?: number;
  readonly repeatPenaltyTokens?: Uint32Array;
  readonly tokenBiasKeys?: Uint32Array;
  readonly tokenBiasValues?: Float32Array;
};

type NativeSampler = { applyConfig(settings: object): void; dispose(): void };
type NativeContext = {
  initBatch(tokens: number): void;
  addToBatch(sequence: number, position: number, tokens: Uint32Array, outputs: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(output: number, sampler: NativeSampler): Promise<number>;
  sampleToken(output: number, sampler: NativeSampler, probabilities: true): Promise<[number, number[]]>;
  disposeSequence(sequence: number): void;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
};

/** llama.cpp does not take a grammar: it is too large for it. */
export class GrammarError extends Error {}

/** A sampler of one answer: it remembers what it has chosen (penalties, grammar, random state). One call at a time. */
export type Sampler = {
  /** Chooses from an output of the last step. */
  sample(output: number): Promise<number>;
  /** Logprobs of the whole, unmodified distribution at an output of the last step, likeliest first. */
  logprobs(output: number): Promise<readonly { token: number; logprob: number }[]>;
  /** To be called once, when no call is under way. */
  dispose(): void;
};

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
  createSampler(settings: SamplerSettings, grammar: string | null): Promise<Sampler>;
  /** Forgets a sequence's tokens from a position on; false when it had to forget all of them. */
  forget(sequence: number, from: number): boolean;
};

/** What a model's maker recommends; null where the file says nothing. */
export type SamplingDefaults = {
  readonly temperature: number | null;
  readonly topP: number | null;
  readonly topK: number | null;
  readonly minP: number | null;
};

export type Model = {
  readonly vocabulary: Vocabulary;
  readonly trainedTokens: number;
  readonly architecture: ArchitectureMetadata;
  /** Keeps a cache that grows with the context; state-space models do not. */
  readonly isRecurrent: boolean;
  readonly chatTemplate: string | null;
  readonly bosText: string;
  readonly eosText: string;
  /** Put in front of a prompt that does not start with it; null when the model wants none. */
  readonly bosToken: number | null;
  readonly canGenerate: boolean;
  readonly samplingDefaults: SamplingDefaults;
  readonly embeddingSize: number;
  isEnd(token: number): boolean;
  tokenize(text: string, isContinuation: boolean): number[];
  createContext(slots: number, contextTokens: number): Promise<DecodeContext>;
  /** The returned function serves one input at a time. */
  createEmbedder(contextTokens: number): Promise<(tokens: number[]) => Promise<readonly number[]>>;
};

/** Tokens a single step may compute; bounds the memory of intermediate results. */
const batchTokens = 512;
/** Longest that a logged reason is waited for after a failed load. */
const logDelayMs = 1000;
/** What llama.cpp gives a token that cannot come; OpenAI's value for it in logprobs. */
export const impossibleLogprob = -9999;

/** @param threads that compute, 1 or more */
export async function loadModel(
  path: string,
  threads: number,
  onProgress: (progress: number) => void,
): Promise<Model> {
  const refusal = Promise.withResolvers<string | null>();
  const llama = await openLibrary(threads, (message) => {
    const why = /error loading model: ([^\n]+)/.exec(message)?.[1];
    if (why !== undefined) refusal.resolve(why);
    const line = printableLine(message);
    if (line !== null) process.stderr.write(`llama.cpp: ${line}\n`);
  });
  const model = await llama
    .loadModel({ modelPath: path, onLoadProgress: onProgress })
    // The library says only that it failed; why, it logs, on another way that may take a moment longer.
    .catch(async (error: unknown) => {
      const why = await Promise.race([refusal.promise, sleep(logDelayMs, null)]);
      throw why === null ? error : new Error(why, { cause: error });
    });
  checkBinding(model);
  const { metadata } = model.fileInfo;
  const architecture = (metadata as unknown as Record<string, ArchitectureMetadata>)[
    metadata.general.architecture
  ];
  const { ggml, chat_template: chatTemplate } = metadata.tokenizer;
  const isEncoder = model.fileInsights.hasEncoder && !model.fileInsights.hasDecoder;
  return {
    vocabulary: createVocabulary(ggml.model, [...ggml.tokens], [...(ggml.token_type ?? [])], (token) =>
      model.isEogToken(token as never),
    ),
    trainedTokens: model.trainContextSize,
    architecture: architecture ?? {},
    isRecurrent: model.fileInsights.isRecurrent,
    chatTemplate: typeof chatTemplate === "string" ? chatTemplate : null,
    bosText: model.tokens.bosString ?? "",
    eosText: model.tokens.eosString ?? "",
    bosToken: model.tokens.shouldPrependBosToken ? model.tokens.bos : null,
    canGenerate: !isEncoder && !/bert/.test(metadata.general.architecture),
    samplingDefaults: readSamplingDefaults(metadata.general),
    embeddingSize: model.embeddingVectorSize,
    isEnd: (token) => model.isEogToken(token as never),
    tokenize: (text, isContinuation) =>
      model.tokenize(text, true, isContinuation ? "trimLeadingSpace" : undefined),
    createContext: (slots, contextTokens) => createContext(model, slots, contextTokens, threads),
    async createEmbedder(contextTokens) {
      const context = await model.createEmbeddingContext({
        contextSize: contextTokens,
        batchSize: contextTokens,
        threads,
      });
      return async (tokens) => (await context.getEmbeddingFor(tokens as never[])).vector;
    },
  };
}

/** `general.sampling.*` of a GGUF file, as llama.cpp names them; what is out of range counts as not said. */
function readSamplingDefaults(general: object): SamplingDefaults {
  const given = "sampling" in general ? (general.sampling as Readonly<Record<string, unknown>> | null) : null;
  const within = (name: string, min: number, max: number) => {
    const value = given?.[name];
    return typeof value === "number" && value >= min && value <= max ? value : null;
  };
  return {
    temperature: within("temp", 0, 2),
    topP: within("top_p", 0, 1),
    topK: within("top_k", 0, 1_000_000),
    minP: within("min_p", 0, 1),
  };
}

/** A log line of llama.cpp that names its function; a grammar it cannot read it prints whole, and that is a client's. */
function printableLine(message: string): string | null {
  const line = /^(?:llama|ggml)\w*: .+/.exec(message.trimStart())?.[0] ?? null;
  return line === null || /grammar/i.test(line) ? null : line.slice(0, 500);
}

type Inside = {
  readonly _model: object;
  readonly _llama: { readonly _bindings: { readonly AddonSampler: new (model: object) => NativeSampler } };
};

function inside(model: LlamaModel): Inside {
  return model as unknown as Inside;
}

function checkBinding(model: LlamaModel): void {
  const { _model, _llama } = inside(model);
  if (typeof _model !== "object" || typeof _llama?._bindings?.AddonSampler !== "function") {
    throw new Error("This version of node-llama-cpp is not the one the embedded engine was written for.");
  }
}

async function createContext(
  model: LlamaModel,
  slots: number,
  contextTokens: number,
  threads: number,
): Promise<DecodeContext> {
  const publicContext = await model.createContext({
    sequences: slots,
    contextSize: contextTokens,
    batchSize: batchTokens,
    threads,
    // Sliding-window models drop what has left the window; a reused beginning would then have holes.
    swaFullCache: true,
    failedCreationRemedy: false,
  });
  const native = (publicContext as unknown as { _ctx: NativeContext })._ctx;
  const pool = new SamplerPool(model);
  return {
    slots,
    contextTokens,
    batchTokens,
    async decode(parts) {
      if (publicContext.disposed) throw new Error("The context is gone.");
      native.initBatch(parts.reduce((sum, part) => sum + part.tokens.length, 0));
      const outputs = parts.map((part) => {
        const wanted = part.isOutputWanted ? [part.tokens.length - 1] : [];
        const added = native.addToBatch(
          part.sequence,
          part.position,
          Uint32Array.from(part.tokens),
          Uint32Array.from(wanted),
        );
        return added[0] ?? -1;
      });
      await native.decodeBatch();
      return outputs;
    },
    async createSampler(settings, grammar) {
      const state = grammar === null ? null : await createGrammarState(model, grammar);
      const sampler = pool.take(state === null ? settings : { ...settings, grammarEvaluationState: state });
      let plain: NativeSampler | null = null;
      return {
        async sample(output) {
          const token = await native.sampleToken(output, sampler);
          if (token < 0) throw new Error("No token could be chosen.");
          return token;
        },
        async logprobs(output) {
          plain ??= pool.take({ temperature: 0 });
          const [, flat] = await native.sampleToken(output, plain, true);
          return readLogprobs(flat);
        },
        dispose() {
          pool.giveBack(sampler);
          if (plain !== null) pool.giveBack(plain);
        },
      };
    },
    forget(sequence, from) {
      if (from > 0 && native.removeTokenCellsFromSequence(sequence, from, -1)) return true;
      native.disposeSequence(sequence);
      return from === 0;
    },
  };
}

/** Seeds of requests are below this one, see SamplerSettings. */
const neutral = { temperature: 0, seed: 0xffffffff };

/**
 * Native samplers hold a list as long as the vocabulary, which only garbage collection frees; and it does not see its
 * size. So they are used again, as many as there ever were jobs at once.
 */
class SamplerPool {
  readonly #model: LlamaModel;
  readonly #free: NativeSampler[] = [];

  constructor(model: LlamaModel) {
    this.#model = model;
  }

  take(settings: object): NativeSampler {
    const { _model, _llama } = inside(this.#model);
    const sampler = this.#free.pop() ?? new _llama._bindings.AddonSampler(_model);
    // A sampler keeps its random state as long as the seed stays the same: another seed in between starts it anew.
    sampler.applyConfig(neutral);
    sampler.applyConfig(settings);
    return sampler;
  }

  giveBack(sampler: NativeSampler): void {
    sampler.applyConfig(neutral);
    this.#free.push(sampler);
  }
}

/** `flat` alternates token and probability, likeliest first. */
function readLogprobs(flat: readonly number[]): { token: number; logprob: number }[] {
  const list: { token: number; logprob: number }[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const probability = flat[at + 1] ?? 0;
    list.push({
      token: flat[at] ?? 0,
      logprob: probability > 0 ? Math.log(probability) : impossibleLogprob,
    });
  }
  return list;
}

let grammarStates = 0;
const grammarStatesPerCollection = 64;

/** Grammar states are native, too, and cannot be used again: garbage is collected after every few of them. */
async function createGrammarState(model: LlamaModel, text: string): Promise<object> {
  grammarStates++;
  if (grammarStates % grammarStatesPerCollection === 0) globalThis.gc?.();
  try {
    const grammar = await model.llama.createGrammar({ grammar: text });
    const state = new LlamaGrammarEvaluationState({ model, grammar });
    return (state as unknown as { _state: object })._state;
  } catch (error) {
    throw new GrammarError("llama.cpp does not take this grammar.", { cause: error });
  }
}
