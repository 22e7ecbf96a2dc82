/**
 * The OpenAI face: chat completions, completions and embeddings. It is the form that engines speak, so a body goes on byte
 * for byte wherever that is safe: all its parameters are known, nothing is to change, and every reader reads it alike. Any
 * other is written anew from what was read here. Owns what of a request an engine sees.
 */
import type { RouteModel } from "../../core/routing.ts";
import { HttpError, openAiError } from "../../schema/errors.ts";
import { entryValue, type ScannedObject, scanObject, textOf, writeObject } from "../json-scan.ts";
import { isServedName } from "../models.ts";
import type { Asked, Face, FaceInput, ServiceTier } from "./face.ts";
import { type Needs, noNeeds, refuseUnmet } from "./openai-abilities.ts";
import { checkTools, readFormat } from "./openai-forms.ts";
import { inspectMessages, lastRole } from "./openai-messages.ts";
import { checkParameters, invalidInput, type OpenAiPath, parametersOf } from "./openai-parameters.ts";
import { OpenAiReply } from "./openai-reply.ts";

export const openAiFace: Face = {
  name: "openai",
  read: readRequest,
  errorBody: (error) => ({
    ...openAiError(error),
    ...(error.issues.length > 0 ? { detail: error.issues } : {}),
  }),
};

function readRequest({ path, headers, body }: FaceInput): Asked {
  const enginePath = path.replace("/v1/openai/", "/v1/") as OpenAiPath;
  const object = readObject(body);
  const meant = checkParameters(enginePath, object);
  const value = (name: string): unknown => {
    const json = meant.get(name);
    return json === undefined ? (entryValue(object, name) ?? null) : JSON.parse(json);
  };
  const isStream = enginePath !== "/v1/embeddings" && value("stream") === true;
  const tier = readTier(value("service_tier") ?? headers["x-deepinfra-service-tier"] ?? null);
  const usage = isStream ? readUsageOptions(value("stream_options")) : shown;
  const needs = enginePath === "/v1/embeddings" ? noNeeds : readNeeds(enginePath, object, value, meant);
  if (value("max_tokens") === 0) meant.set("max_tokens", "null"); // DeepInfra's lower bound, and no limit at all
  dropTemplate(object, value, meant);
  return {
    selectors: readSelectors(value("model"), value("models")),
    enginePath,
    kind: enginePath === "/v1/embeddings" ? "embeddings" : "llm",
    tier: tier ?? "default",
    failFast: value("fail_fast") === true,
    isStream,
    bodyFor(model, selector) {
      refuseUnmet(model.abilities, enginePath, needs);
      const replaced = new Map(meant);
      if (!isServedName(model, selector)) replaced.set("model", JSON.stringify(model.name));
      else if (value("model") !== selector) replaced.set("model", JSON.stringify(selector));
      if (isStream) askForUsage(usage, model, replaced);
      if (enginePath === "/v1/chat/completions") continueLastMessage(object, model, replaced);
      const isKept = (name: string) => parametersOf[enginePath].has(name);
      const isUntouched = object.isPlain && replaced.size === 0 && [...object.entries.keys()].every(isKept);
      return isUntouched ? body : writeObject(object, isKept, replaced);
    },
    reply: (response, about) =>
      new OpenAiReply(response, { ...about, tier, isUsageShown: usage.isIncluded || usage.isContinuous }),
  };
}

function readObject(body: Buffer): ScannedObject {
  if (body.length === 0) throw new HttpError("bad_request", "The body is empty; it must be a JSON object.");
  const object = scanObject(body);
  // What is wrong where is not said: it would quote the body, which may hold a prompt.
  if (object === null) throw new HttpError("bad_request", "The body is not a JSON object in UTF-8.");
  return object;
}

/** `model`, then those of `models` in case it cannot serve. */
function readSelectors(model: unknown, models: unknown): string[] {
  if (model === "") {
    const msg = "String should have at least 1 character";
    throw invalidInput([{ loc: ["body", "model"], type: "string_too_short", msg }]);
  }
  const first = String(model);
  return models === null ? [first] : [...new Set([first, ...(models as string[])])];
}

/** Null where none was asked for; an unknown one is the default, as DeepInfra has it. */
function readTier(value: unknown): ServiceTier | null {
  if (value === null || value === "") return null;
  if (value === "priority" || value === "auto") return "priority";
  return value === "flex" ? "flex" : "default";
}

