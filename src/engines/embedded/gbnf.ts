/**
 * JSON Schema to GBNF, llama.cpp's grammar language, so that an answer cannot help but follow the schema. Pure. Every
 * keyword is enforced, a known annotation, or refused by name: none is dropped. The grammar may allow less than the schema
 * (declared properties come in their order, nothing beside them), never more.
 *
 * Enforced: type (also a list, and nullable), properties, required, additionalProperties, items, minItems and maxItems (to
 * 1000), enum, const, anyOf, oneOf with alternatives that exclude each other, allOf of one, local $ref (also recursive),
 * minLength and maxLength (to 1999), pattern, minimum, maximum and their exclusive forms of integers, and the formats date,
 * time, date-time and uuid.
 */

import { RegexError } from "../../core/regex.ts";
import { resolveReference } from "../../core/schema-parts.ts";
import { areDisjoint } from "./gbnf-disjoint.ts";
import { integerRange } from "./gbnf-integers.ts";
import {
  annotations,
  boundOf,
  checkOrder,
  isOfType,
  isSchemaObject,
  keywordsOf,
  type Schema,
  SchemaError,
  strictest,
  type TypeName,
  typesOf,
  wholeKeyword,
} from "./gbnf-keywords.ts";
import { addPattern } from "./gbnf-regex.ts";

const mostItems = 1000;
/** llama.cpp repeats a symbol less than 2000 times, and a group even fewer: only what has a name is repeated here. */
const mostCharacters = 1999;
/** Each repetition becomes a rule in llama.cpp, which takes its time and memory while nothing else is served. */
const mostRepetitions = 50_000;
const deepest = 64;
const mostRules = 4000;
const longestGrammar = 400_000;

/** Rules every grammar may use. Lengths are bounded so that a model cannot get lost in white space or digits. */
const basics: Readonly<Record<string, string>> = {
  ws: '| " " | "\\n" [ \\t]{0,20}',
  // Without \u escapes, so that a character is always one character to minLength and maxLength.
  character: String.raw`[^"\\\x7F\x00-\x1F] | "\\" ["\\/bfnrt]`,
  string: String.raw`"\"" character* "\""`,
  integer: '"-"? ("0" | [1-9] [0-9]{0,15})',
  number: 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: "object | array | string | number | boolean | null",
  object: '"{" ws (member ("," ws member)*)? ws "}"',
  member: 'string ":" ws value',
  array: '"[" ws (value ("," ws value)*)? ws "]"',
  date: [
    '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))',
  ].join(""),
  time: '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
  "date-time": 'date "T" time',
  uuid: '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
};
const formats = ["date", "time", "date-time", "uuid"];

/** Any JSON object. */
export const jsonObjectGrammar = grammarText("object", new Map());

/** The grammar of all JSON texts that fulfil the schema, as far as it writes them; throws SchemaError. */
export function schemaToGbnf(schema: Schema): string {
  const rules = new Map<string, string>();
  return grammarText(addSchema(schema, rules), rules);
}

/** Adds a schema's rules to others of a larger grammar and returns the expression for it; throws SchemaError. */
export function addSchema(schema: Schema, rules: Map<string, string>): string {
  return new Builder(schema, rules).rule(schema, "");
}

/** A grammar out of a root expression and rules; `rules` may use the basic ones. */
export function grammarText(root: string, rules: ReadonlyMap<string, string>): string {
  const own = [...rules].map(([name, body]) => `${name} ::= ${body}`);
  const basic = Object.entries(basics).map(([name, body]) => `${name} ::= ${body}`);
  const text = [`root ::= ${root}`, ...own, ...basic].join("\n");
  if (text.length > longestGrammar) throw new SchemaError("schema", "", "is too large.");
  if (countRepetitions(text) > mostRepetitions) {
    throw new SchemaError(
      "schema",
      "",
      `is too large: its lengths and numbers of items may add up to ${mostRepetitions}.`,
    );
  }
  return text;
}

