/**
 * The keywords of JSON Schema as the converter to GBNF reads them: which there are, what they apply to, and their values
 * checked. Pure; part of the schema converter.
 */

export type Schema = boolean | { readonly [keyword: string]: unknown };

/** A schema that cannot be enforced; `keyword` is at fault, `path` says where, as a JSON pointer. */
export class SchemaError extends Error {
  readonly keyword: string;
  constructor(keyword: string, path: string, why: string) {
    super(`The schema's \`${keyword}\` at ${path === "" ? "its root" : path} ${why}`);
    this.name = "SchemaError";
    this.keyword = keyword;
  }
}

/** Keywords that say something about a value without restricting it. */
export const annotations = new Set([
  "title",
  "description",
  "default",
  "example",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$id",
  "$comment",
  "$defs",
  "definitions",
]);

export const keywordsOf = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "format", "pattern"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  number: [],
  boolean: [],
  null: [],
} as const;
export type TypeName = keyof typeof keywordsOf;

export function isSchemaObject(value: unknown): value is { readonly [keyword: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The types a schema allows; where it names none, those its keywords are about, else all. */
export function typesOf(
  schema: { readonly [keyword: string]: unknown },
  keywords: readonly string[],
  path: string,
): readonly TypeName[] {
  const all = (Object.keys(keywordsOf) as TypeName[]).filter((type) => type !== "integer");
  if (schema.type === undefined) {
    const about = (Object.keys(keywordsOf) as TypeName[]).filter((type) =>
      keywords.some((word) => (keywordsOf[type] as readonly string[]).includes(word)),
    );
    if (about.length === 0) return all;
    if (about.length === 1 && about[0] !== "integer") return about;
    throw new SchemaError("type", path, "is missing.");
  }
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  const unknown = types.find((type) => !Object.hasOwn(keywordsOf, String(type)));
  if (unknown !== undefined || types.length === 0) {
    throw new SchemaError("type", path, `does not know ${JSON.stringify(unknown ?? null)}.`);
  }
  return types as TypeName[];
}

export function isOfType(value: unknown, type: TypeName): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isSchemaObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

export function wholeKeyword(
  schema: { readonly [keyword: string]: unknown },
  keyword: string,
  most: number,
  path: string,
): number | null {
  const value = schema[keyword] ?? null;
  if (value === null) return null;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most) {
    throw new SchemaError(keyword, path, `must be a whole number from 0 to ${most}.`);
  }
  return value;
}

export function checkOrder(least: number, most: number | null, keyword: string, path: string): void {
  if (most !== null && least > most) throw new SchemaError(keyword, path, "is more than the maximum.");
}

export function strictest(
  pick: (a: number, b: number) => number,
  a: number | null,
  b: number | null,
): number | null {
  return a === null ? b : b === null ? a : pick(a, b);
}

/** An integer's bound; fractions are brought to the next integer inside. */
export function boundOf(
  schema: { readonly [keyword: string]: unknown },
  keyword: "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum",
  step: number,
  path: string,
): number | null {
  const value = schema[keyword] ?? null;
  if (value === null) return null;
  if (typeof value !== "number" || Math.abs(value) > 999_999_999_999_999) {
    throw new SchemaError(keyword, path, "must be a number of at most 15 digits.");
  }
  if (Number.isInteger(value)) return value + step;
  return keyword.endsWith("inimum") ? Math.ceil(value) : Math.floor(value);
}
