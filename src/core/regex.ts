/**
 * Regular expressions as trees: what `response_format` regex and JSON Schema's `pattern` may say. Reads the part of the
 * language that a grammar can promise (no look-around, back references or word borders: those are refused by name).
 * Bounded in length, depth and size. Pure; gbnf-regex.ts writes the grammar.
 */

/** Code points from the first to the last of each pair, in order, without overlaps. */
export type Ranges = readonly (readonly [number, number])[];

export type RegexNode =
  | { readonly kind: "chars"; readonly ranges: Ranges }
  | { readonly kind: "sequence"; readonly items: readonly RegexNode[] }
  | { readonly kind: "choice"; readonly options: readonly RegexNode[] }
  /** `most` null: without end. */
  | {
      readonly kind: "repeat";
      readonly item: RegexNode;
      readonly least: number;
      readonly most: number | null;
    };

/** One way the whole text may be; a search may have anything in front of it and behind it unless it is tied there. */
export type RegexOption = {
  readonly node: RegexNode;
  readonly isTiedToStart: boolean;
  readonly isTiedToEnd: boolean;
};

/** An expression that cannot be enforced; the message completes "the expression …". */
export class RegexError extends Error {}

const longest = 4000;
const deepest = 50;
const mostNodes = 4000;
/** Of a counted repetition; llama.cpp repeats a rule less than 2000 times. */
const mostTimes = 1999;

const lastCodePoint = 0x10ffff;
const digits: Ranges = [[0x30, 0x39]];
const words: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
/** ECMAScript's white space and line ends. */
const spaces: Ranges = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Ranges = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];

/** Sorts and joins what overlaps or touches. */
export function uniteRanges(ranges: Ranges): Ranges {
  const united: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = united.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else united.push([first, last]);
  }
  return united;
}

/** All other characters, lone surrogates never. */
export function invertRanges(ranges: Ranges): Ranges {
  const inverted: [number, number][] = [];
  let next = 0;
  for (const [first, last] of uniteRanges([...ranges, [0xd800, 0xdfff]])) {
    if (first > next) inverted.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= lastCodePoint) inverted.push([next, lastCodePoint]);
  return inverted;
}

/** The options at the top of the expression; throws RegexError. */
export function parseRegex(source: string): readonly RegexOption[] {
  if (source.length > longest) throw new RegexError(`may have at most ${longest} characters.`);
  if (!source.isWellFormed()) throw new RegexError("is not well-formed Unicode.");
  return new Parser([...source]).whole();
}

class Parser {
  readonly #text: readonly string[];
  #at = 0;
  #depth = 0;
  #nodes = 0;

  constructor(text: readonly string[]) {
    this.#text = text;
  }

