/**
 * The rules that a parameter's value may be held to: each looks at one JSON value as it stands in the request and finds
 * nothing wrong, something wrong in pydantic's words, or the value that was meant ("2" for 2, as DeepInfra takes it). Pure.
 * Must not know which parameter is held to which rule.
 */

export type JsonKind = "null" | "bool" | "number" | "string" | "list" | "dict";

/** A value as it stands in the request. */
export type Found = {
  readonly kind: JsonKind;
  /** Its JSON text; only small values should be read. */
  text(): string;
  /** Its length in bytes. */
  readonly bytes: number;
};

/** What is wrong, in pydantic v2's words. */
export type Wrong = { readonly type: string; readonly msg: string };

/** Null: nothing. `json`: the value to pass on instead. */
export type Verdict = Wrong | { readonly json: string } | null;

export type Rule = (found: Found) => Verdict;

export type Bounds = {
  readonly min?: number;
  readonly above?: number;
  readonly max?: number;
  readonly below?: number;
};

/** Longest text of a number or of a word that is read. */
const maxScalarBytes = 256;
/** Longest list that is read for its items' sake, in bytes. */
const maxListBytes = 1_000_000;

export function kindOf(firstByte: number | undefined): JsonKind {
  switch (firstByte) {
    case 0x22:
      return "string";
    case 0x5b:
      return "list";
    case 0x7b:
      return "dict";
    case 0x74:
    case 0x66:
      return "bool";
    case 0x6e:
      return "null";
    default:
      return "number";
  }
}

const integerText = /^[+-]?\d+(?:\.0*)?$/;
const numberText = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

export function number(bounds: Bounds): Rule {
  return (found) => {
    const text = scalarText(found);
    if (text === null) return { type: "float_type", msg: "Input should be a valid number" };
    if (!numberText.test(text)) {
      return {
        type: "float_parsing",
        msg: "Input should be a valid number, unable to parse string as a number",
      };
    }
    const value = Number(text);
    if (!Number.isFinite(value)) return { type: "finite_number", msg: "Input should be a finite number" };
    return outOf(bounds, value) ?? (found.kind === "number" ? null : { json: String(value) });
  };
}

/** Compared as big integers, so that seeds beyond 2^53 are neither refused nor changed. */
export function integer(bounds: { readonly min?: bigint; readonly max?: bigint }): Rule {
  return (found) => {
    const text = scalarText(found);
    if (text === null) return { type: "int_type", msg: "Input should be a valid integer" };
    const whole = integerText.test(text) ? text.replace(/\..*$/, "") : wholeText(text);
    if (whole === null) {
      return found.kind === "number"
        ? {
            type: "int_from_float",
            msg: "Input should be a valid integer, got a number with a fractional part",
          }
        : {
            type: "int_parsing",
            msg: "Input should be a valid integer, unable to parse string as an integer",
          };
    }
    const value = BigInt(whole.replace(/^\+/, ""));
    if (bounds.min !== undefined && value < bounds.min) return atLeast(bounds.min);
    if (bounds.max !== undefined && value > bounds.max) return atMost(bounds.max);
    return found.kind === "number" && whole === text ? null : { json: String(value) };
  };
}

/** 1e3 and its like, which JSON has no other word for; null for a fraction. */
function wholeText(text: string): string | null {
  const value = numberText.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? String(value) : null;
}

export const flag: Rule = (found) => {
  if (found.kind === "bool") return null;
  const text = scalarText(found)?.toLowerCase() ?? null;
  if (text === null) return { type: "bool_type", msg: "Input should be a valid boolean" };
  if (["1", "true", "on", "yes", "y", "t"].includes(text)) return { json: "true" };
  if (["0", "false", "off", "no", "n", "f"].includes(text)) return { json: "false" };
  return { type: "bool_parsing", msg: "Input should be a valid boolean, unable to interpret input" };
};

export const string: Rule = ({ kind }) =>
  kind === "string" ? null : { type: "string_type", msg: "Input should be a valid string" };

export function oneOf(...words: readonly string[]): Rule {
  const listed = words.map((word) => `'${word}'`);
  const msg = `Input should be ${listed.slice(0, -1).join(", ")} or ${listed.at(-1)}`;
  return (found) => {
    const word = found.kind === "string" && found.bytes <= maxScalarBytes ? JSON.parse(found.text()) : null;
    return words.includes(word as string) ? null : { type: "enum", msg };
  };
}

export const list: Rule = ({ kind }) =>
  kind === "list" ? null : { type: "list_type", msg: "Input should be a valid list" };

export const dict: Rule = ({ kind }) =>
  kind === "dict" ? null : { type: "dict_type", msg: "Input should be a valid dictionary" };

/** The first rule whose kind of value this is; the last one's words when it is of none. */
export function either(...rules: readonly Rule[]): Rule {
  return (found) => {
    let verdict: Verdict = null;
    for (const rule of rules) {
      verdict = rule(found);
      if (verdict === null || "json" in verdict) return verdict;
      if (!verdict.type.endsWith("_type")) return verdict;
    }
    return verdict;
  };
}

/** A list of so many items of one kind; the item's fault is named. */
export function listOf(item: JsonKind, min: number, max: number): Rule {
  return (found) => {
    if (found.kind !== "list") return list(found);
    if (found.bytes > maxListBytes && max * 1000 < found.bytes) return tooLong(max);
    const values = JSON.parse(found.text()) as unknown[];
    if (values.length < min) {
      return {
        type: "too_short",
        msg: `List should have at least ${min} item${min === 1 ? "" : "s"} after validation`,
      };
    }
    if (values.length > max) return tooLong(max);
    return values.every((value) => kindOfValue(value) === item)
      ? null
      : { type: `${item}_type`, msg: `Input should be a list of valid ${item}s` };
  };
}

/** A list with something in it, whose items are not looked at. */
export const someList: Rule = (found) => {
  if (found.kind !== "list") return list(found);
  return found.bytes <= maxScalarBytes && /^\[\s*\]$/.test(found.text())
    ? { type: "too_short", msg: "List should have at least 1 item after validation, not 0" }
    : null;
};

function tooLong(max: number): Wrong {
  return { type: "too_long", msg: `List should have at most ${max} items after validation` };
}

function kindOfValue(value: unknown): JsonKind {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "number":
      return "number";
    case "string":
      return "string";
    default:
      return "dict";
  }
}

/** The text of a number, or what a string or a boolean says where a number is meant; null for anything else. */
function scalarText(found: Found): string | null {
  if (found.bytes > maxScalarBytes) return null;
  if (found.kind === "number") return found.text();
  if (found.kind === "string") return (JSON.parse(found.text()) as string).trim();
  if (found.kind === "bool") return found.text() === "true" ? "1" : "0";
  return null;
}

function outOf({ min, above, max, below }: Bounds, value: number): Wrong | null {
  if (min !== undefined && value < min) return atLeast(min);
  if (above !== undefined && value <= above) {
    return { type: "greater_than", msg: `Input should be greater than ${above}` };
  }
  if (max !== undefined && value > max) return atMost(max);
  if (below !== undefined && value >= below)
    return { type: "less_than", msg: `Input should be less than ${below}` };
  return null;
}

function atLeast(min: number | bigint): Wrong {
  return { type: "greater_than_equal", msg: `Input should be greater than or equal to ${min}` };
}

function atMost(max: number | bigint): Wrong {
  return { type: "less_than_equal", msg: `Input should be less than or equal to ${max}` };
}
