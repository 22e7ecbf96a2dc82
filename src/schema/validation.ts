/**
 * What zod finds wrong with an input, said in the words that DeepInfra's clients know: FastAPI's `loc`, `msg` and `type`
 * as pydantic v2 words them. Owns that table alone. Never repeats a value that was sent: it may be a secret.
 */
import type { z } from "zod";
import type { ValidationIssue } from "./errors.ts";

/** Where the input came from; the first element of `loc`. */
export type InputPart = "body" | "query" | "path";

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly ValidationIssue[] };

/** Most issues that are reported at once. */
const maxIssues = 64;

/** Checks `input` (undefined when nothing was sent) and converts it to what the schema puts out. */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown, part: InputPart): Checked<T> {
  const outcome = schema.safeParse(input, { reportInput: true });
  if (outcome.success) return { ok: true, value: outcome.data };
  // One issue a field, as pydantic has it: of several the last is the closest (a bound after "a safe integer").
  const byField = new Map<string, ValidationIssue>();
  for (const issue of outcome.error.issues.flatMap(splitUnknownKeys)) {
    const loc = [part, ...issue.path.map((key) => (typeof key === "number" ? key : String(key)))];
    byField.set(JSON.stringify(loc), { loc, ...nameIssue(issue) });
  }
  return { ok: false, issues: [...byField.values()].slice(0, maxIssues) };
}

/** One issue a key, at the key, as pydantic has it. */
function splitUnknownKeys(issue: Issue): Issue[] {
  if (issue.code !== "unrecognized_keys") return [issue];
  return issue.keys.map((key) => ({ ...issue, path: [...issue.path, key] }));
}

/** A broken rule that no single field's type tells. `sentence` is for the person and repeats no secret. */
export function valueError(loc: readonly (string | number)[], sentence: string): ValidationIssue {
  return { loc, type: "value_error", msg: `${valueErrorPrefix}${sentence}` };
}

/** The `error` of a number that may have a fraction. */
export const fractionMessage = "Input should be a valid number";

const valueErrorPrefix = "Value error, ";

/** All issues as one readable line: `gpu: Field required; num_gpus: …`. */
export function describeIssues(issues: readonly ValidationIssue[]): string {
  return issues.map(describeIssue).join("; ");
}

function describeIssue({ loc, msg }: ValidationIssue): string {
  if (msg.startsWith(valueErrorPrefix)) return msg.slice(valueErrorPrefix.length);
  const field = loc.slice(1).join(".");
  return `${field === "" ? String(loc[0]) : field}: ${msg}`;
}

type Wording = Pick<ValidationIssue, "type" | "msg">;
type Issue = z.core.$ZodIssue;

function nameIssue(issue: Issue): Wording {
  if (issue.input === undefined) return { type: "missing", msg: "Field required" };
  switch (issue.code) {
    case "unrecognized_keys":
      return { type: "extra_forbidden", msg: "Extra inputs are not permitted" };
    case "invalid_type":
      // Numbers with a fraction say so themselves: to zod an integer is a number too.
      if (issue.message === fractionMessage) return { type: "float_type", msg: fractionMessage };
      return nameWrongType(issue.expected, issue.input);
    case "invalid_value":
      return { type: "enum", msg: `Input should be ${listValues(issue.values)}` };
    case "too_small":
      return nameTooSmall(issue);
    case "too_big":
      return nameTooBig(issue);
    case "invalid_format":
      return {
        type: "string_pattern_mismatch",
        msg: `String should match pattern '${printPattern(issue.format === "regex" ? issue.pattern : undefined)}'`,
      };
    default:
      return { type: "value_error", msg: `${valueErrorPrefix}${issue.message}` };
  }
}

/** `expected` in zod's words. An object that is a model and one that is a record are the same to it. */
function nameWrongType(expected: string, input: unknown): Wording {
  switch (expected) {
    case "string":
      return { type: "string_type", msg: "Input should be a valid string" };
    case "int":
    case "number":
      return nameWrongNumber(input);
    case "boolean":
      return { type: "bool_type", msg: "Input should be a valid boolean" };
    case "array":
      return { type: "list_type", msg: "Input should be a valid list" };
    case "record":
      return { type: "dict_type", msg: "Input should be a valid dictionary" };
    case "object":
      return {
        type: "model_attributes_type",
        msg: "Input should be a valid dictionary or object to extract fields from",
      };
    default:
      return { type: `${expected}_type`, msg: `Input should be a valid ${expected}` };
  }
}

/** What names nothing else is an integer. */
function nameWrongNumber(input: unknown): Wording {
  if (typeof input === "string") {
    return {
      type: "int_parsing",
      msg: "Input should be a valid integer, unable to parse string as an integer",
    };
  }
  if (typeof input !== "number") return { type: "int_type", msg: "Input should be a valid integer" };
  if (!Number.isFinite(input)) return { type: "finite_number", msg: "Input should be a finite number" };
  return {
    type: "int_from_float",
    msg: "Input should be a valid integer, got a number with a fractional part",
  };
}

function nameTooSmall({ origin, minimum, inclusive }: z.core.$ZodIssueTooSmall): Wording {
  if (origin === "string") {
    return {
      type: "string_too_short",
      msg: `String should have at least ${count(minimum, "character")}`,
    };
  }
  if (origin === "array") {
    return { type: "too_short", msg: `List should have at least ${count(minimum, "item")} after validation` };
  }
  return inclusive === false
    ? { type: "greater_than", msg: `Input should be greater than ${minimum}` }
    : { type: "greater_than_equal", msg: `Input should be greater than or equal to ${minimum}` };
}

function nameTooBig({ origin, maximum, inclusive }: z.core.$ZodIssueTooBig): Wording {
  if (origin === "string") {
    return { type: "string_too_long", msg: `String should have at most ${count(maximum, "character")}` };
  }
  if (origin === "array") {
    return { type: "too_long", msg: `List should have at most ${count(maximum, "item")} after validation` };
  }
  return inclusive === false
    ? { type: "less_than", msg: `Input should be less than ${maximum}` }
    : { type: "less_than_equal", msg: `Input should be less than or equal to ${maximum}` };
}

function count(number: number | bigint, noun: string): string {
  return `${number} ${noun}${Number(number) === 1 ? "" : "s"}`;
}

/** 'a', 'b' or 'c' */
function listValues(values: readonly unknown[]): string {
  const quoted = values.map((value) => `'${String(value)}'`);
  const last = quoted.pop() ?? "";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}

function printPattern(pattern: string | undefined): string {
  return (pattern ?? "").replace(/^\/|\/[a-z]*$/g, "");
}