  whole(): RegexOption[] {
    const options: RegexOption[] = [];
    do {
      const isTiedToStart = this.#takeAll("^");
      const node = this.#sequence();
      const isTiedToEnd = this.#takeAll("$");
      options.push({ node, isTiedToStart, isTiedToEnd });
    } while (this.#take("|"));
    if (this.#at < this.#text.length) this.#refuseHere();
    return options;
  }

  #refuseHere(): never {
    const found = this.#text[this.#at] ?? "";
    if (found === "^" || found === "$") {
      throw new RegexError(`has ${found} at character ${this.#at + 1}; it can stand at its ends only.`);
    }
    throw new RegexError(`cannot be read at character ${this.#at + 1}.`);
  }

  #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #takeAll(character: string): boolean {
    let isThere = false;
    while (this.#take(character)) isThere = true;
    return isThere;
  }

  #counted<T extends RegexNode>(node: T): T {
    this.#nodes += 1;
    if (this.#nodes > mostNodes) throw new RegexError("is too large.");
    return node;
  }

  #choice(): RegexNode {
    this.#depth += 1;
    if (this.#depth > deepest) throw new RegexError(`is nested deeper than ${deepest} levels.`);
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    this.#depth -= 1;
    const [only, ...more] = options;
    return only !== undefined && more.length === 0 ? only : this.#counted({ kind: "choice", options });
  }

  #sequence(): RegexNode {
    const items: RegexNode[] = [];
    for (;;) {
      const next = this.#peek();
      if (next === undefined || next === "|" || next === ")" || next === "$" || next === "^") break;
      items.push(this.#repeated(this.#atom(next)));
    }
    const [only, ...more] = items;
    return only !== undefined && more.length === 0 ? only : this.#counted({ kind: "sequence", items });
  }

  #repeated(item: RegexNode): RegexNode {
    const times = this.#quantifier();
    if (times === null) return item;
    // A lazy quantifier finds another match first, but allows the same texts.
    this.#take("?");
    if (["*", "+", "?", "{"].includes(this.#peek() ?? "")) {
      throw new RegexError(`repeats a repetition at character ${this.#at + 1}; put it into a group.`);
    }
    const [least, most] = times;
    return this.#counted({ kind: "repeat", item, least, most });
  }

  /** Least and most, null without a quantifier. */
  #quantifier(): readonly [number, number | null] | null {
    if (this.#take("*")) return [0, null];
    if (this.#take("+")) return [1, null];
    if (this.#take("?")) return [0, 1];
    if (this.#peek() !== "{") return null;
    const match = /^\{(\d{1,5})(?:(,)(\d{1,5})?)?\}/.exec(this.#text.slice(this.#at, this.#at + 14).join(""));
    if (match === null) throw new RegexError(`has a { at character ${this.#at + 1} that counts nothing.`);
    this.#at += match[0].length;
    const least = Number(match[1]);
    const most = match[3] !== undefined ? Number(match[3]) : match[2] === undefined ? least : null;
    if (Math.max(least, most ?? 0) > mostTimes)
      throw new RegexError(`repeats something more than ${mostTimes} times.`);
    if (most !== null && least > most)
      throw new RegexError("has a repetition whose least is above its most.");
    return [least, most];
  }

  #atom(next: string): RegexNode {
    this.#at += 1;
    if (next === "(") return this.#group();
    if (next === "[") return this.#counted({ kind: "chars", ranges: this.#class() });
    if (next === ".") return this.#counted({ kind: "chars", ranges: invertRanges(lineEnds) });
    if (next === "\\") return this.#counted({ kind: "chars", ranges: this.#escape(false) });
    if (["*", "+", "?", "{", "}", "]"].includes(next)) {
      throw new RegexError(
        `has a ${next} at character ${this.#at} with nothing before it; write \\${next} for the character.`,
      );
    }
    return this.#counted({ kind: "chars", ranges: one(next) });
  }

  #group(): RegexNode {
    if (this.#take("?")) {
      const rest = this.#text.slice(this.#at, this.#at + 70).join("");
      const start = /^(?::|P?<[A-Za-z_]\w{0,60}>)/.exec(rest)?.[0];
      if (start === undefined) {
        throw new RegexError(
          `has a group of a kind that cannot be enforced at character ${this.#at} (look-around, flags).`,
        );
      }
      this.#at += start.length;
    }
    const node = this.#choice();
    if (!this.#take(")")) {
      if (this.#at < this.#text.length) this.#refuseHere();
      throw new RegexError("has a group that is not closed.");
    }
    return node;
  }

  #class(): Ranges {
    const isInverted = this.#take("^");
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take("]")) {
      const from = this.#classPart();
      const isRange = this.#peek() === "-" && this.#text[this.#at + 1] !== "]";
      if (!isRange) {
        ranges.push(...from);
        continue;
      }
      this.#at += 1;
      const first = single(from);
      const last = single(this.#classPart());
      if (first === null || last === null || first > last) {
        throw new RegexError(
          `has a class with a range that makes no sense before character ${this.#at + 1}.`,
        );
      }
      ranges.push([first, last]);
    }
    if (ranges.length === 0 && !isInverted)
      throw new RegexError("has an empty class, which nothing matches.");
    const listed = isInverted ? invertRanges(ranges) : uniteRanges(ranges);
    if (listed.length === 0) throw new RegexError("has a class that no character is in.");
    return listed;
  }

  #classPart(): Ranges {
    const next = this.#peek();
    if (next === undefined) throw new RegexError("has a class that is not closed.");
    this.#at += 1;
    return next === "\\" ? this.#escape(true) : one(next);
  }

  #escape(isInClass: boolean): Ranges {
    const next = this.#peek();
    if (next === undefined) throw new RegexError("ends in a backslash.");
    this.#at += 1;
    const known = namedClasses[next] ?? namedCharacters[next];
    if (known !== undefined) return known;
    if (next === "b" && isInClass) return one("\b");
    if (next === "x" || next === "u") return this.#hex(next);
    if (/[A-Za-z0-9]/.test(next)) {
      throw new RegexError(`has \\${next}, which cannot be enforced.`);
    }
    return one(next);
  }

  #hex(kind: "x" | "u"): Ranges {
    const rest = this.#text.slice(this.#at, this.#at + 10).join("");
    const pattern = kind === "x" ? /^[0-9a-fA-F]{2}/ : /^(?:[0-9a-fA-F]{4}|\{[0-9a-fA-F]{1,6}\})/;
    const found = pattern.exec(rest)?.[0];
    if (found === undefined) throw new RegexError(`has a \\${kind} without its hexadecimal digits.`);
    this.#at += found.length;
    const code = Number.parseInt(found.replace(/[{}]/g, ""), 16);
    if (code > lastCodePoint || (code >= 0xd800 && code <= 0xdfff)) {
      throw new RegexError(`names a character that does not exist (\\${kind}${found}).`);
    }
    return [[code, code]];
  }
}

const namedClasses: Readonly<Record<string, Ranges>> = {
  d: digits,
  D: invertRanges(digits),
  w: words,
  W: invertRanges(words),
  s: spaces,
  S: invertRanges(spaces),
};

const namedCharacters: Readonly<Record<string, Ranges>> = {
  n: one("\n"),
  r: one("\r"),
  t: one("\t"),
  f: one("\f"),
  v: one("\v"),
  "0": one("\0"),
};

function one(character: string): Ranges {
  const code = character.codePointAt(0) ?? 0;
  return [[code, code]];
}

/** The one character of the ranges, null when there are several. */
function single(ranges: Ranges): number | null {
  const [first, ...more] = ranges;
  return first !== undefined && more.length === 0 && first[0] === first[1] ? first[0] : null;
}
