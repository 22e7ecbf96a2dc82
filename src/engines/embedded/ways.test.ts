/** That what core/schema-size lets through really has few ways in the grammars made here, where a model looks for the worst. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { excessOfRegex, excessOfSchema } from "../../core/schema-size.ts";
import { grammarText, schemaToGbnf } from "./gbnf.ts";
import { SchemaError } from "./gbnf-keywords.ts";
import { addRegex } from "./gbnf-regex.ts";
import { GrammarWalk } from "./gbnf-walk.ts";

// The same ones each time: how long one takes to follow differs by far.
/** Most ways on a path of that many characters which goes where there are most; ends where there are too many to count. */
function worstOf(grammar: string, characters: number, enough: number): number {
  const walk = new GrammarWalk(grammar);
  let worst = walk.ways;
  for (let step = 0; step < characters && worst < enough; step += 1) {
    const open = walk.next().map((code) => walk.after(code));
    if (open.length === 0) break;
    // Of as many, one that goes on: the last was written last.
    const most = open.reduce((best, ways) => (ways.length >= best.length ? ways : best));
    walk.go(most);
    worst = Math.max(worst, walk.ways);
  }
  return worst;
}

const ref = fc.constantFrom({ $ref: "#/$defs/a" }, { $ref: "#/$defs/b" });
const plain = fc.constantFrom<object>({ type: "integer" }, { const: "x" }, { enum: ["x", "xy"] });
const within = fc.oneof({ weight: 3, arbitrary: ref }, { weight: 2, arbitrary: plain });
const names = ["k", "n", "m"];
const list = fc
  .tuple(within, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 1 }))
  .map(([items, minItems, more]) => ({ type: "array", items, minItems, maxItems: minItems + more }));
const object = fc
  .tuple(fc.dictionary(fc.constantFrom(...names), within, { minKeys: 1, maxKeys: 3 }), fc.subarray(names))
  .map(([properties, wanted]) => {
    const required = wanted.filter((name) => Object.hasOwn(properties, name));
    return { type: "object", properties, required, additionalProperties: false };
  });
const value = fc
  .array(fc.oneof(list, object, plain), { minLength: 1, maxLength: 3 })
  .map((anyOf): object => (anyOf.length === 1 ? (anyOf[0] ?? {}) : { anyOf }));
const schemas = fc
  .tuple(value, value)
  .map(([a, b]) => ({ $ref: "#/$defs/a", $defs: { a, b } }) as { readonly [keyword: string]: unknown });

/** Null where no grammar can be made of it. */
function grammarOf(schema: { readonly [keyword: string]: unknown }): string | null {
  try {
    return schemaToGbnf(schema);
  } catch (error) {
    if (error instanceof SchemaError) return null;
    throw error;
  }
}

test("a schema that is let through has few ways, and what doubles them is not let through", () => {
  const seen = { letThrough: 0, refused: 0, exploding: 0 };
  fc.assert(
    fc.property(schemas, (schema) => {
      const grammar = grammarOf(schema);
      if (grammar === null) return;
      const isLetThrough = excessOfSchema(schema) === null;
      seen[isLetThrough ? "letThrough" : "refused"] += 1;
      const worst = worstOf(grammar, 80, 3000);
      if (worst >= 3000) seen.exploding += 1;
      // White space, names and digits of one level come to what there is through levels.
      if (isLetThrough) expect(worst).toBeLessThan(1500);
    }),
    { numRuns: 100, seed: 7 },
  );
  expect(seen.letThrough).toBeGreaterThan(20);
  expect(seen.exploding).toBeGreaterThan(0);
});

const pieces = fc.stringMatching(
  /^(?:[ab]|\((?:[ab]|[ab]\{0,3\}|[ab]\|ab){1,3}\)(?:\{[0-3],[4-9]\}|\*)?){1,4}$/,
);

test("an expression has no more ways than it is told to have", () => {
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 60 }), (piece, times) => {
      const source = `(${piece}){0,${times}}`;
      if (excessOfRegex(source) !== null) return;
      const rules = new Map<string, string>();
      expect(worstOf(grammarText(addRegex(source, rules), rules), 60, 3000)).toBeLessThanOrEqual(1000);
    }),
    { numRuns: 100, seed: 7 },
  );
});
