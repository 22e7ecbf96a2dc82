/**
 * llama.cpp's addon as node-llama-cpp ships it for this platform, opened without the package around it: that one loads 570
 * modules, starts a process of its own to see whether the library survives, and reads each file's header for itself, which
 * is most of the time to the first token. Owns what is used of the addon: it is listed here, compared at each start, and
 * `addon.test.ts` fails when another release brings another source. Must not know what the calls are for.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { findShippedLibraries } from "./shipped.ts";

export type AddonModel = {
  /** False when the model was refused; why, is logged. */
  init(): Promise<boolean>;
  /** @param withControls whether texts of control tokens become these */
  tokenize(text: string, withControls: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, withControls: boolean): string;
  getTrainContextSize(): number;
  getEmbeddingVectorSize(): number;
  getVocabularyType(): number;
  getTokenString(token: number): string;
  isEogToken(token: number): boolean;
  shouldPrependBosToken(): boolean;
  shouldAppendEosToken(): boolean;
  /** These are -1 where the model has no such token. */
  tokenBos(): number;
  tokenEos(): number;
  tokenNl(): number;
  eotToken(): number;
  sepToken(): number;
};

export type AddonContext = {
  /** False when there is no memory for it; why, is logged. */
  init(): Promise<boolean>;
  initBatch(tokens: number): void;
  /** @returns for each of `outputs`, which are places in `tokens`, where its logits will be */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, outputs: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  /** -1 when none can come. */
  sampleToken(output: number, sampler: AddonSampler): Promise<number>;
  sampleToken(output: number, sampler: AddonSampler, probabilities: true): Promise<[number, number[]]>;
  disposeSequence(sequence: number): void;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  getEmbedding(tokens: number): Float64Array;
};

export type AddonSampler = { applyConfig(settings: object): void };
export type AddonGrammar = { isTextCompatible(text: string): boolean };

export type AddonModelOptions = {
  readonly addonExports: Addon;
  readonly gpuLayers: number;
  readonly useMmap: boolean;
  readonly onLoadProgress?: (share: number) => void;
};

export type AddonContextOptions = {
  /** Of all sequences together. */
  readonly contextSize: number;
  readonly batchSize: number;
  readonly sequences: number;
  readonly flashAttention: "auto";
  readonly threads: number;
  readonly swaFullCache: boolean;
  readonly embeddings?: boolean;
};

export type Addon = {
  readonly AddonModel: new (path: string, options: AddonModelOptions) => AddonModel;
  readonly AddonContext: new (model: AddonModel, options: AddonContextOptions) => AddonContext;
  readonly AddonSampler: new (model: AddonModel) => AddonSampler;
  readonly AddonGrammar: new (text: string, options: { addonExports: Addon }) => AddonGrammar;
  readonly AddonGrammarEvaluationState: new (model: AddonModel, grammar: AddonGrammar) => object;
  init(): Promise<void>;
  /** Without a folder: those that are linked in. */
  loadBackends(folder?: string): void;
  /** Nothing when no backend is loaded, false when only the CPU computes. */
  getGpuType(): string | false | undefined;
  setLogger(log: (level: number, text: string) => void): void;
  setLoggerLogLevel(level: number): void;
  getIsArchRecurrent(architecture: string): boolean | undefined;
};

/** llama.cpp's levels, as the addon counts them. */
const errorLevel = 2;
const infoLevel = 4;
const bufferLine = /^\s*\w+:\s+\S+\s+\w+ buffer size\s*=\s*[\d.]+ MiB\s*$/;

/** The library is one for the whole process. @param log gets llama.cpp's errors and the sizes of its buffers, a line a call */
export async function openAddon(log: (line: string) => void): Promise<Addon> {
  const folder = findShippedLibraries();
  if (folder === null) {
    throw new Error(`node-llama-cpp brings no library for ${process.platform} on ${process.arch}`);
  }
  const addon = checkAddon(createRequire(import.meta.url)(join(folder, "llama-addon.node")));
  // At this level it says nothing while it computes.
  addon.setLogger(
    joinLines((level, line) => {
      if (level <= errorLevel || bufferLine.test(line)) log(line);
    }),
  );
  addon.setLoggerLogLevel(infoLevel);
  addon.loadBackends();
  // The kernels lie beside it, one library for each kind of processor.
  if (addon.getGpuType() === undefined) addon.loadBackends(folder);
  await addon.init();
  return addon;
}

/** Lines come in pieces; a piece of another level begins a new one. */
function joinLines(take: (level: number, line: string) => void): (level: number, text: string) => void {
  let begun = { level: infoLevel, text: "" };
  return (level, text) => {
    if (level !== begun.level) {
      if (begun.text !== "") take(begun.level, begun.text);
      begun = { level, text: "" };
    }
    const lines = (begun.text + text).split("\n");
    begun.text = lines.pop() ?? "";
    for (const line of lines) take(level, line);
  };
}

/** Every name that is used: the compiler holds these lists equal to the types above. */
const methods: {
  readonly AddonModel: Record<keyof AddonModel, true>;
  readonly AddonContext: Record<keyof AddonContext, true>;
  readonly AddonSampler: Record<keyof AddonSampler, true>;
  readonly AddonGrammar: Record<keyof AddonGrammar, true>;
  readonly AddonGrammarEvaluationState: Record<never, true>;
} = {
  AddonModel: {
    ...{ init: true, tokenize: true, detokenize: true, getTrainContextSize: true },
    ...{ getEmbeddingVectorSize: true, getVocabularyType: true, getTokenString: true, isEogToken: true },
    ...{ shouldPrependBosToken: true, shouldAppendEosToken: true },
    ...{ tokenBos: true, tokenEos: true, tokenNl: true, eotToken: true, sepToken: true },
  },
  AddonContext: {
    ...{ init: true, initBatch: true, addToBatch: true, decodeBatch: true, sampleToken: true },
    ...{ disposeSequence: true, removeTokenCellsFromSequence: true, getEmbedding: true },
  },
  AddonSampler: { applyConfig: true },
  AddonGrammar: { isTextCompatible: true },
  AddonGrammarEvaluationState: {},
};
const functions: Record<Exclude<keyof Addon, keyof typeof methods>, true> = {
  ...{ init: true, loadBackends: true, getGpuType: true, setLogger: true, setLoggerLogLevel: true },
  getIsArchRecurrent: true,
};

/** @throws Error that names what is missing */
export function checkAddon(exports: unknown): Addon {
  const found = exports as Record<string, { readonly prototype?: Record<string, unknown> } | undefined>;
  const isFunction = (value: unknown) => typeof value === "function";
  const missing = [
    ...Object.keys(functions).filter((name) => !isFunction(found[name])),
    ...Object.entries(methods).flatMap(([name, used]) => {
      const { prototype } = found[name] ?? {};
      if (prototype === undefined) return [name];
      return Object.keys(used).flatMap((method) =>
        isFunction(prototype[method]) ? [] : [`${name}.${method}`],
      );
    }),
  ];
  if (missing.length === 0) return exports as Addon;
  throw new Error(
    `This release of node-llama-cpp is not the one the embedded engine was written for: its addon has no ${missing.join(", ")}`,
  );
}
