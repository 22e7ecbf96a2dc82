import { describe, expect, test } from "vitest";
import { excessOfRegex, excessOfSchema } from "./schema-size.ts";
import { effortOfRequest } from "./schema-ways.ts";

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
});

/** So many properties, by name. */
const many = (count: number, schema: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]));

/** As it is when it has been sent: what is in it twice is there twice. */
const reread = (schema: unknown): unknown => JSON.parse(JSON.stringify(schema));

describe("what takes too long to be looked through", () => {
  const chain = Array.from({ length: 4000 }, (_, i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }]);
  const wide = object(many(90, {}));
  const reversed = object(many(2400, {}), Object.keys(many(2400, {})).reverse());
  const listing = (word: string) =>
    object({ kind: { enum: Array.from({ length: 4000 }, (_, i) => `${word}${i}`) }, ...many(1500, {}) });
  test.each<[string, unknown]>([
    ["alternatives of many properties", { anyOf: Array.from({ length: 100 }, () => wide) }],
    ["properties that are required in another order", { anyOf: [reversed, reversed] }],
    ["what tells them apart is long lists", { anyOf: [listing("a"), listing("b")] }],
    [
      "each step of a long chain of references is entered",
      {
        properties: Object.fromEntries(chain.map(([name], i) => [`p${i}`, { $ref: `#/$defs/${name}` }])),
        $defs: { ...Object.fromEntries(chain), d4000: { type: "integer" } },
      },
    ],
    [
      "many are led to the same many",
      {
        properties: many(2000, { anyOf: [ref] }),
        $defs: { x: { anyOf: Array.from({ length: 2000 }, () => ({ type: "null" })) } },
      },
    ],
  ])("%s: refused", (_name, schema) => {
    expect(excessOfSchema(reread(schema))).toMatch(/more than 200000 steps/);
  });

  test("all schemas of a request count together", () => {
    const effort = effortOfRequest();
    const large = object(many(900, { anyOf: Array.from({ length: 5 }, () => ({ type: "null" })) }));
    const excesses = Array.from({ length: 60 }, () => excessOfSchema(reread(large), effort));
    expect([excesses[0], excesses.at(-1)]).toEqual([null, expect.stringContaining("steps")]);
  });
});

describe("the same alternatives, once more each time", () => {
  const twice = (levels: number) => {
    const defs = Array.from({ length: levels }, (_, i) => {
      const next = { $ref: `#/$defs/d${i + 1}` };
      return [`d${i}`, { anyOf: [next, next] }];
    });
    const $defs = { ...Object.fromEntries(defs), [`d${levels}`]: { type: "integer" } };
    return { $ref: "#/$defs/d0", $defs };
  };

  test.each([[9], [40], [1500]])("%d levels of references: refused", (levels) => {
    const schema = twice(levels);
    expect(excessOfSchema(schema)).toMatch(/leads to the same alternatives in more than 256 ways/);
    const within = { type: "array", items: { $ref: "#/$defs/d0" }, $defs: schema.$defs };
    expect(excessOfSchema(within)).toMatch(/leads to the same alternatives/);
  });

  test("a few are taken, and what leads back to itself", () => {
    expect(excessOfSchema(twice(8))).toBeNull();
    expect(excessOfSchema(recursive(ref, ref, list(ref, 2)))).toBeNull();
    expect(excessOfSchema({ anyOf: Array.from({ length: 200 }, () => ref), $defs: { x: {} } })).toBeNull();
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

  test.each(["a?".repeat(120), `(${"a|".repeat(80)}b)*`, "(a?b?c?){40}"])(
    "%s: refused for its steps",
    (source) => {
      expect(excessOfRegex(source)).toMatch(/may go on in more than 5000 ways at once/);
    },
  );

  test.each([
    "a?".repeat(90),
    "([a-z]|[0-9]|_|-){0,1999}",
    "(cat|dog|cow|horse){1,40}",
    "((a*)*b)*",
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
