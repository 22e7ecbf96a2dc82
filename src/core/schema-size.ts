/**
 * Limits on what an answer's form may be told by: JSON schemas, with the patterns in them, and regular expressions. Engines compile
 * them before the first token, some while nothing else is served, and a few hundred bytes can be made to take minutes and
 * gigabytes. Pure, and linear in what it reads. Knows no engine: what one cannot enforce, it refuses itself.
 */
import type { Effort } from "./effort.ts";
import { parseRegex, RegexError, type RegexOption } from "./regex.ts";
import { type Following, followToFind, followToMatch } from "./regex-ways.ts";
import { effortOfRequest, excessOfWays } from "./schema-ways.ts";

export const schemaLimits = {
  /** Levels of objects and lists within each other. */
  depth: 64,
  /** Values of all kinds. */
  values: 20_000,
  /** Of `minLength`, `maxItems` and their like. */
  count: 100_000,
  regexCharacters: 4000,
  /** Characters that an expression comes to when its counted repetitions, `{2,5}`, are written out. */
  regexSize: 100_000,
  /** Ways in which an expression may have been read so far, all of which an engine follows side by side. */
  regexWays: 1000,
  /** Steps from all of these ways to what may come next: an engine makes them for each character, and compares them. */
  regexSteps: 5000,
} as const;

const counts = new Set(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]);

/**
 * What is over a limit, as the rest of a sentence about the schema; null where nothing is.
 * @param effort for all the schemas of a request, where there are several
 */
export function excessOfSchema(schema: unknown, effort: Effort = effortOfRequest()): string | null {
  return excessOfSize(schema) ?? excessOfWays(schema, writtenOut, effort);
}

/** The same for whatever a schema may be somewhere in. */
export function excessOfSize(schema: unknown): string | null {
  // A stack of its own: a value that is nested deeply must not use up the program's.
  const left: { readonly value: unknown; readonly depth: number }[] = [{ value: schema, depth: 0 }];
  let [values, patterns] = [0, 0];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { value, depth } = next;
    values += 1;
    if (values > schemaLimits.values) return `has more than ${schemaLimits.values} values`;
    if (typeof value !== "object" || value === null) continue;
    if (depth >= schemaLimits.depth) return `is nested more than ${schemaLimits.depth} deep`;
    for (const [key, inner] of Object.entries(value)) {
      const excess = excessOfKeyword(key, inner);
      if (excess !== null) return excess;
      if (key === "pattern" && typeof inner === "string") patterns += writtenOut(inner);
      if (patterns > schemaLimits.regexSize) {
        return `has patterns that come to more than ${schemaLimits.regexSize} characters in all when their repetitions are written out`;
      }
      left.push({ value: inner, depth: depth + 1 });
    }
  }
  return null;
}

function excessOfKeyword(key: string, value: unknown): string | null {
  if (counts.has(key) && typeof value === "number" && value > schemaLimits.count) {
    return `has a ${key} above ${schemaLimits.count}`;
  }
  if (key !== "pattern" || typeof value !== "string") return null;
  const excess = excessOf(value, followToFind);
  return excess === null ? null : `has a pattern that ${excess}`;
}

/** The same for a regular expression. One that is not well formed is measured as far as it can be read. */
export function excessOfRegex(source: string): string | null {
  return excessOf(source, followToMatch);
}

type Follow = (options: readonly RegexOption[]) => Following;

function excessOf(source: string, follow: Follow): string | null {
  if (source.length > schemaLimits.regexCharacters) {
    return `is longer than ${schemaLimits.regexCharacters} characters`;
  }
  const size = writtenOut(source);
  if (size > schemaLimits.regexSize) {
    return `comes to more than ${schemaLimits.regexSize} characters when its repetitions are written out`;
  }
  return excessOfFollowing(followingOf(source, size, follow));
}

/** What is too much of what an engine has to follow side by side, as the rest of a sentence about the expression. */
export function excessOfFollowing({ ways, steps }: Following): string | null {
  if (ways > schemaLimits.regexWays) {
    return `may be followed in more than ${schemaLimits.regexWays} ways at once: repetitions of different lengths lie within each other`;
  }
  if (steps > schemaLimits.regexSteps) {
    return `may go on in more than ${schemaLimits.regexSteps} ways at once: too much in it may be left out, or begins alike`;
  }
  return null;
}

/** One that is not in the part of the language that is known here is taken for as many ways as it has places. */
function followingOf(source: string, size: number, follow: Follow): Following {
  try {
    return follow(parseRegex(source));
  } catch (error) {
    if (error instanceof RegexError) return { ways: size, steps: 0 };
    throw error;
  }
}

/** Sizes of what is open: of each group what was read of it, and of the last thing in it, which a repetition repeats. */
type Open = { size: number; last: number };

function writtenOut(source: string): number {
  const open: Open[] = [{ size: 0, last: 0 }];
  const add = (size: number) => {
    const group = open.at(-1) ?? { size: 0, last: 0 };
    group.size += size;
    group.last = size;
  };
  // An escape, a class (one that is not closed goes on to the end, so that nothing is read twice), a group's border, a counted
  // repetition, or any other character.
  const pieces = /\\.|\[(?:\\.|[^\]\\])*(?:\]|$)|\(|\)|\{(\d{1,9})(?:,(\d{0,9}))?\}|./gs;
  for (const [piece, least, most] of source.matchAll(pieces)) {
    if (piece === "(") open.push({ size: 0, last: 0 });
    else if (piece === ")" && open.length > 1) add(open.pop()?.size ?? 0);
    else if (least !== undefined) {
      const group = open.at(-1) ?? { size: 0, last: 0 };
      const times = Math.max(1, Number(least), Number(most ?? 0));
      group.size += group.last * (times - 1);
      group.last *= times;
    } else add(1);
  }
  return open.reduce((sum, { size }) => sum + size, 0);
}
