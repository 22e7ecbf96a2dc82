import { describe, expect, test } from "vitest";
import { excessOfRegex, excessOfSchema } from "./schema-size.ts";

const list = (items: unknown, minItems: number) => ({ type: "array", items, minItems, maxItems: minItems });
const object = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  ...{ type: "object", properties, required, additionalProperties: false },
});
const ref = { $ref: "#/$defs/x" };
const recursive = (...anyOf: unknown[]) => ({ ...ref, $defs: { x: { anyOf } } });

/** Written once each, followed twice as often at each level. */
function chain(levels: number): unknown {
  const defs = Array.from({ length: levels }, (_, level) => {
    const next = { $ref: `#/$defs/d${level + 1}` };
    return [`d${level}`, { anyOf: [list(next, 1), list(next, 2)] }];
  });
  return { $ref: "#/$defs/d0", $defs: Object.fromEntries([...defs, [`d${levels}`, { type: "integer" }]]) };
}

describe("alternatives that begin alike within each other", () => {
  test.each([
    ["a list of one or two of its kind", recursive(list(ref, 1), list(ref, 2))],
    ["written out, not recursive", chain(12)],
    ["the same by its own root", { anyOf: [list({ $ref: "#" }, 1), list({ $ref: "#" }, 2)] }],
    [
      "objects that differ after what lies within",
      recursive(object({ next: ref, a: { type: "string" } }), object({ next: ref, b: { type: "string" } })),
    ],
    [
      "objects that need not say what would tell them apart",
      recursive(
        object({ kind: { const: "a" }, next: ref }, ["next"]),
        object({ kind: { const: "b" }, next: ref }, ["next"]),
      ),
    ],
    [
      "objects that take any name",
      recursive(
        { type: "object", additionalProperties: ref },
        { type: "object", additionalProperties: ref, minProperties: 1 },
      ),
    ],
    ["by a list of types", recursive({ type: ["array", "null"], items: ref }, { items: ref, minItems: 1 })],
    [
      "by a reference that is written otherwise",
      { ...recursive(list(ref, 1), list(ref, 2)), $ref: "#/%24defs/x" },
    ],
    [
      "beside other alternatives",
      {
        ...recursive({ type: "null" }),
        $defs: { x: { anyOf: [{ type: "null" }], oneOf: [list(ref, 1), list(ref, 2)] } },
      },
    ],
    [
      "by its own properties beside others",
      recursive({ ...object({ next: ref, a: {} }), allOf: [object({ next: ref, b: {} })] }),
    ],
    ["items that are listed", recursive({ type: "array", prefixItems: [ref, ref] }, list(ref, 1))],
  ])("%s: refused", (_name, schema) => {
    expect(excessOfSchema(schema)).toMatch(/begin alike within each other and .* more than 256 ways at once/);
  });

  const binary = { op: { type: "string" }, left: ref, right: ref };
  test.each<[string, unknown]>([
    ["a tree", recursive(object({ value: { type: "integer" }, children: list(ref, 3) }))],
    [
      "an expression whose forms say first what they are",
      recursive(
        object({ kind: { const: "add" }, ...binary }),
        object({ kind: { const: "not" }, right: ref }),
        object({ kind: { enum: ["lit", "name"] }, text: { type: "string" } }),
        { type: "integer" },
      ),
    ],
    [
      "forms that name different things first",
      recursive(object({ a: {}, next: ref }), object({ b: {}, next: ref })),
    ],
    ["one or none", recursive(list(ref, 2), { type: "null" })],
    ["any value, or one of a kind", { anyOf: [object({ a: {} }), {}, list({}, 2)] }],
    ["a kind whose parts may be anything", recursive(object({ next: { anyOf: [ref, { type: "object" }] } }))],
    ["written out a few times", chain(7)],
    [
      "many alternatives side by side",
      { anyOf: Array.from({ length: 200 }, (_, i) => object({ [`p${i}`]: {} })) },
    ],
    ["many values", { enum: Array.from({ length: 5000 }, (_, i) => `value ${i}`) }],
    ["what refers to itself", { $ref: "#" }],
    ["nothing that is a schema", { type: 7, properties: 3, anyOf: "x", items: null, $ref: "#/no/%where" }],
  ])("%s: taken", (_name, schema) => {
    expect(excessOfSchema(schema)).toBeNull();
  });

  test("a hundred kinds of event with the same twenty fields are told apart by what they say first", () => {
    const fields = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`field${i}`, ref]));
    const events = Array.from({ length: 100 }, (_, i) => object({ type: { const: `event${i}` }, ...fields }));
    expect(excessOfSchema(recursive(...events))).toBeNull();
  });

  test("what takes too long to tell apart is refused", () => {
    const wide = Array.from({ length: 100 }, () =>
      object(Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`p${i}`, {}]))),
    );
    expect(excessOfSchema({ anyOf: wide })).toMatch(/more than 256 ways/);
  });
});

describe("expressions", () => {
  test.each(["((a{0,46}){0,46}){0,46}", "(.{1,300}){1,300}", "(a|ab){2,900}", "(x+y?){700}"])(
    "%s: refused",
    (source) => {
      const excess = /more than 1000 ways at once: repetitions of different lengths lie within each other$/;
      expect(excessOfRegex(source)).toMatch(excess);
      expect(excessOfSchema({ type: "string", pattern: `^${source}$` })).toMatch(excess);
    },
  );

  test("what may begin anywhere in a text is followed from everywhere", () => {
    expect(excessOfSchema({ pattern: "^.{1,1900}" })).toBeNull();
    expect(excessOfSchema({ pattern: ".{1,1900}" })).toMatch(/more than 1000 ways/);
  });

  test.each([
    "^[a-zA-Z0-9._%+-]{1,64}@[a-zA-Z0-9.-]{1,255}\\.[a-zA-Z]{2,24}$",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "(([01]?[0-9]|2[0-3]):[0-5][0-9]){1,40}",
    ".{0,1999}",
    "(ab){0,999}",
    '([^"]*,)*[^"]*',
    "(?=a)b{1,400}",
  ])("%s: taken", (source) => {
    expect(excessOfRegex(source)).toBeNull();
  });

  test("all of a schema count together", () => {
    const properties = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`p${i}`, { pattern: "^[a-z]{1,1900}$" }]),
    );
    expect(excessOfSchema({ properties })).toMatch(
      /patterns that come to more than 100000 characters in all/,
    );
  });
});
