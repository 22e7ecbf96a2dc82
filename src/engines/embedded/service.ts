/**
 * What the engine serves once its model is loaded: the pieces that every route needs, and what they have in common.
 */
import { randomInt } from "node:crypto";
import { Batcher, type BatcherOptions } from "./batcher.ts";
import { type Begun, notBegun } from "./begun.ts";
import { type Capacity, kvBytesPerToken, planCapacity } from "./capacity.ts";
import { invalid, RequestError, unsupported } from "./errors.ts";
import { loadModel, type Model } from "./native.ts";
import type { Body, GenerationOptions } from "./parameters.ts";
import { type ChatTemplate, createChatTemplate, splitAtControls } from "./template.ts";
import { shownControls } from "./vocabulary.ts";

export type Service = {
  readonly model: Model;
  readonly capacity: Capacity;
  readonly servedNames: readonly string[];
  /** Null where the model only makes embeddings. */
  readonly batcher: Batcher | null;
  /** Null where the GGUF has none. */
  readonly template: ChatTemplate | null;
  readonly startedAtS: number;
  /** A text cut so that none of its pieces spells a control token that the model's own text does not have. */
  textPieces(text: string): readonly string[];
};

/** Who asks, as far as the engine needs to know. */
export type Caller = {
  /** Opaque; computed tokens are shared within one scope alone. */
  readonly scope: string;
  readonly signal: AbortSignal;
};

/** Where the events of a stream go; a promise resolves when the client can take more. */
export type EventSink = { write(event: unknown): undefined | Promise<void> };

/** An argument that this model cannot have. */
export class ArgumentError extends Error {}

export async function loadService(
  options: {
    modelPath: string;
    servedNames: readonly string[];
    slots: number;
    contextTokens: number | null;
    contextMemoryBytes: number;
    threads: number;
    batching: BatcherOptions;
  },
  onProgress: (progress: number) => void,
): Promise<Service> {
  const model = await loadModel(options.modelPath, options.threads, onProgress);
  if ((options.contextTokens ?? 0) > model.trainedTokens) {
    throw new ArgumentError(
      `A context of ${options.contextTokens} tokens (max_context_size, --ctx-size) is more than the model's ${model.trainedTokens}`,
    );
  }
  const capacity = planCapacity({
    slots: options.slots,
    contextTokens: options.contextTokens,
    trainedTokens: model.trainedTokens,
    bytesPerToken: model.isRecurrent ? 0 : kvBytesPerToken(model.architecture),
    memoryBytes: options.contextMemoryBytes,
  });
  const batcher = model.canGenerate
    ? new Batcher(await model.createContext(capacity.slots, capacity.contextTokens), options.batching)
    : null;
  const { bosText, eosText, vocabulary } = model;
  const template =
    model.chatTemplate === null
      ? null
      : createChatTemplate(model.chatTemplate, { bosText, eosText, controlTexts: vocabulary.controlTexts });
  const startedAtS = Math.floor(Date.now() / 1000);
  const textPieces = splitAtControls(vocabulary.controlTexts.filter((text) => !shownControls.has(text)));
  return { model, capacity, servedNames: options.servedNames, batcher, template, startedAtS, textPieces };
}

/** The model name a request carries, when it is one of those served here. */
export function readModelName(service: Service, body: Body): string {
  const { model } = body;
  if (typeof model === "string" && service.servedNames.includes(model)) return model;
  const given = typeof model === "string" ? JSON.stringify(model.slice(0, 200)) : "no model";
  throw new RequestError("model_not_found", `This instance does not serve ${given}.`, "model");
}

export function requireBatcher(service: Service): Batcher {
  if (service.batcher !== null) return service.batcher;
  throw new RequestError("bad_request", "This model makes embeddings; it does not write text.", "model");
}

/** Refuses a text that must be over the limit without tokenizing it, which would take long for megabytes. */
export function checkTextLength(model: Model, text: string, contextTokens: number, param: string): void {
  const least = Math.ceil(Buffer.byteLength(text) / model.vocabulary.longestBytes);
  if (least > contextTokens) throw tooLong(`at least ${least}`, contextTokens, param);
}

/** A prompt must leave room for at least one token of answer. */
export function checkPromptLength(prompt: readonly number[], contextTokens: number, param: string): void {
  if (prompt.length >= contextTokens) throw tooLong(String(prompt.length), contextTokens, param);
}

function tooLong(tokens: string, contextTokens: number, param: string): RequestError {
  return new RequestError(
    "context_length_exceeded",
    `The prompt has ${tokens} tokens, but this model's context is ${contextTokens} tokens, which prompt and answer share.`,
    param,
  );
}

/** Puts the model's begin token in front unless the prompt has it. */
export function withBos(model: Model, tokens: readonly number[]): readonly number[] {
  return model.bosToken === null || tokens[0] === model.bosToken ? tokens : [model.bosToken, ...tokens];
}

/**
 * What the answer begins with (`continuation`, Berth's own): the gateway sends it when another instance died within the
 * answer. Tokenized apart from the prompt, as it was generated, so that the model goes on exactly there.
 */
export function readContinuation(
  service: Service,
  body: Body,
  options: Pick<GenerationOptions, "choices">,
): Begun {
  const { continuation } = body;
  if (continuation === undefined || continuation === null || continuation === "") return notBegun;
  if (typeof continuation !== "string") throw invalid("continuation", "must be a text.");
  if (options.choices > 1) throw unsupported("continuation", "can be of one answer only.");
  checkTextLength(service.model, continuation, requireBatcher(service).contextTokens, "continuation");
  const tokens = service.textPieces(continuation).flatMap((piece) => service.model.tokenize(piece, true));
  return { text: continuation, tokens };
}

/** A seed for requests that bring none. */
export function randomSeed(): number {
  return randomInt(2 ** 32 - 2);
}

export type Usage = {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
};

export function usageOf(promptTokens: number, completionTokens: number, cachedTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
