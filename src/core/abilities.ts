/**
 * What an engine can do, declared by the engine, shown by the API and asked by the gateway before a request goes on: what
 * is not there is a 400 that names the parameter and the engine, never a guess. Plain values; no I/O.
 */

export type Abilities = {
  /** Name of the engine, for sentences. */
  readonly engine: string;
  readonly chat: boolean;
  readonly completions: boolean;
  readonly embeddings: boolean;
  /** `/tokenize` and `/detokenize` in vLLM's form. */
  readonly tokenize: boolean;
  /** Function calling: `tools`, `tool_choice`. */
  readonly tools: boolean;
  /** `response_format` json_object; json_schema; regex. */
  readonly jsonObject: boolean;
  readonly jsonSchema: boolean;
  readonly regex: boolean;
  readonly logprobs: boolean;
  /** Largest `n`. */
  readonly maxChoices: number;
  readonly images: boolean;
  /** Reasoning text apart from the answer: `reasoning_effort`, `thinking`. */
  readonly reasoning: boolean;
  /** Adapters that are loaded while it runs. */
  readonly lora: boolean;
  /** A stream carries usage also when the request does not ask for it (`stream_options.include_usage` counts as true). */
  readonly usageByDefault: boolean;
  /**
   * Takes `continuation` in the body of a chat or completion: the text its answer has already. It goes on exactly there;
   * usage and limits count the whole answer, the events bring what follows.
   */
  readonly exactContinuation: boolean;
  /** The same request with the same seed gives the same answer, also on another instance. */
  readonly deterministic: boolean;
  /** Keeps cached prompts of different accounts apart: by Berth's own header, by `cache_salt`, or not at all. */
  readonly cacheScope: "header" | "salt" | "none";
};

/** What is assumed of a deployment whose engine is not known yet: nothing is refused before the engine is. */
export const unknownAbilities: Abilities = {
  engine: "unknown",
  chat: true,
  completions: true,
  embeddings: true,
  tokenize: true,
  tools: true,
  jsonObject: true,
  jsonSchema: true,
  regex: true,
  logprobs: true,
  maxChoices: 4,
  images: true,
  reasoning: true,
  lora: false,
  usageByDefault: false,
  exactContinuation: false,
  deterministic: false,
  cacheScope: "none",
};
