/** The schema converter against llama.cpp's own grammar reader: what it lets through, what it does not, what is refused. */
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Addon, openAddon } from "./addon.ts";
import { jsonObjectGrammar, schemaToGbnf } from "./gbnf.ts";
import { integerRange } from "./gbnf-integers.ts";
import { type Schema, SchemaError } from "./gbnf-keywords.ts";

let addon: Addon;

beforeAll(async () => {
  addon = await openAddon(() => {});
});

async function grammarOf(text: string): Promise<(text: string) => boolean> {
  const grammar = new addon.AddonGrammar(text, { addonExports: addon });
  return (candidate) => grammar.isTextCompatible(candidate);
}

async function readerOf(schema: Schema): Promise<(text: string) => boolean> {
  return await grammarOf(schemaToGbnf(schema));
}

describe("what a schema allows", () => {
  const person = {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" }, note: { type: ["string", "null"] } },
    required: ["name"],
    additionalProperties: false,
  };
  const tree = {
    $defs: {
      node: {
        type: "object",
        properties: { next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } },
        required: ["next"],
      },
    },
    $ref: "#/$defs/node",
  };
  const cases: [string, Schema, string[], string[]][] = [
    [
      "an object",
      person,
      ['{"name":"a"}', '{"name": "a", "age": 3}', '{"name":"a","note":null}'],
      ["{}", '{"age":3}', '{"name":"a","x":1}', '{"name":1}', '{"name":"a","age":1.5}', '{"name":"a",}'],
    ],
    [
      "only optional properties",
      { type: "object", properties: { a: { type: "null" }, b: { type: "null" } } },
      ["{}", '{"a":null}', '{"b":null}', '{"a":null,"b":null}'],
      ['{,"b":null}', '{"a":null,}', '{"b":null,"a":null}'],
    ],
    [
      "a map",
      { type: "object", additionalProperties: { type: "boolean" } },
      ["{}", '{"x":true,"y":false}'],
      ['{"x":1}'],
    ],
    ["an empty object", { type: "object", additionalProperties: false }, ["{}"], ['{"a":1}']],
    [
      "an array",
      { type: "array", items: { type: "integer" }, minItems: 2, maxItems: 3 },
      ["[1,2]", "[1, 2, 3]"],
      ["[1]", "[1,2,3,4]", "[]", "[1,]"],
    ],
    ["an array of at most one", { type: "array", maxItems: 1 }, ["[]", '[{"a":[]}]'], ["[1,2]"]],
    [
      "enum and const",
      { anyOf: [{ enum: ["a", 1, null, { b: [] }] }, { const: 'x"\\' }] },
      ['"a"', "1", "null", '{"b":[]}', '"x\\"\\\\"'],
      ['"b"', "2"],
    ],
    ["enum within a type", { type: "string", enum: ["a", 1] }, ['"a"'], ["1"]],
    [
      "string lengths",
      { type: "string", minLength: 2, maxLength: 3 },
      ['"ab"', '"äöü"', '"a\\n"'],
      ['"a"', '"abcd"', '"\\u0061b"'],
    ],
    [
      "a date-time",
      { type: "string", format: "date-time" },
      ['"2024-02-28T23:59:59Z"', '"2024-12-31T00:00:00+02:00"'],
      [
        '"2024-02-30T00:00:00Z"',
        '"2024-13-01T00:00:00Z"',
        '"2024-04-31T00:00:00Z"',
        '"2024-01-01"',
        '"2024-01-01T24:00:00Z"',
      ],
    ],
    [
      "a number",
      { type: "number" },
      ["0", "-1.5", "1e10", "12"],
      ["01", "1.", ".5", "1e999", "NaN", "0E+7121"],
    ],
    ["nullable", { type: "string", nullable: true }, ["null", '"a"'], ["1"]],
    ["a recursive reference", tree, ['{"next":null}', '{"next":{"next":null}}'], ['{"next":1}', "null"]],
    [
      "oneOf by a tag",
      {
        oneOf: [
          { type: "object", properties: { k: { const: "a" } }, required: ["k"] },
          { type: "object", properties: { k: { const: "b" } }, required: ["k"] },
        ],
      },
      ['{"k":"a"}', '{"k":"b"}'],
      ['{"k":"c"}'],
    ],
    ["anything", true, ["1", '{"a":[1,{"b":null}]}', '"x"'], ["a", "{a:1}"]],
    [
      "a property that needs escapes",
      { type: "object", properties: { 'a"\\\n€': { type: "null" } }, required: ['a"\\\n€'] },
      [JSON.stringify({ 'a"\\\n€': null })],
      ["{}"],
    ],
  ];
  it.each(cases)("%s", async (_, schema, accepted, rejected) => {
    const accepts = await readerOf(schema);
    for (const text of accepted) expect(accepts(text), `accepts ${text}`).toBe(true);
    for (const text of rejected) expect(accepts(text), `rejects ${text}`).toBe(false);
  });

  it("any JSON object", async () => {
    const accepts = await grammarOf(jsonObjectGrammar);
    expect(accepts('{"a": [1, "b", {"c": null}]}')).toBe(true);
    expect(accepts("[]")).toBe(false);
  });
});

