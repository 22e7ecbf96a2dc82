/**
 * What is just within the limits of core/schema-size, on the real library: compiled and followed in no time, or the test takes longer
 * than it may. What is beyond them would not end at all.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { excessOfRegex, excessOfSchema } from "../../core/schema-size.ts";
import { grammarText, schemaToGbnf } from "./gbnf.ts";
import { addRegex } from "./gbnf-regex.ts";
import { type DecodeContext, loadModel, type Model } from "./native.ts";

const starter = join(import.meta.dirname, "../../../starter/model/berth-starter-F16.gguf");
let model: Model;
let context: DecodeContext;

beforeAll(async () => {
  model = await loadModel(starter, 1, () => undefined);
  context = await model.createContext(1, 256);
});
afterAll(() => context.forget(0, 0));

/** The beginning of an answer that follows the grammar. */
async function follow(grammar: string): Promise<string> {
  const sampler = context.createSampler({ temperature: 0, seed: 1 }, grammar);
  context.forget(0, 0);
  const chosen: number[] = [];
  let [tokens, position]: [readonly number[], number] = [model.tokenize("a b c", false), 0];
  for (let step = 0; step < 40; step += 1) {
    const [output] = await context.decode([{ sequence: 0, position, tokens, isOutputWanted: true }]);
    position += tokens.length;
    const token = await sampler.sample(output ?? -1);
    if (model.isEnd(token)) break;
    chosen.push(token);
    tokens = [token];
  }
  sampler.dispose();
  return Buffer.concat(chosen.map((token) => model.vocabulary.bytesOf(token))).toString();
}

const list = (items: unknown, count: number) => ({ type: "array", items, minItems: count, maxItems: count });

/** Each level has two ways to go on, of which only its end tells. */
function doubling(levels: number) {
  const levelsOf = Array.from({ length: levels }, (_, level) => {
    const next = { $ref: `#/$defs/d${level + 1}` };
    return [`d${level}`, { anyOf: [list(next, 1), list(next, 2)] }];
  });
  const $defs = Object.fromEntries([...levelsOf, [`d${levels}`, { type: "integer" }]]);
  return { $ref: "#/$defs/d0", $defs };
}

const properties = (count: number, value: object) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, value]));

test.each<[string, { readonly [keyword: string]: unknown }, RegExp]>([
  ["two ways at each of eight levels", doubling(8), /^(\[\s*){8}\d+/],
  [
    "a thousand values that begin alike",
    { enum: Array.from({ length: 1000 }, (_, i) => `value ${i}`) },
    /^"value \d+"$/,
  ],
  [
    "a thousand properties that may all be left out",
    { type: "object", properties: properties(1000, { type: "null" }) },
    /^\{/,
  ],
  [
    "lengths that add up to the most",
    { type: "object", properties: properties(25, { type: "string", maxLength: 1990 }), required: ["p0"] },
    /^\{\s*"p0"/,
  ],
])("a schema of %s", async (_name, schema, begins) => {
  expect(excessOfSchema(schema)).toBeNull();
  expect(await follow(schemaToGbnf(schema))).toMatch(begins);
});

test.each([
  ["(a{1,30}){1,30}", /^a+$/],
  ["a{0,1999}", /^a*$/],
  [`(${Array.from({ length: 500 }, (_, index) => `aaa${index}`).join("|")})`, /^aaa\d+$/],
])("the expression %s", async (source, begins) => {
  expect(excessOfRegex(source)).toBeNull();
  const rules = new Map<string, string>();
  expect(await follow(grammarText(addRegex(source, rules), rules))).toMatch(begins);
});

test("what would stop it is refused before", () => {
  const itself = { $ref: "#" };
  expect(excessOfSchema({ anyOf: [list(itself, 1), list(itself, 2)] })).toMatch(/more than 256 ways/);
  expect(excessOfSchema(doubling(30))).toMatch(/more than 256 ways/);
  expect(excessOfRegex("((a{0,46}){0,46}){0,46}")).toMatch(/more than 1000 ways/);
});
