/**
 * Every parameter of the three OpenAI paths as one table: what its value may be, and whether an engine sees it. What is
 * not in the table is unknown and left out, as OpenAI's and DeepInfra's clients expect; what is refused would let a
 * request choose what only the deployment may, or make the engine load or fetch something. Pure.
 */
import { HttpError, type ValidationIssue } from "../../schema/errors.ts";
import { describeIssues } from "../../schema/validation.ts";
import { type ScannedObject, textOf } from "../json-scan.ts";
import {
  dict,
  either,
  flag,
  integer,
  kindOf,
  list,
  listOf,
  number,
  oneOf,
  type Rule,
  someList,
  string,
} from "./openai-rules.ts";

type Parameters = ReadonlyMap<string, Rule | null>;

/** Longest text of `stop` and its like that is looked at piece by piece. */
const stops = either(string, listOf("string", 0, 16));
const tokens = (min: bigint) => integer({ min, max: 10_000_000n });
const tiers = either(string);

/** Null: passed on as it is; whether it means something is the engine's to say. */
const shared: Readonly<Record<string, Rule | null>> = {
  model: string,
  stream: flag,
  stream_options: dict,
  temperature: number({ min: 0, max: 2 }),
  top_p: number({ above: 0, max: 1 }),
  min_p: number({ min: 0, max: 1 }),
  top_k: integer({ min: 0n, max: 999n }),
  n: integer({ min: 1n, max: 4n }),
  presence_penalty: number({ min: -2, max: 2 }),
  frequency_penalty: number({ min: -2, max: 2 }),
  repetition_penalty: number({ min: 0.01, max: 5 }),
  stop: stops,
  seed: integer({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  response_format: dict,
  logit_bias: dict,
  user: string,
  prompt_cache_key: string,
  service_tier: tiers,
  stop_token_ids: listOf("number", 0, 256),
  ignore_eos: flag,
  min_tokens: tokens(0n),
  skip_special_tokens: flag,
  spaces_between_special_tokens: flag,
  include_stop_str_in_output: flag,
  return_tokens_as_token_ids: flag,
  add_special_tokens: flag,
  ...Object.fromEntries(
    [
      "allowed_token_ids",
      "bad_words",
      "best_of",
      "dry_multiplier",
      "dynatemp_range",
      "early_stopping",
      "encoder_repetition_penalty",
      "epsilon_cutoff",
      "eta_cutoff",
      "grammar",
      "guided_choice",
      "guided_decoding_backend",
      "guided_grammar",
      "guided_json",
      "guided_regex",
      "json_schema",
      "length_penalty",
      "metadata",
      "mirostat",
      "mirostat_mode",
      "no_repeat_ngram_size",
      "prompt_logprobs",
      "store",
      "structured_outputs",
      "tfs_z",
      "top_a",
      "truncate_prompt_tokens",
      "typical_p",
      "use_beam_search",
      "xtc_probability",
    ].map((name) => [name, null]),
  ),
};

const chat: Parameters = new Map<string, Rule | null>([
  ...Object.entries(shared),
  ["messages", list],
  ["max_tokens", tokens(0n)],
  ["max_completion_tokens", tokens(0n)],
  ["tools", list],
  ["tool_choice", either(string, dict)],
  ["parallel_tool_calls", flag],
  ["functions", null],
  ["function_call", null],
  ["logprobs", flag],
  ["top_logprobs", integer({ min: 0n, max: 20n })],
  ["reasoning_effort", oneOf("none", "minimal", "low", "medium", "high", "xhigh", "max")],
  ["reasoning", dict],
  ["chat_template_kwargs", dict],
  ["continue_final_message", flag],
  ["add_generation_prompt", flag],
  ["documents", null],
  ["modalities", list],
  ["audio", null],
  ["verbosity", null],
  ["web_search_options", null],
]);

const completions: Parameters = new Map<string, Rule | null>([
  ...Object.entries(shared),
  ["prompt", either(string, someList)],
  ["suffix", null],
  ["max_tokens", tokens(1n)],
  ["logprobs", integer({ min: 0n, max: 20n })],
  ["echo", flag],
]);

const embeddings: Parameters = new Map<string, Rule | null>([
  ["model", string],
  ["input", either(string, someList)],
  ["encoding_format", oneOf("float", "base64")],
  ["dimensions", integer({ min: 32n })],
  ["input_type", string],
  ["user", string],
  ["service_tier", tiers],
  ["truncate_prompt_tokens", null],
]);

export const parametersOf = {
  "/v1/chat/completions": chat,
  "/v1/completions": completions,
  "/v1/embeddings": embeddings,
} as const;

export type OpenAiPath = keyof typeof parametersOf;

const required: Readonly<Record<OpenAiPath, string>> = {
  "/v1/chat/completions": "messages",
  "/v1/completions": "prompt",
  "/v1/embeddings": "input",
};

/** Read by the gateway and meant for it alone. */
const ownParameters: ReadonlyMap<string, Rule> = new Map([
  ["models", listOf("string", 1, 4)],
  ["fail_fast", flag],
]);

/** Refused by name: each would change the answer, and no request may supply it. Null and empty ask for nothing. */
const refused: ReadonlySet<string> = new Set([
  "chat_template",
  "data",
  "image_data",
  "logits_processors",
  "lora",
  "media_io_kwargs",
  "mm_processor_kwargs",
  "multi_modal_data",
  "prompt_embeds",
]);

/** Most issues that are named at once. */
const maxIssues = 64;

/**
 * Holds each parameter to its rule. Throws HttpError `invalid_input` that names the first and lists all, or
 * `bad_request` for what no request may supply.
 * @returns JSON text of the values that were meant otherwise than written, by name
 */
export function checkParameters(path: OpenAiPath, body: ScannedObject): Map<string, string> {
  const parameters = parametersOf[path];
  const meant = new Map<string, string>();
  const issues: ValidationIssue[] = [];
  for (const name of ["model", required[path]]) {
    if (!body.entries.has(name)) issues.push({ loc: ["body", name], type: "missing", msg: "Field required" });
  }
  for (const [name, slice] of body.entries) {
    const rule = parameters.get(name) ?? ownParameters.get(name) ?? null;
    if (rule === null) {
      if (refused.has(name))
        refuse(name, textOf(body, { ...slice, end: Math.min(slice.end, slice.start + 8) }));
      continue;
    }
    const kind = kindOf(body.bytes[slice.start]);
    const isRequired = name === "model" || name === required[path];
    if (kind === "null" && !isRequired) continue;
    const verdict = rule({ kind, bytes: slice.end - slice.start, text: () => textOf(body, slice) });
    if (verdict === null) continue;
    if ("json" in verdict) meant.set(name, verdict.json);
    else issues.push({ loc: ["body", name], ...verdict });
  }
  if (issues.length > 0) throw invalidInput(issues);
  return meant;
}

/** An error that names its first parameter and lists all that is wrong. */
export function invalidInput(issues: readonly ValidationIssue[]): HttpError {
  const listed = issues.slice(0, maxIssues);
  const param = String(listed[0]?.loc[1] ?? "");
  return new HttpError("invalid_input", `${describeIssues(listed)}.`, { param, issues: listed });
}

function refuse(name: string, start: string): void {
  if (/^(?:null|\[\s*\]|\{\s*\}|"")/.test(start)) return;
  throw new HttpError(
    "bad_request",
    `The parameter ${name} cannot be given with a request: it is the deployment's to choose. Leave it out.`,
    { param: name },
  );
}
