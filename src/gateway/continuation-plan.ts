/**
 * Whether and how an answer that broke off can be continued by another instance: by asking it again, with the text that the
 * client has as the beginning of its answer. Pure. Owns what counts as faithful: only where the next token depends on nothing but the text before it.
 * So every parameter that is not known to be harmless stands in the way.
 */
import type { Abilities } from "../core/abilities.ts";
import type { EnginePath } from "./faces/face.ts";
import { entryValue, type ScannedObject, scanObject, writeObject } from "./json-scan.ts";

type Fields = Readonly<Record<string, unknown>>;
type Test = (value: unknown, abilities: Abilities) => boolean;

const always: Test = () => true;
const only =
  (...values: readonly unknown[]): Test =>
  (value) =>
    values.includes(value);
const empty: Test = (value) => Array.isArray(value) && value.length === 0;

/** Parameters that do not stand in the way, with the values for which they do not; null never does. */
const harmless: Readonly<Record<string, Test>> = {
  model: always,
  messages: always,
  prompt: (value) => typeof value === "string",
  stream: always,
  stream_options: always,
  temperature: always,
  top_p: always,
  top_k: always,
  min_p: always,
  logit_bias: always,
  max_tokens: always,
  max_completion_tokens: always,
  stop: always,
  stop_token_ids: always,
  ignore_eos: always,
  user: always,
  metadata: always,
  store: always,
  service_tier: always,
  prompt_cache_key: always,
  cache_salt: always,
  parallel_tool_calls: always,
  chat_template_kwargs: always,
  continue_final_message: always,
  add_generation_prompt: always,
  skip_special_tokens: only(true),
  spaces_between_special_tokens: only(true),
  include_stop_str_in_output: only(false),
  seed: (_value, { deterministic }) => deterministic,
  n: only(1),
  best_of: only(1),
  logprobs: only(false),
  top_logprobs: only(0),
  echo: only(false),
  min_tokens: only(0),
  presence_penalty: only(0),
  frequency_penalty: only(0),
  repetition_penalty: only(1),
  tools: empty,
  tool_choice: only("none", "auto"),
  reasoning_effort: only("none"),
  response_format: (value) => (value as Fields).type === "text",
};

/** Null when the engine's answer to this body could not be continued. */
export function readContinuable(path: EnginePath, body: Buffer, abilities: Abilities): ScannedObject | null {
  if (!abilities.exactContinuation || (path !== "/v1/chat/completions" && path !== "/v1/completions"))
    return null;
  const object = scanObject(body);
  if (object === null || entryValue(object, "stream") !== true) return null;
  for (const key of object.entries.keys()) {
    const test = Object.hasOwn(harmless, key) ? harmless[key] : undefined;
    if (test === always) continue;
    const value = entryValue(object, key);
    if (value !== null && (test === undefined || !test(value, abilities))) return null;
  }
  return object;
}

/** The request that goes on after this text. Only Berth says so to an engine: no face lets a client's word through. */
export function continuedBody(object: ScannedObject, text: string): Buffer {
  return writeObject(object, () => true, new Map([["continuation", JSON.stringify(text)]]));
}
