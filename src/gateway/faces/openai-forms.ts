/**
 * The form that a request wants its answer in: which it is, and whether an engine may be asked to compile it. Owns the limits on
 * the size of a request's schemas as text; what is in them is measured by core/schema-size. Pure.
 */
import { excessOfRegex, excessOfSchema, excessOfSize } from "../../core/schema-size.ts";
import { effortOfRequest } from "../../core/schema-ways.ts";
import { HttpError } from "../../schema/errors.ts";
import type { Needs } from "./openai-abilities.ts";
import { invalidInput } from "./openai-parameters.ts";

/** Largest text of either parameter that is read, in characters. */
const maxLength = 1_000_000;
const formats = ["json_object", "json_schema", "regex"] as const;

/** `response_format`. Throws HttpError for an unknown one, and for one that is too large to be compiled. */
export function readFormat(json: string): Needs["format"] {
  refuseLength("response_format", json);
  const format: unknown = JSON.parse(json);
  if (format === null) return null;
  const { type, json_schema: wrapped, regex } = format as Record<string, unknown>;
  if (type === "text") return null;
  const known = formats.find((one) => one === type);
  if (known === undefined) {
    const msg = "Input should be 'text', 'json_object', 'json_schema' or 'regex'";
    throw invalidInput([{ loc: ["body", "response_format", "type"], type: "enum", msg }]);
  }
  if (known === "json_schema") {
    const excess = excessOfSize(wrapped) ?? excessOfSchema(partOf(wrapped, "schema"));
    refuseExcess("response_format", "The JSON schema", excess);
  }
  if (known === "regex" && typeof regex === "string") {
    refuseExcess("response_format", "The expression", excessOfRegex(regex));
  }
  return known;
}

/** Engines make a grammar of the parameters of tools that may be called. */
export function checkTools(json: string): void {
  refuseLength("tools", json);
  const tools: unknown = JSON.parse(json);
  // Each counts by itself, a long list of small ones is no trouble; but the time that it takes to look at them adds up.
  const effort = effortOfRequest();
  for (const tool of Array.isArray(tools) ? tools : []) {
    const excess =
      excessOfSize(tool) ?? excessOfSchema(partOf(partOf(tool, "function"), "parameters"), effort);
    refuseExcess("tools", "The schema of a tool's parameters", excess);
  }
}

function refuseLength(param: string, json: string): void {
  refuseExcess(
    param,
    "What is asked for",
    json.length > maxLength ? `is longer than ${maxLength} characters` : null,
  );
}

function partOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function refuseExcess(param: string, what: string, excess: string | null): void {
  if (excess === null) return;
  const message = `${what} in ${param} ${excess}, which is the limit. Ask for a simpler one.`;
  throw new HttpError("unsupported_parameter", message, { param });
}