/** The sum of all `{n}` and `{n,m}` outside of literals and character classes. */
function countRepetitions(grammar: string): number {
  const found = grammar.matchAll(/"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{(\d+)(?:,(\d*))?\}/g);
  let sum = 0;
  for (const [, least = "0", most = ""] of found) sum += Math.max(Number(least), Number(most));
  return sum;
}

/** A text as a GBNF literal. */
export function literal(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n").replaceAll("\r", "\\r")}"`;
}

class Builder {
  readonly #rules: Map<string, string>;
  readonly #root: Schema;
  readonly #refs = new Map<string, string>();
  /** References being followed without anything written in between: meeting one again would never end. */
  readonly #open = new Set<string>();
  #depth = 0;

  constructor(root: Schema, rules: Map<string, string>) {
    this.#root = root;
    this.#rules = rules;
  }

  /** An expression for the schema: the name of a rule. */
  rule(schema: Schema, path: string): string {
    if (schema === true) return "value";
    if (!isSchemaObject(schema)) throw new SchemaError("false", path, "allows no value at all.");
    if (++this.#depth > deepest)
      throw new SchemaError("schema", path, `is nested deeper than ${deepest} levels.`);
    const expression = this.#expression(schema, path);
    this.#depth--;
    return schema.nullable === true ? this.#add(`${expression} | null`) : expression;
  }

  #add(body: string): string {
    if (this.#rules.size >= mostRules) throw new SchemaError("schema", "", "is too large.");
    const name = `r${this.#rules.size}`;
    this.#rules.set(name, body);
    return name;
  }

  #expression(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const keywords = Object.keys(schema).filter((word) => !annotations.has(word) && word !== "nullable");
    const only = (allowed: readonly string[]) => {
      const other = keywords.find((word) => !allowed.includes(word));
      if (other !== undefined) {
        const main = keywords.find((word) => allowed.includes(word)) ?? "type";
        throw new SchemaError(
          other,
          path,
          `cannot be enforced${other === main ? "" : ` beside \`${main}\``}.`,
        );
      }
    };
    if (schema.$ref !== undefined) {
      only(["$ref"]);
      return this.#reference(schema.$ref, path);
    }
    if (schema.const !== undefined || schema.enum !== undefined) {
      only(["const", "enum", "type"]);
      return this.#literals(schema, path);
    }
    for (const word of ["anyOf", "oneOf", "allOf"]) {
      if (schema[word] === undefined) continue;
      only([word]);
      return this.#alternatives(word, schema[word], path);
    }
    return this.#typed(schema, keywords, path);
  }

  #typed(schema: { readonly [keyword: string]: unknown }, keywords: readonly string[], path: string): string {
    const types = typesOf(schema, keywords, path);
    // Bounds are enforced for integers alone: beside `number` they would be half enforced.
    const bounded = types.filter((type) => type !== "integer" || !types.includes("number"));
    const allowed = new Set<string>(["type", ...bounded.flatMap((type) => keywordsOf[type])]);
    const other = keywords.find((word) => !allowed.has(word));
    if (other !== undefined) throw new SchemaError(other, path, "cannot be enforced.");
    if (types.length === Object.keys(keywordsOf).length - 1 && keywords.every((word) => word === "type"))
      return "value";
    const options = types.map((type) => this.#ofType(type, schema, path));
    return options.length === 1 ? (options[0] ?? "value") : this.#add(options.join(" | "));
  }

  #ofType(type: TypeName, schema: { readonly [keyword: string]: unknown }, path: string): string {
    switch (type) {
      case "object":
        return this.#guarded(() => this.#object(schema, path));
      case "array":
        return this.#guarded(() => this.#array(schema, path));
      case "string":
        return this.#string(schema, path);
      case "integer":
        return this.#integer(schema, path);
      default:
        return type;
    }
  }

  /** Inside of brackets something has been written, so a reference may be met again. */
  #guarded(build: () => string): string {
    const open = [...this.#open];
    this.#open.clear();
    const rule = build();
    for (const reference of open) this.#open.add(reference);
    return rule;
  }

  #reference(reference: unknown, path: string): string {
    if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) {
      throw new SchemaError("$ref", path, "must point into the schema itself (#/…).");
    }
    if (this.#open.has(reference)) throw new SchemaError("$ref", path, "refers to itself without end.");
    const known = this.#refs.get(reference);
    if (known !== undefined) return known;
    const name = this.#add("");
    this.#refs.set(reference, name);
    this.#open.add(reference);
    this.#rules.set(name, this.rule(this.#resolve(reference, path), reference.slice(1)));
    this.#open.delete(reference);
    return name;
  }

  #resolve(reference: string, path: string): Schema {
    const at = resolveReference(this.#root, reference);
    if (typeof at !== "boolean" && !isSchemaObject(at)) {
      throw new SchemaError("$ref", path, `points to ${reference}, which is not there.`);
    }
    return at;
  }

  #literals(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const listed = schema.const === undefined ? schema.enum : [schema.const];
    if (!Array.isArray(listed) || listed.length > 1000) {
      throw new SchemaError("enum", path, "must be a list of at most 1000 values.");
    }
    const wanted = schema.type === undefined ? null : typesOf(schema, ["type"], path);
    const fitting = listed.filter((value) => {
      const isListed =
        schema.enum === undefined || (schema.enum as unknown[]).some((item) => isSame(item, value));
      return isListed && (wanted === null || wanted.some((type) => isOfType(value, type)));
    });
    if (fitting.length === 0) throw new SchemaError("enum", path, "allows no value at all.");
    return this.#add(fitting.map((value) => literal(JSON.stringify(value))).join(" | "));
  }

  #alternatives(word: string, value: unknown, path: string): string {
    if (!Array.isArray(value) || value.length === 0 || value.length > 200) {
      throw new SchemaError(word, path, "must be a list of 1 to 200 schemas.");
    }
    const schemas = value as Schema[];
    if (word === "allOf" && schemas.length > 1) {
      throw new SchemaError("allOf", path, "can be enforced with one schema in it, not with several.");
    }
    if (word === "oneOf") {
      for (const [index, schema] of schemas.entries()) {
        if (schemas.slice(index + 1).every((other) => areDisjoint(schema, other))) continue;
        throw new SchemaError("oneOf", path, "has alternatives that can hold at once; use anyOf.");
      }
    }
    const options = schemas.map((schema, index) => this.rule(schema, `${path}/${word}/${index}`));
    return options.length === 1 ? (options[0] ?? "value") : this.#add(options.join(" | "));
  }

  #string(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const least = wholeKeyword(schema, "minLength", mostCharacters, path) ?? 0;
    const most = wholeKeyword(schema, "maxLength", mostCharacters, path);
    if (schema.format !== undefined) {
      if (!formats.includes(String(schema.format)) || least > 0 || most !== null) {
        throw new SchemaError("format", path, `can only be ${formats.join(", ")}, and without a length.`);
      }
      return this.#add(`"\\"" ${String(schema.format)} "\\""`);
    }
    if (schema.pattern !== undefined) {
      if (typeof schema.pattern !== "string" || least > 0 || most !== null) {
        throw new SchemaError("pattern", path, "must be a text, and without a length beside it.");
      }
      return this.#add(`"\\"" ${this.#pattern(schema.pattern, path)} "\\""`);
    }
    if (least === 0 && most === null) return "string";
    checkOrder(least, most, "minLength", path);
    return this.#add(`"\\"" character{${least},${most ?? ""}} "\\""`);
  }

  #pattern(source: string, path: string): string {
    try {
      return addPattern(source, this.#rules, "p");
    } catch (error) {
      if (error instanceof RegexError) throw new SchemaError("pattern", path, error.message);
      throw error;
    }
  }

  #integer(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const bounds = {
      least: strictest(
        Math.max,
        boundOf(schema, "minimum", 0, path),
        boundOf(schema, "exclusiveMinimum", 1, path),
      ),
      most: strictest(
        Math.min,
        boundOf(schema, "maximum", 0, path),
        boundOf(schema, "exclusiveMaximum", -1, path),
      ),
    };
    if (bounds.least === null && bounds.most === null) return "integer";
    const expression = integerRange(bounds.least, bounds.most);
    if (expression === null) throw new SchemaError("minimum", path, "and `maximum` leave no integer.");
    return this.#add(expression);
  }

  #array(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const least = wholeKeyword(schema, "minItems", mostItems, path) ?? 0;
    const most = wholeKeyword(schema, "maxItems", mostItems, path);
    checkOrder(least, most, "minItems", path);
    if (most === 0) return this.#add('"[" ws "]"');
    if (schema.items === false) throw new SchemaError("items", path, "of false needs `maxItems` 0.");
    const item = this.rule((schema.items ?? true) as Schema, `${path}/items`);
    const next = this.#add(`"," ws ${item}`);
    const more = `${next}{${Math.max(0, least - 1)},${most === null ? "" : most - 1}}`;
    return this.#add(least > 0 ? `"[" ws ${item} ${more} ws "]"` : `"[" ws (${item} ${more})? ws "]"`);
  }

  /**
   * Declared properties in their order, the required ones always. A rule `after i` writes what may follow property i when
   * something was written already, `first i` when nothing was: the difference is the comma.
   */
  #object(schema: { readonly [keyword: string]: unknown }, path: string): string {
    const { properties = {}, required = [], additionalProperties = true } = schema;
    if (!isSchemaObject(properties)) throw new SchemaError("properties", path, "must be an object.");
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string")) {
      throw new SchemaError("required", path, "must be a list of names.");
    }
    const names = [...new Set([...Object.keys(properties), ...(required as string[])])];
    if (names.length === 0) {
      if (additionalProperties === false) return this.#add('"{" ws "}"');
      const value = this.rule(additionalProperties as Schema, `${path}/additionalProperties`);
      return value === "value"
        ? "object"
        : this.#add(`"{" ws (string ":" ws ${value} ("," ws string ":" ws ${value})*)? ws "}"`);
    }
    let after = "";
    let first = "";
    for (const name of names.reverse()) {
      const declared = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
      if (declared === false && required.includes(name)) {
        throw new SchemaError("required", path, `names ${JSON.stringify(name)}, which is not allowed.`);
      }
      if (declared === false) continue;
      const value = this.rule(declared as Schema, `${path}/properties/${name}`);
      const member = `${literal(JSON.stringify(name))} ":" ws ${value}`;
      const isRequired = required.includes(name);
      const nextAfter = this.#add(isRequired ? `"," ws ${member} ${after}` : `("," ws ${member})? ${after}`);
      first = this.#add(isRequired || first === "" ? `${member} ${after}` : `${member} ${after} | ${first}`);
      if (!isRequired && after === "") first = this.#add(`${first}?`);
      after = nextAfter;
    }
    return this.#add(`"{" ws ${first} ws "}"`);
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
