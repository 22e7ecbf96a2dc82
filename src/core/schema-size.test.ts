import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { excessOfRegex, excessOfSchema } from "./schema-size.ts";

function nested(levels: number): unknown {
  let schema: unknown = { type: "string" };
  for (let i = 0; i < levels; i += 1) schema = { type: "array", items: schema };
  return schema;
}

describe("schemas", () => {
  test("what people send passes", () => {
    const person = {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 65_536, pattern: "^[A-Z][a-z]{0,40}( [A-Z][a-z]{0,40}){0,5}$" },
        // A property may be called as a keyword is.
        pattern: { type: "string" },
        maxItems: { type: "integer", maximum: 1e12 },
        tags: {
          type: "array",
          items: { enum: Array.from({ length: 2000 }, (_, i) => `t${i}`) },
          maxItems: 100,
        },
      },
      required: ["name"],
    };
    expect(excessOfSchema(person)).toBeNull();
    expect(excessOfSchema(nested(60))).toBeNull();
  });

  test.each([
    [nested(100), "is nested more than 64 deep"],
    [nested(200_000), "is nested more than 64 deep"],
    [{ enum: Array.from({ length: 30_000 }, (_, i) => i) }, "has more than 20000 values"],
    [{ type: "array", maxItems: 1e9 }, "has a maxItems above 100000"],
    [{ properties: { a: { minLength: 1e6 } } }, "has a minLength above 100000"],
    [
      { pattern: "((a{1,1000}){1,1000}){1,1000}" },
      "has a pattern that comes to more than 100000 characters when its repetitions are written out",
    ],
    [{ pattern: "a".repeat(4001) }, "has a pattern that is longer than 4000 characters"],
  ])("%#: %s", (schema, excess) => {
    expect(excessOfSchema(schema)).toBe(excess);
  });
});

describe("expressions", () => {
  test.each([
    "[0-9]{1,5}",
    "(\\d{3}-){2}\\d{4}",
    "\\({1000}[{9}]{5}",
    "a{",
    "a{,5}",
    ")(",
    "[",
    "(((",
    "x{0}",
  ])("%s passes", (source) => {
    expect(excessOfRegex(source)).toBeNull();
  });

  test.each(["(a{1000}){1000}", "((ab|c){400}){400}", "a{999999999}", "(x{100}y{100}z){1000}"])(
    "%s is too large",
    (source) => {
      expect(excessOfRegex(source)).toMatch(/written out/);
    },
  );

  test("any text is measured, and quickly however it is made", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."(){}[]\\,19a|*"), maxLength: 4000 }), (source) => {
        const excess = excessOfRegex(source);
        return excess === null || excess.includes("written out");
      }),
    );
  });
});
