/**
 * Regular expressions to GBNF: as a whole answer, or as what stands inside the quotes of a JSON string. Pure;
 * regex.ts reads the expression, gbnf.ts puts grammars together.
 */
import {
  parseRegex,
  type Ranges,
  RegexError,
  type RegexNode,
  type RegexOption,
  uniteRanges,
} from "../../core/regex.ts";
import { type Following, followToFind, followToMatch } from "../../core/regex-ways.ts";
import { excessOfFollowing } from "../../core/schema-size.ts";
import { solidRepeats } from "./regex-solid.ts";

/** How a set of characters is written down where the text goes. */
type WriteChars = (ranges: Ranges) => string;

/** Adds the rules for the texts that the whole expression matches and returns the expression for them; throws RegexError. */
export function addRegex(source: string, rules: Map<string, string>): string {
  const writer = new Writer(rules, "x", writeClass);
  return readSolid(source, followToMatch)
    .map(({ node }) => writer.write(node))
    .join(" | ");
}

/**
 * Adds the rules for a JSON string whose text the expression finds something in, as JSON Schema's `pattern` asks, and
 * returns the expression for it, without the quotes. Throws RegexError.
 * @param prefix starts the names of the rules that are added
 */
export function addPattern(source: string, rules: Map<string, string>, prefix: string): string {
  const writer = new Writer(rules, prefix, writeJsonChars);
  const write = ({ node, isTiedToStart, isTiedToEnd }: RegexOption) =>
    [isTiedToStart ? "" : "character*", writer.write(node), isTiedToEnd ? "" : "character*"].join(" ").trim();
  const options = readSolid(source, followToFind).map((option) => `(${write(option)})`);
  return `(${options.join(" | ")})`;
}

/** What can be written: it may have more ways than what was asked for, since what may be empty is said in several. */
function readSolid(source: string, follow: (options: readonly RegexOption[]) => Following): RegexOption[] {
  const options = parseRegex(source).map((option) => ({ ...option, node: solidRepeats(option.node) }));
  const excess = excessOfFollowing(follow(options));
  if (excess !== null) throw new RegexError(`${excess}.`);
  return options;
}

class Writer {
  readonly #rules: Map<string, string>;
  readonly #prefix: string;
  readonly #writeChars: WriteChars;
  /** Rules by their body, so that what occurs twice is written once. */
  readonly #known = new Map<string, string>();

  constructor(rules: Map<string, string>, prefix: string, writeChars: WriteChars) {
    this.#rules = rules;
    this.#prefix = prefix;
    this.#writeChars = writeChars;
  }

  write(node: RegexNode): string {
    switch (node.kind) {
      case "chars":
        return this.#writeChars(node.ranges);
      case "sequence":
        return node.items.length === 0 ? '""' : node.items.map((item) => this.write(item)).join(" ");
      case "choice":
        return `(${node.options.map((option) => this.write(option)).join(" | ")})`;
      case "repeat":
        return this.#repeat(node);
    }
  }

  /** What is repeated gets a name: llama.cpp repeats symbols more often than groups. */
  #repeat({ item, least, most }: Extract<RegexNode, { kind: "repeat" }>): string {
    return `${this.#name(this.write(item))}{${least},${most ?? ""}}`;
  }

  #name(body: string): string {
    const known = this.#known.get(body);
    if (known !== undefined) return known;
    const name = `${this.#prefix}${this.#rules.size}`;
    this.#rules.set(name, body);
    this.#known.set(body, name);
    return name;
  }
}

function writeClass(ranges: Ranges): string {
  const parts = ranges.map(([first, last]) =>
    first === last ? escapeCode(first) : `${escapeCode(first)}-${escapeCode(last)}`,
  );
  return `[${parts.join("")}]`;
}

function escapeCode(code: number): string {
  if ((code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a)) {
    return String.fromCharCode(code);
  }
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** Characters that JSON writes as a backslash and a letter; other control characters are left out: no \u escapes here. */
const jsonEscapes: readonly (readonly [number, string])[] = [
  [0x22, "\\x22"],
  [0x5c, "\\x5C"],
  [0x08, "b"],
  [0x0c, "f"],
  [0x0a, "n"],
  [0x0d, "r"],
  [0x09, "t"],
];
const unsafeInJson: Ranges = [
  [0x00, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x7f, 0x7f],
];

function writeJsonChars(ranges: Ranges): string {
  const plain = withoutRanges(ranges, unsafeInJson);
  const has = (code: number) => ranges.some(([first, last]) => code >= first && code <= last);
  const escapes = jsonEscapes.filter(([code]) => has(code)).map(([, letter]) => letter);
  const options = [
    ...(plain.length === 0 ? [] : [writeClass(plain)]),
    ...(escapes.length === 0 ? [] : [`"\\\\" [${escapes.join("")}]`]),
  ];
  if (options.length === 0)
    throw new RegexError("asks for a control character that only a \\u escape could write.");
  return options.length === 1 ? (options[0] ?? "") : `(${options.join(" | ")})`;
}

function withoutRanges(ranges: Ranges, removed: Ranges): Ranges {
  let left: (readonly [number, number])[] = [...ranges];
  for (const [from, to] of removed) {
    left = left.flatMap(([first, last]) => {
      if (to < first || from > last) return [[first, last] as const];
      const parts: (readonly [number, number])[] = [];
      if (first < from) parts.push([first, from - 1]);
      if (last > to) parts.push([to + 1, last]);
      return parts;
    });
  }
  return uniteRanges(left);
}
