/**
 * Native inference requests in the OpenAI form that engines speak: `input` is a prompt that the client has put into the
 * model's template itself, so it becomes a text completion; `inputs` become embeddings. Owns what each parameter becomes;
 * what has no counterpart and would change the answer is refused by name. Pure.
 */

import { z } from "zod";
import { HttpError } from "../../schema/errors.ts";
import {
  type NativeEmbeddingsIn,
  type NativeTextIn,
  nativeEmbeddingsIn,
  nativeTextIn,
} from "../../schema/native.ts";
import { boundaryOf, readForm } from "../multipart.ts";
import { checkFields, readFields, unsupportedHere } from "./read-fields.ts";

export type NativeTask = "text" | "embeddings";

export type NativeRequest = {
  readonly task: NativeTask;
  /** The body of the OpenAI path. */
  readonly body: Record<string, unknown>;
  /** URL to post the answer to, null to answer the client. */
  readonly webhook: string | null;
};

/** New tokens where the request names none, as DeepInfra has it. */
const defaultNewTokens = 512;
/** With an explicit null: as many as the context has left, at most so many. */
const mostNewTokens = 16_384;

/** Parameters that are called the same and mean the same. */
const passed = [
  "stream",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "presence_penalty",
  "frequency_penalty",
  "response_format",
  "seed",
  "user",
  "service_tier",
  "fail_fast",
];

const anything = z.looseObject({});

/** @param selector the model that the path names */
export function readNative(selector: string, contentType: string, body: Buffer): NativeRequest {
  const boundary = boundaryOf(contentType);
  const fields = boundary === null ? readFields(anything, body) : fromForm(readForm(body, boundary));
  if (fields.queries !== undefined || fields.documents !== undefined) {
    throw unsupportedHere("queries", "asks to rank documents, which no engine here can do.");
  }
  if (fields.inputs !== undefined) return toEmbeddings(selector, checkFields(nativeEmbeddingsIn, fields));
  return toCompletion(selector, checkFields(nativeTextIn, fields));
}

function toCompletion(model: string, asked: NativeTextIn): NativeRequest {
  const { input, max_new_tokens: most, num_responses: answers, stop, webhook } = asked;
  const body: Record<string, unknown> = { model, prompt: input };
  for (const name of passed) {
    if (asked[name] !== undefined && asked[name] !== null) body[name] = asked[name];
  }
  body.max_tokens = most === undefined ? defaultNewTokens : (most ?? mostNewTokens);
  if (answers) body.n = answers;
  if (stop && stop.length > 0) body.stop = stop;
  return { task: "text", body, webhook: webhook || null };
}

function toEmbeddings(model: string, asked: NativeEmbeddingsIn): NativeRequest {
  if (asked.normalize === false) throw unsupportedHere("normalize", "can be true only.");
  for (const name of ["instruction", "custom_instruction"]) {
    if (asked[name]) throw unsupportedHere(name, "cannot be given: put it into the inputs.");
  }
  const body: Record<string, unknown> = { model, input: asked.inputs, encoding_format: "float" };
  for (const name of ["dimensions", "service_tier", "fail_fast"]) {
    if (asked[name] !== undefined && asked[name] !== null) body[name] = asked[name];
  }
  return { task: "embeddings", body, webhook: asked.webhook || null };
}

/** Parameters that are no texts; a form has them as JSON. */
const structured = new Set(["response_format", "stop", "inputs", "queries", "documents"]);

/** Every field of a form is a text; one that occurs several times is a list. */
function fromForm(form: ReadonlyMap<string, readonly string[]>): Record<string, unknown> {
  const fields = [...form].map(([name, values]) => [name, values.length === 1 ? values[0] : values] as const);
  return Object.fromEntries(
    fields.map(([name, value]) => [
      name,
      structured.has(name) && typeof value === "string" && /^\s*[[{]/.test(value)
        ? parseText(name, value)
        : value,
    ]),
  );
}

function parseText(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HttpError("invalid_input", `${name}: it begins like JSON and is none.`, {
      param: name,
      issues: [{ loc: ["body", name], type: "json_invalid", msg: "Input should be valid JSON" }],
    });
  }
}