type UsageOptions = {
  readonly given: Readonly<Record<string, unknown>>;
  readonly isIncluded: boolean;
  readonly isContinuous: boolean;
};

const shown: UsageOptions = { given: {}, isIncluded: true, isContinuous: false };

function readUsageOptions(options: unknown): UsageOptions {
  const given = (options ?? {}) as Readonly<Record<string, unknown>>;
  for (const name of ["include_usage", "continuous_usage_stats"]) {
    if (!["boolean", "undefined"].includes(typeof given[name]) && given[name] !== null) {
      const msg = "Input should be a valid boolean";
      throw invalidInput([{ loc: ["body", "stream_options", name], type: "bool_type", msg }]);
    }
  }
  return {
    given,
    isIncluded: given.include_usage !== false,
    isContinuous: given.continuous_usage_stats === true,
  };
}

/** Berth counts tokens also where the client does not want to hear of them: then they are taken out of the answer. */
function askForUsage(
  { given, isIncluded }: UsageOptions,
  model: RouteModel,
  replaced: Map<string, string>,
): void {
  if (isIncluded && (model.abilities.usageByDefault || given.include_usage === true)) return;
  replaced.set("stream_options", JSON.stringify({ ...given, include_usage: true }));
}

/** vLLM continues a trailing assistant message only when it is told to. */
function continueLastMessage(object: ScannedObject, model: RouteModel, replaced: Map<string, string>): void {
  if (model.abilities.engine !== "vllm" || object.entries.has("continue_final_message")) return;
  const slice = object.entries.get("messages");
  if (slice === undefined || lastRole(object, slice) !== "assistant") return;
  replaced.set("continue_final_message", "true");
  replaced.set("add_generation_prompt", "false");
}

/** A chat template may not come in by the back door either. */
function dropTemplate(
  object: ScannedObject,
  value: (name: string) => unknown,
  meant: Map<string, string>,
): void {
  if (!object.entries.has("chat_template_kwargs")) return;
  const given = value("chat_template_kwargs");
  if (given === null) return;
  const { chat_template: _, tokenize: __, ...rest } = given as Record<string, unknown>;
  meant.set("chat_template_kwargs", JSON.stringify(rest));
}

function readNeeds(
  path: OpenAiPath,
  object: ScannedObject,
  value: (name: string) => unknown,
  meant: Map<string, string>,
): Needs {
  const has = (name: string) => object.entries.has(name);
  const format = object.entries.get("response_format");
  const messages = path === "/v1/chat/completions" ? object.entries.get("messages") : undefined;
  const seen = messages === undefined ? null : inspectMessages(object, messages);
  if (seen !== null && seen.rewritten !== null) meant.set("messages", seen.rewritten);
  return {
    tools: has("tools") && asksForTools(object, value) ? "tools" : null,
    format: format === undefined ? null : readFormat(textOf(object, format)),
    logprobs: readLogprobs(path, value),
    choices: Number(value("n") ?? 1),
    media: seen?.hasMedia === true ? "messages" : null,
    reasoning: readReasoning(value),
  };
}

function asksForTools(object: ScannedObject, value: (name: string) => unknown): boolean {
  const slice = object.entries.get("tools");
  if (slice === undefined || value("tool_choice") === "none") return false;
  const start = textOf(object, { start: slice.start, end: Math.min(slice.end, slice.start + 64) });
  if (/^(?:null|\[\s*\])/.test(start)) return false;
  checkTools(textOf(object, slice));
  return true;
}

function readLogprobs(path: OpenAiPath, value: (name: string) => unknown): string | null {
  const logprobs = value("logprobs");
  if (path === "/v1/completions") return logprobs === null ? null : "logprobs";
  if (logprobs === true) return "logprobs";
  return Number(value("top_logprobs") ?? 0) > 0 ? "top_logprobs" : null;
}

function readReasoning(value: (name: string) => unknown): string | null {
  const effort = value("reasoning_effort");
  if (effort !== null && effort !== "none") return "reasoning_effort";
  const reasoning = value("reasoning") as { enabled?: unknown; effort?: unknown } | null;
  const isAsked =
    reasoning !== null && (reasoning.enabled === true || (reasoning.effort ?? "none") !== "none");
  return isAsked ? "reasoning" : null;
}