describe("what is refused", () => {
  it.each<[string, Schema]>([
    ["pattern", { type: "string", pattern: "(?=a)" }],
    ["pattern", { type: "string", pattern: "^a", maxLength: 3 }],
    ["format", { type: "string", format: "email" }],
    ["minimum", { type: "number", minimum: 0 }],
    ["minimum", { type: ["integer", "number"], minimum: 0 }],
    ["multipleOf", { type: "integer", multipleOf: 2 }],
    ["uniqueItems", { type: "array", uniqueItems: true }],
    ["prefixItems", { type: "array", prefixItems: [] }],
    ["maxItems", { type: "array", maxItems: 100_000 }],
    ["patternProperties", { type: "object", patternProperties: {} }],
    ["minProperties", { type: "object", minProperties: 1 }],
    ["not", { not: { type: "string" } }],
    ["if", { if: {}, type: "string" }],
    ["allOf", { allOf: [{ type: "string" }, { minLength: 1 }] }],
    ["oneOf", { oneOf: [{ type: "string" }, { type: "string", maxLength: 3 }] }],
    ["properties", { anyOf: [{ type: "object" }], properties: {} }],
    ["$ref", { $ref: "https://example.com/schema" }],
    ["$ref", { $ref: "#/$defs/absent" }],
    ["$ref", { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }],
    ["required", { type: "object", required: ["a"], additionalProperties: false }],
    ["enum", { type: "string", enum: [1] }],
    ["type", { type: "text" }],
    ["minItems", { type: "array", minItems: 3, maxItems: 2 }],
    ["false", { type: "array", items: { anyOf: [false] } }],
    ["x-other", { type: "string", "x-other": 1 }],
  ])("%s", (keyword, schema) => {
    let refused: unknown;
    try {
      schemaToGbnf(schema);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(SchemaError);
    expect((refused as SchemaError).keyword).toBe(keyword);
  });

  it("bounds depth and size", () => {
    let deep: Schema = { type: "string" };
    for (let level = 0; level < 100; level++) deep = { type: "array", items: deep };
    expect(() => schemaToGbnf(deep)).toThrow(/nested/);
    const names = Array.from({ length: 5000 }, (_, index) => [`p${index}`, { type: "string" }]);
    expect(() => schemaToGbnf({ type: "object", properties: Object.fromEntries(names) })).toThrow(
      /too large/,
    );
  });
});

describe("for any schema", () => {
  /** A schema with values that fulfil it. */
  const pair: fc.Arbitrary<{ schema: Schema; value: unknown }> = fc.letrec<{
    pair: { schema: Schema; value: unknown };
  }>((tie) => ({
    pair: fc.oneof(
      { maxDepth: 3, depthIdentifier: "schema" },
      fc
        .integer({ min: -1000, max: 1000 })
        .map((value) => ({ schema: { type: "integer", minimum: value - 3, maximum: value + 5 }, value })),
      fc.string({ unit: "grapheme" }).map((value) => ({ schema: { type: "string" }, value })),
      fc.boolean().map((value) => ({ schema: { type: ["boolean", "null"] }, value })),
      fc
        .jsonValue({ maxDepth: 2, noUnicodeString: false })
        .map((value) => ({ schema: { const: value }, value })),
      fc.array(tie("pair"), { minLength: 1, maxLength: 3 }).map((pairs) => ({
        schema: {
          type: "array",
          items: { anyOf: pairs.map(({ schema }) => schema) },
          maxItems: pairs.length,
        },
        value: pairs.map(({ value }) => value),
      })),
      fc
        .dictionary(
          fc.string({ maxLength: 5 }).filter((name) => name !== "__proto__"),
          fc.tuple(tie("pair"), fc.boolean(), fc.boolean()),
          { maxKeys: 4 },
        )
        .map((members) => {
          const entries = Object.entries(members);
          const present = entries.filter(([, [, isRequired, isPresent]]) => isRequired || isPresent);
          return {
            schema: {
              type: "object",
              properties: Object.fromEntries(entries.map(([name, [{ schema }]]) => [name, schema])),
              required: entries.filter(([, [, isRequired]]) => isRequired).map(([name]) => name),
            },
            value: Object.fromEntries(present.map(([name, [{ value }]]) => [name, value])),
          };
        }),
    ),
  })).pair;

  it("lets a value that fulfils it through", async () => {
    await fc.assert(
      fc.asyncProperty(pair, async ({ schema, value }) => {
        const text = JSON.stringify(value);
        // Plain strings are written without \u escapes by the grammar.
        fc.pre(
          !/\\u/.test(text) &&
            !text.includes("\x7F") &&
            !/[eE]|\d{16}|-0/.test(text.replace(/"(?:[^"\\]|\\.)*"/g, "")),
        );
        expect((await readerOf(schema))(text), `${text} for ${JSON.stringify(schema)}`).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it("refuses lengths that add up to too much, but counts none that stand in a text", () => {
    const wide = (count: number, schema: object) =>
      schemaToGbnf({ type: "array", items: { anyOf: Array.from({ length: count }, () => schema) } });
    expect(() => wide(26, { type: "string", maxLength: 1999 })).toThrow("too large");
    expect(() => wide(24, { type: "string", maxLength: 1999 })).not.toThrow();
    expect(() => wide(26, { const: 'a"{0,1999}' })).not.toThrow();
  });

  it("writes integer ranges exactly", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(fc.integer({ min: -1200, max: 1200 })),
        fc.option(fc.integer({ min: -1200, max: 1200 })),
        fc.array(fc.integer({ min: -13_000, max: 13_000 }), { minLength: 20, maxLength: 20 }),
        async (least, most, values) => {
          const range = integerRange(least, most);
          expect(range === null).toBe(least !== null && most !== null && least > most);
          if (range === null) return;
          const accepts = await grammarOf(`root ::= ${range}`);
          const near = [least, most].flatMap((bound) =>
            bound === null ? [] : [bound - 1, bound, bound + 1],
          );
          for (const value of [...values, ...near]) {
            const isInside = (least === null || value >= least) && (most === null || value <= most);
            expect(accepts(String(value)), `${value} in ${least}..${most}`).toBe(isInside);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
