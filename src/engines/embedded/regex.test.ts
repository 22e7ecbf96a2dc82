/** Regular expressions as grammars, judged by llama.cpp's own reader and compared with what JavaScript's RegExp says. */
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { invertRanges, parseRegex, RegexError } from "../../core/regex.ts";
import { type Addon, openAddon } from "./addon.ts";
import { grammarText, schemaToGbnf } from "./gbnf.ts";
import { addRegex } from "./gbnf-regex.ts";

let addon: Addon;

beforeAll(async () => {
  addon = await openAddon(() => {});
});

async function matcherOf(grammar: string): Promise<(text: string) => boolean> {
  const reader = new addon.AddonGrammar(grammar, { addonExports: addon });
  return (text) => reader.isTextCompatible(text);
}

async function matcher(source: string): Promise<(text: string) => boolean> {
  const rules = new Map<string, string>();
  return await matcherOf(grammarText(addRegex(source, rules), rules));
}

describe("a whole answer", () => {
  it.each<[string, string[], string[]]>([
    ["a", ["a"], ["", "b", "aa"]],
    ["^yes|no$", ["yes", "no"], ["maybe", "yesno"]],
    [String.raw`\d{3}-\d{4}`, ["555-1234"], ["55-1234", "555-12345"]],
    ["[A-Z][a-z]*( [A-Z][a-z]*)?", ["Ada", "Ada Lovelace"], ["ada", "Ada "]],
    ["(?:ab|c)+", ["ab", "cab"], ["", "a"]],
    ["(?<year>20[0-9]{2})", ["2026"], ["1999"]],
    ["[^a-z\\n]{2}", ["A1", "é🌍"], ["a1", "A\n"]],
    ["a.c", ["abc", "a🌍c"], ["a\nc", "ac"]],
    ["(a*)*b", ["b", "aab"], ["a"]],
    ["(a?b?)+", ["a", "ba", "abab"], ["c"]],
    ["x{2,}", ["xx", "xxxx"], ["x"]],
    ["a{0}b", ["b"], ["ab"]],
    [String.raw`\x41\u00e9\u{1F30D}\.\/\-`, ["Aé🌍./-"], ["A"]],
    ["[\\]\\-x]", ["]", "-", "x"], ["a"]],
    ["[a-]", ["a", "-"], ["b"]],
    [String.raw`\s\S\w\W`, [" xy ", "\txy-"], ["xxxx"]],
  ])("%s", async (source, yes, no) => {
    const matches = await matcher(source);
    for (const text of yes) expect([text, matches(text)]).toEqual([text, true]);
    for (const text of no) expect([text, matches(text)]).toEqual([text, false]);
  });

  it.each([
    ["(?=a)", /look-around/],
    ["(?<!a)b", /look-around/],
    ["(?i)a", /flags/],
    [String.raw`\bword`, /\\b/],
    [String.raw`(a)\1`, /\\1/],
    [String.raw`\p{L}`, /\\p/],
    ["a^b", /\^ at character 2/],
    ["(a$)b", /\$ at character 3/],
    ["*a", /nothing before it/],
    ["a**", /repetition/],
    ["a{2,1}", /least is above/],
    ["a{5000}", /1999/],
    ["(a", /not closed/],
    ["a)", /character 2/],
    ["[a", /not closed/],
    ["[]a", /empty class/],
    ["[z-a]", /makes no sense/],
    ["a\\", /backslash/],
    [`${"(".repeat(100)}a${")".repeat(100)}`, /nested deeper/],
    ["a".repeat(5000), /4000/],
    ["\ud800", /well-formed/],
  ])("%s is refused", (source, why) => {
    expect(() => parseRegex(source)).toThrow(RegexError);
    expect(() => parseRegex(source)).toThrow(why);
  });

  it.each([
    ["stars within each other", `${"(".repeat(40)}a${")*".repeat(40)}b`, "aaaaaaaab"],
    ["stars behind what may be empty", "(a?".repeat(25) + ")*".repeat(25), "aaaaaaaa"],
    ["options that may all be empty", `(${"a?".repeat(60)})*`, "aaaaaaaa"],
    ["options of options", "(a?".repeat(40) + ")?".repeat(40), "aaaaaaaa"],
  ])("%s are followed in few ways, however deep", async (_name, source, text) => {
    expect((await matcher(source))(text)).toBe(true);
  });

  it.each([
    ["what may be empty is counted", `(${"a?".repeat(60)}){0,2}`],
    ["much may be left out", "a?".repeat(900)],
    ["much begins alike", `(${"a?".repeat(900)})*`],
  ])("is refused rather than slow where %s", (_name, source) => {
    expect(() => addRegex(source, new Map())).toThrow(/in more than \d+ ways at once/);
  });

  // Small ones: RegExp tries one way after the other, which takes it hours with what may be empty in ten places. regex-solid.test.ts
  // has the large ones.
  it("agrees with RegExp on whatever is put together", async () => {
    const depthIdentifier = fc.createDepthIdentifier();
    const { source } = fc.letrec<{ source: string; atom: string; group: string }>((tie) => ({
      atom: fc.constantFrom("a", "b", "[ab]", "[^a]", ".", "\\d", "\\w", "\\.", "1"),
      group: fc.tuple(tie("source"), tie("source")).map(([one, two]) => `(${one}|${two})`),
      source: fc
        .array(
          fc.tuple(
            fc.oneof({ maxDepth: 2, depthIdentifier }, tie("atom"), tie("group")),
            fc.constantFrom("", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"),
          ),
          { maxLength: 3, depthIdentifier },
        )
        .map((parts) => parts.map((part) => part.join("")).join("")),
    }));
    const text = fc.string({ unit: fc.constantFrom("a", "b", "1", ".", "é"), maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(source, fc.array(text, { minLength: 1, maxLength: 8 }), async (expression, texts) => {
        const matches = await matcher(expression);
        const truth = new RegExp(`^(?:${expression})$`, "u");
        for (const candidate of texts) expect(matches(candidate)).toBe(truth.test(candidate));
      }),
      { numRuns: 200 },
    );
  });
});

describe("a pattern inside a JSON schema", () => {
  const string = async (pattern: string) => await matcherOf(schemaToGbnf({ type: "string", pattern }));

  it("finds something anywhere unless it is tied", async () => {
    const loose = await string("b+");
    for (const text of ["b", "abc", "bbb"]) expect(loose(JSON.stringify(text))).toBe(true);
    expect(loose('"ac"')).toBe(false);
    const tied = await string("^b+$");
    expect(tied('"bb"')).toBe(true);
    expect(tied('"abb"')).toBe(false);
    const half = await string("^b|c$");
    for (const text of ["bx", "xc"]) expect(half(JSON.stringify(text))).toBe(true);
    expect(half('"xb"')).toBe(false);
  });

  it("writes what JSON must escape", async () => {
    const quoted = await string(String.raw`^"\\\n$`);
    expect(quoted(JSON.stringify('"\\\n'))).toBe(true);
    const any = await string("^.$");
    for (const text of ['"', "\\", "\t", "x"]) expect(any(JSON.stringify(text))).toBe(true);
    expect(any('"\n"')).toBe(false);
    expect(any('"""')).toBe(false);
    expect(() => schemaToGbnf({ type: "string", pattern: "\\x01" })).toThrow(/control character/);
  });
});

it("inverts a set of characters without surrogates", () => {
  expect(invertRanges([[0, 0x10ffff]])).toEqual([]);
  expect(invertRanges([])).toEqual([
    [0, 0xd7ff],
    [0xe000, 0x10ffff],
  ]);
});
