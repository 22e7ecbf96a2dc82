/**
 * What the engine does with each request parameter, as one table, and the reading of those that both chat and completion
 * requests share. Nothing that changes an answer is ignored: it is honoured or refused by name. Pure.
 */
import { invalid, RequestError, unsupported } from "./errors.ts";
import type { SamplingDefaults } from "./model-head.ts";
import type { SamplerSettings } from "./samplers.ts";

export type Body = Readonly<Record<string, unknown>>;

/**
 * Parameters known from OpenAI, DeepInfra, vLLM and llama.cpp that the engine cannot honour, each with the values that
 * ask for nothing (null always does). Parameters that are neither here nor read anywhere do not change an answer
 * (`user`, `metadata`, `store`, `service_tier`, `prompt_cache_key`, ...) or are unknown: those are ignored.
 */
const refused: Readonly<Record<string, readonly unknown[]>> = {
  add_generation_prompt: [true],
  allowed_token_ids: [],
  audio: [],
  bad_words: [],
  best_of: [1],
  chat_template: [],
  documents: [],
  dry_multiplier: [0],
  dynatemp_range: [0],
  early_stopping: [false],
  encoder_repetition_penalty: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  function_call: ["none"],
  functions: [],
  grammar: [""],
  guided_choice: [],
  guided_decoding_backend: [],
  guided_grammar: [],
  guided_json: [],
  guided_regex: [],
  include_stop_str_in_output: [false],
  input_type: [],
  json_schema: [],
  length_penalty: [1],
  logits_processors: [],
  lora: [],
  min_tokens: [0],
  mirostat: [0],
  mirostat_mode: [0],
  no_repeat_ngram_size: [0],
  prompt_logprobs: [0],
  return_tokens_as_token_ids: [false],
  skip_special_tokens: [true],
  spaces_between_special_tokens: [true],
  structured_outputs: [],
  suffix: [""],
  tfs_z: [1],
  top_a: [0],
  truncate_prompt_tokens: [],
  typical_p: [1],
  use_beam_search: [false],
  verbosity: ["medium"],
  web_search_options: [],
  xtc_probability: [0],
};

/** Throws for the first parameter that asks for something the engine cannot do. */
export function refuseParameters(body: Body): void {
  for (const [name, value] of Object.entries(body)) {
    const neutral = Object.hasOwn(refused, name) ? refused[name] : undefined;
    if (neutral === undefined || value === null || neutral.includes(value)) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    throw unsupported(name, "is not supported by the embedded engine; leave it out.");
  }
  const { modalities } = body;
  if (Array.isArray(modalities) && modalities.some((kind) => kind !== "text")) {
    throw unsupported("modalities", "can only be text with the embedded engine.");
  }
}

/** What chat and completion requests share. */
export type GenerationOptions = {
  /** Tokens to generate at most; null: what the context has left. */
  readonly maxTokens: number | null;
  readonly stops: readonly string[];
  readonly stopTokens: ReadonlySet<number>;
  readonly ignoreEnd: boolean;
  /** Answers to give, 1..4. */
  readonly choices: number;
  readonly isStream: boolean;
  readonly usage: "none" | "end" | "always";
  /** Settings for one answer; the prompt counts for the repetition penalty. */
  samplerSettings(choice: number, prompt: readonly number[], contextTokens: number): SamplerSettings;
};

const noDefaults: SamplingDefaults = { temperature: null, topP: null, topK: null, minP: null };

/**
 * Ranges are those of DeepInfra's OpenAI face. What a request leaves out is as the model's file recommends, else as there:
 * temperature 1, everything else off.
 */
export function readGenerationOptions(
  body: Body,
  vocabularySize: number,
  randomSeed: () => number,
  defaults: SamplingDefaults = noDefaults,
): GenerationOptions {
  const temperature = readNumber(body, "temperature", 0, 2) ?? defaults.temperature ?? 1;
  const topP = readNumber(body, "top_p", 0, 1) ?? defaults.topP ?? 1;
  const topK = readWhole(body, "top_k", -1, 1_000_000) ?? defaults.topK ?? 0;
  const minP = readNumber(body, "min_p", 0, 1) ?? defaults.minP ?? 0;
  const presence = readNumber(body, "presence_penalty", -2, 2) ?? 0;
  const frequency = readNumber(body, "frequency_penalty", -2, 2) ?? 0;
  const repetition = readNumber(body, "repetition_penalty", 0.01, 5) ?? 1;
  const seed = readSeed(body) ?? randomSeed();
  const bias = readLogitBias(body, vocabularySize);
  const isPenalised = presence !== 0 || frequency !== 0 || repetition !== 1;
  return {
    maxTokens: readWhole(body, "max_completion_tokens", 1, 1e7) ?? readWhole(body, "max_tokens", 1, 1e7),
    stops: readStops(body),
    stopTokens: readStopTokens(body, vocabularySize),
    ignoreEnd: readFlag(body, "ignore_eos") ?? false,
    choices: readWhole(body, "n", 1, 4) ?? 1,
    ...readStreamOptions(body),
    samplerSettings: (choice, prompt, contextTokens) => ({
      temperature,
      seed: (seed + choice) % 0xffffffff,
      ...(topK > 0 ? { topK } : {}),
      ...(topP < 1 ? { topP } : {}),
      ...(minP > 0 ? { minP } : {}),
      ...(bias === null ? {} : bias),
      ...(isPenalised
        ? {
            repeatPenalty: repetition,
            repeatPenaltyPresencePenalty: presence,
            repeatPenaltyFrequencyPenalty: frequency,
            repeatPenaltyMaxTokens: contextTokens,
            // OpenAI's two penalties look at the answer alone, the repetition penalty at the prompt as well; the sampler
            // has one memory for all three, so the prompt counts as soon as a repetition penalty is asked for.
            repeatPenaltyTokens: Uint32Array.from(repetition === 1 ? [] : prompt),
          }
        : {}),
    }),
  };
}

