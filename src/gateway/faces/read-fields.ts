/**
 * Reads a JSON body into typed fields for the faces that are not OpenAI's. Owns the sentences for a body that is no JSON
 * object or breaks a face's schema; must not know any face. Pure.
 */
import { isUtf8 } from "node:buffer";
import type { z } from "zod";
import { HttpError } from "../../schema/errors.ts";
import { checkInput } from "../../schema/validation.ts";
import { invalidInput } from "./openai-parameters.ts";

export function readFields<T>(schema: z.ZodType<T>, body: Buffer): T {
  return checkFields(schema, parseObject(body));
}

export function checkFields<T>(schema: z.ZodType<T>, fields: unknown): T {
  const checked = checkInput(schema, fields, "body");
  if (checked.ok) return checked.value;
  throw invalidInput(checked.issues);
}

function parseObject(body: Buffer): Record<string, unknown> {
  if (body.length === 0) throw new HttpError("bad_request", "The body is empty; it must be a JSON object.");
  if (!isUtf8(body)) throw new HttpError("bad_request", "The body is not UTF-8 text.");
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    // The parser's message quotes the body, which may hold a prompt: it is left out.
    throw new HttpError("bad_request", "The body is not valid JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError("bad_request", "The body must be a JSON object.");
  }
  return value as Record<string, unknown>;
}

/** A request that no engine of Berth can serve, whichever it is. `what` completes "The parameter … ". */
export function unsupportedHere(param: string, what: string): HttpError {
  return new HttpError("unsupported_parameter", `The parameter ${param} ${what}`, { param });
}
