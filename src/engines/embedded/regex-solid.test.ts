import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRegex, type RegexNode } from "../../core/regex.ts";
import { followToFind } from "../../core/regex-ways.ts";
import { solidRepeats } from "./regex-solid.ts";

const texts = ["", "a", "b", "ab", "ba", "aab", "abab", "bbaab"];
const anyTimes = { least: 0, most: null } as const;

function letter(code: number): RegexNode {
  return { kind: "chars", ranges: [[code, code]] };
}

/** All expressions of these repetitions, as large as they come. */
function expressions(times: readonly { least: number; most: number | null }[]): fc.Arbitrary<RegexNode> {
  return fc.letrec<{ node: RegexNode; repeat: RegexNode }>((tie) => {
    const several = fc.array(tie("node"), { maxLength: 4 });
    return {
      node: fc.oneof(
        { maxDepth: 8, depthSize: "medium" },
        fc.constantFrom(letter(97), letter(98)),
        tie("repeat"),
        several.map((items): RegexNode => ({ kind: "sequence", items })),
        several
          .filter((options) => options.length > 0)
          .map((options): RegexNode => ({ kind: "choice", options })),
      ),
      repeat: fc
        .tuple(tie("node"), fc.constantFrom(...times))
        .map(([item, { least, most }]): RegexNode => ({ kind: "repeat", item, least, most })),
    };
  }).node;
}

/** Where a text may be at when the node has been read, from where it may have been before: never more than its length. */
function read(node: RegexNode, text: string, from: ReadonlySet<number>): ReadonlySet<number> {
  switch (node.kind) {
    case "chars": {
      const isIn = (at: number) =>
        at < text.length &&
        node.ranges.some(([first, last]) => first <= text.charCodeAt(at) && text.charCodeAt(at) <= last);
      return new Set([...from].filter(isIn).map((at) => at + 1));
    }
    case "sequence":
      return node.items.reduce((places, item) => read(item, text, places), from);
    case "choice":
      return new Set(node.options.flatMap((option) => [...read(option, text, from)]));
    case "repeat": {
      let places = from;
      for (let time = 0; time < node.least; time += 1) places = read(node.item, text, places);
      const all = new Set(places);
      // One more time than the text is long comes to no place that is new.
      for (let time = node.least; time < (node.most ?? node.least + text.length + 1); time += 1) {
        places = read(node.item, text, places);
        for (const place of places) all.add(place);
      }
      return all;
    }
  }
}

const matches = (node: RegexNode, text: string) => read(node, text, new Set([0])).has(text.length);

function isSolid(node: RegexNode): boolean {
  if (node.kind === "chars") return true;
  if (node.kind === "repeat") return !matches(node.item, "") && isSolid(node.item);
  return (node.kind === "sequence" ? node.items : node.options).every(isSolid);
}

function sizeOf(node: RegexNode): number {
  if (node.kind === "chars") return 1;
  if (node.kind === "repeat") return 1 + sizeOf(node.item);
  const parts = node.kind === "sequence" ? node.items : node.options;
  return parts.reduce((sum, part) => sum + sizeOf(part), 1);
}

describe("any expression", () => {
  it("has the same texts without repeating what may be empty", () => {
    const counted = [
      { least: 0, most: 0 },
      { least: 0, most: 1 },
      { least: 1, most: 1 },
      { least: 0, most: 2 },
      { least: 1, most: 3 },
      { least: 2, most: 2 },
      { least: 2, most: null },
    ];
    fc.assert(
      fc.property(expressions([anyTimes, anyTimes, { least: 1, most: null }, ...counted]), (node) => {
        fc.pre(sizeOf(node) < 60);
        const written = solidRepeats(node);
        expect(isSolid(written)).toBe(true);
        for (const text of texts) expect([text, matches(written, text)]).toEqual([text, matches(node, text)]);
      }),
      { numRuns: 300 },
    );
  });

  it("is no larger afterwards, and has no more ways, unless it counts what may be empty", () => {
    const uncounted = [anyTimes, { least: 1, most: null }, { least: 0, most: 1 }];
    fc.assert(
      fc.property(expressions(uncounted), (node) => {
        const written = solidRepeats(node);
        expect(sizeOf(written)).toBeLessThanOrEqual(sizeOf(node));
        expect(waysOf(written)).toBeLessThanOrEqual(waysOf(node));
      }),
      { numRuns: 300 },
    );
  });
});

function waysOf(node: RegexNode): number {
  return followToFind([{ node, isTiedToStart: false, isTiedToEnd: true }]).ways;
}

function solidOf(source: string): RegexNode[] {
  return parseRegex(source).map(({ node }) => solidRepeats(node));
}

it.each([
  [`${"(".repeat(45)}a${")*".repeat(45)}`, "a*"],
  ["((a+)*)+", "a*"],
  ["(a+)+", "a+"],
  ["(a?(b?(c?)*)*)*", "(a|(b|c))*"],
  ["(a+b*)*", "(ab*)*"],
  ["(a{2,})*", "(a{2,})*"],
  ["((a?){1,3}b)*", "(a{0,3}b)*"],
  ["(a?){1,1}", "a?"],
  ["(a?b?){0,2}", "(ab?|b){0,2}"],
])("%s is %s", (source, same) => {
  const [written, expected] = [solidOf(source), parseRegex(same).map(({ node }) => node)];
  expect(written).toEqual(expected);
});

it("what counts too many parts that may be empty is refused", () => {
  expect(() => solidOf(`(${"a?".repeat(300)}){0,2}`)).toThrow(/too many parts/);
});
