/**
 * Follows a grammar as llama.cpp does, with all ways side by side, so that tests can count them. Reads the part of GBNF that gbnf.ts
 * writes. Only tests import it.
 */

/** A set of characters, or the name of a rule. */
type Item =
  | { readonly ranges: readonly (readonly [number, number])[]; readonly isInverted: boolean }
  | string;
type Rules = Map<string, Item[][]>;
/** What is still to be read on one way: items, the next one first. */
type Way = readonly [item: Item, rest: Way] | null;

export class GrammarWalk {
  readonly #rules: Rules;
  #ways: Way[];

  constructor(grammar: string) {
    this.#rules = readGrammar(grammar);
    this.#ways = this.#open([["root", null]]);
  }

  /** How many ways there are; llama.cpp tries each token against every one. */
  get ways(): number {
    return this.#ways.length;
  }

  /** A character of each kind that may come next. */
  next(): number[] {
    const first = this.#ways.flatMap((way) => {
      const item = way?.[0];
      if (item === undefined || typeof item === "string") return [];
      return item.isInverted ? [0x7a] : item.ranges.map(([from]) => from);
    });
    return [...new Set(first)];
  }

  /** The ways that are left after a character; it stays where it is. */
  after(code: number): Way[] {
    const left = this.#ways.flatMap((way): Way[] => {
      if (way === null || typeof way[0] === "string") return [];
      const isIn = way[0].ranges.some(([from, to]) => code >= from && code <= to);
      return isIn === way[0].isInverted ? [] : [way[1]];
    });
    return this.#open(left);
  }

  go(ways: Way[]): void {
    this.#ways = ways;
  }

  /** Ways that begin with a set of characters, each once. */
  #open(ways: readonly Way[]): Way[] {
    const found = new Map<string, Way>();
    const seen = new Set<string>();
    const left = [...ways];
    for (let way = left.pop(); way !== undefined; way = left.pop()) {
      const key = keyOf(way);
      if (seen.has(key)) continue;
      seen.add(key);
      if (way === null || typeof way[0] !== "string") found.set(key, way);
      else
        for (const option of this.#rules.get(way[0]) ?? [])
          left.push(option.reduceRight<Way>((rest, item) => [item, rest], way[1]));
    }
    return [...found.values()];
  }
}

const numbers = new WeakMap<object, number>();
let given = 0;
function keyOf(way: Way): string {
  const parts: string[] = [];
  for (let at = way; at !== null; at = at[1]) {
    const [item] = at;
    if (typeof item === "string") parts.push(item);
    else {
      if (!numbers.has(item)) numbers.set(item, ++given);
      parts.push(String(numbers.get(item)));
    }
  }
  return parts.join(" ");
}

function readGrammar(text: string): Rules {
  const rules: Rules = new Map();
  const lines = text.split(/\n(?=[\w-]+ ::= )/);
  for (const line of lines) {
    const [, name = "", body = ""] = /^([\w-]+) ::= ?([\s\S]*)$/.exec(line) ?? [];
    rules.set(name, new RuleReader(body, name, rules).options());
  }
  return rules;
}

class RuleReader {
  readonly #tokens: string[];
  readonly #name: string;
  readonly #rules: Rules;
  #at = 0;

  constructor(body: string, name: string, rules: Rules) {
    this.#tokens =
      body.match(/"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{\d+(?:,\d*)?\}|[\w-]+|[()|*+?]/g) ?? [];
    this.#name = name;
    this.#rules = rules;
  }

  options(): Item[][] {
    const options: Item[][] = [[]];
    while (this.#at < this.#tokens.length && this.#tokens[this.#at] !== ")") {
      const token = this.#tokens[this.#at++] ?? "";
      if (token === "|") options.push([]);
      else options.at(-1)?.push(...this.#repeated(this.#one(token)));
    }
    return options;
  }

  #one(token: string): Item[] {
    if (token === "(") {
      const within = this.#add(this.options());
      this.#at += 1;
      return [within];
    }
    if (token.startsWith('"')) {
      const codes = codesOf(token.slice(1, -1));
      return codes.map((code) => ({ ranges: [[code, code]], isInverted: false }));
    }
    if (token.startsWith("[")) return [readClass(token.slice(1, -1))];
    return [token];
  }

  #repeated(items: Item[]): Item[] {
    const [, least, comma, most] = /^\{(\d+)(,?)(\d*)\}$/.exec(this.#tokens[this.#at] ?? "") ?? [];
    const sign = this.#tokens[this.#at] ?? "";
    const bounds: readonly [number, number | null] | null =
      least !== undefined
        ? [Number(least), comma === "" ? Number(least) : most === "" ? null : Number(most)]
        : sign === "*"
          ? [0, null]
          : sign === "+"
            ? [1, null]
            : sign === "?"
              ? [0, 1]
              : null;
    if (bounds === null) return items;
    this.#at += 1;
    const [from, to] = bounds;
    // Nested, as llama.cpp does it: what may be left out lies within what came before it.
    let tail: Item[] = [];
    if (to === null) {
      const again = this.#add([]);
      this.#rules.set(again, [[...items, again], []]);
      tail = [again];
    } else for (let times = from; times < to; times += 1) tail = [this.#add([[...items, ...tail], []])];
    return [...Array.from({ length: from }, () => items).flat(), ...tail];
  }

  #add(options: Item[][]): string {
    const name = `${this.#name}.${this.#rules.size}`;
    this.#rules.set(name, options);
    return name;
  }
}

/** Characters of a literal or a class, escapes read. */
function codesOf(text: string): number[] {
  const pieces = text.matchAll(/\\x([0-9A-F]{2})|\\u([0-9A-F]{4})|\\U([0-9A-F]{8})|\\(.)|([\s\S])/gu);
  const named: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };
  return [...pieces].map(([, two, four, eight, escaped, plain = ""]) => {
    const hex = two ?? four ?? eight;
    if (hex !== undefined) return Number.parseInt(hex, 16);
    return (escaped === undefined ? plain : (named[escaped] ?? escaped)).codePointAt(0) ?? 0;
  });
}

function readClass(text: string): Item {
  const isInverted = text.startsWith("^");
  const parts =
    (isInverted ? text.slice(1) : text).match(
      /(?:\\x..|\\u.{4}|\\U.{8}|\\.|[\s\S])(?:-(?:\\x..|\\u.{4}|\\U.{8}|\\.|[^\]]))?/gu,
    ) ?? [];
  const ranges = parts.map((part): [number, number] => {
    const dash = part.length > 1 ? part.indexOf("-", 1) : -1;
    const [from = 0] = codesOf(dash === -1 ? part : part.slice(0, dash));
    const [to = from] = dash === -1 ? [] : codesOf(part.slice(dash + 1));
    return [from, to];
  });
  return { ranges, isInverted };
}