function readStreamOptions(body: Body): Pick<GenerationOptions, "isStream" | "usage"> {
  const isStream = readFlag(body, "stream") ?? false;
  const options = body.stream_options ?? {};
  if (!isObject(options)) throw invalid("stream_options", "must be an object.");
  const isAlways = readFlag(options, "continuous_usage_stats") ?? false;
  // DeepInfra includes the usage by default, unlike OpenAI.
  const isIncluded = readFlag(options, "include_usage") ?? true;
  return { isStream, usage: isAlways ? "always" : isIncluded ? "end" : "none" };
}

function readStops(body: Body): string[] {
  const value = body.stop ?? [];
  const stops = typeof value === "string" ? [value] : value;
  if (!Array.isArray(stops) || stops.length > 16 || stops.some((stop) => typeof stop !== "string")) {
    throw invalid("stop", "must be a string or a list of at most 16 strings.");
  }
  const texts = stops as string[];
  if (texts.some((stop) => stop === "" || stop.length > 1000)) {
    throw invalid("stop", "may hold neither an empty string nor one of more than 1000 characters.");
  }
  return texts;
}

function readStopTokens(body: Body, vocabularySize: number): ReadonlySet<number> {
  const value = body.stop_token_ids ?? [];
  if (!Array.isArray(value) || value.length > 256 || !value.every((id) => isToken(id, vocabularySize))) {
    throw invalid("stop_token_ids", `must be a list of at most 256 whole numbers below ${vocabularySize}.`);
  }
  return new Set(value as number[]);
}

function readLogitBias(
  body: Body,
  vocabularySize: number,
): { tokenBiasKeys: Uint32Array; tokenBiasValues: Float32Array } | null {
  const value = body.logit_bias ?? {};
  if (!isObject(value)) throw invalid("logit_bias", "must be an object.");
  const entries = Object.entries(value).map(([id, bias]) => [Number(id), bias] as const);
  if (entries.length === 0) return null;
  const isFine = ([id, bias]: readonly [number, unknown]) =>
    isToken(id, vocabularySize) && typeof bias === "number" && Math.abs(bias) <= 100;
  if (entries.length > 1024 || !entries.every(isFine)) {
    throw invalid(
      "logit_bias",
      `must map at most 1024 token ids below ${vocabularySize} to numbers from -100 to 100.`,
    );
  }
  return {
    tokenBiasKeys: Uint32Array.from(entries, ([id]) => id),
    // -100 means "never" to clients; a finite bias could still be outweighed.
    tokenBiasValues: Float32Array.from(entries, ([, bias]) => (bias === -100 ? -Infinity : Number(bias))),
  };
}

/** Any whole number, also a negative one or one beyond 2^32, as a seed of the native sampler (0..2^32-2). */
function readSeed(body: Body): number | null {
  const value = body.seed ?? null;
  if (value === null) return null;
  if (typeof value !== "number" || !Number.isFinite(value) || !Number.isInteger(value)) {
    throw invalid("seed", "must be a whole number.");
  }
  return Number(BigInt.asUintN(64, BigInt(value)) % 0xffffffffn);
}

export function isToken(value: unknown, vocabularySize: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < vocabularySize;
}

export function isObject(value: unknown): value is Body {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Null when the field is absent or null. */
export function readNumber(body: Body, name: string, min: number, max: number): number | null {
  const value = body[name] ?? null;
  if (value === null) return null;
  if (typeof value !== "number" || !(value >= min && value <= max)) {
    throw invalid(name, `must be a number from ${min} to ${max}.`);
  }
  return value;
}

export function readWhole(body: Body, name: string, min: number, max: number): number | null {
  const value = readNumber(body, name, min, max);
  if (value !== null && !Number.isInteger(value)) throw invalid(name, "must be a whole number.");
  return value;
}

export function readFlag(body: Body, name: string): boolean | null {
  const value = body[name] ?? null;
  if (value === null) return null;
  if (typeof value !== "boolean") throw invalid(name, "must be true or false.");
  return value;
}

/** Parses a request body; anything but a JSON object is refused. */
export function parseBody(text: string): Body {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError("bad_request", "The request body is not valid JSON.");
  }
  if (!isObject(value)) throw new RequestError("bad_request", "The request body must be a JSON object.");
  return value;
}
