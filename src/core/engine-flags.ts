/**
 * The one door for an engine's own arguments: reads `extra_args` against the engine's list of allowed flags, each with the
 * type of its value, and gives them back in one exact form, so that what reaches a command line was written here and not
 * by whoever sent it. Pure. Knows no engine; each has its list.
 */
import { refuseUnsafeArgs } from "./engine-args.ts";

export type Flag =
  | { readonly kind: "integer"; readonly min: number; readonly max: number }
  | { readonly kind: "number"; readonly min: number; readonly max: number }
  /** Takes no value; `negatable` ones also exist as `--no-name`. */
  | { readonly kind: "switch"; readonly negatable?: true }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** The name of something that the engine has built in. */
  | { readonly kind: "name" }
  /** A JSON object of whole numbers from 0 on, under these keys; `--name.key 3` is the same. */
  | { readonly kind: "counts"; readonly keys: readonly string[] };

export type FlagTable = {
  /** For sentences. */
  readonly engine: string;
  /** By name, without dashes in front. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** One-letter and other single-dash forms, without the dash, and what they stand for. */
  readonly short?: Readonly<Record<string, string>>;
  /** Names that this version of the engine has; null where that is not known. */
  readonly known?: ReadonlySet<string> | null;
};

export type FlagsOutcome =
  /** `--name`, or `--name` and its value as the next item; each name once, in the order of its first mention. */
  { readonly ok: true; readonly value: readonly string[] } | { readonly ok: false; readonly reason: string };

/** Shorter beginnings of a name say too little of what was meant. */
const shortestAbbreviation = 4;

type Found = { readonly name: string; readonly isNegated: boolean; readonly key: string | null };
type Read = Found | { readonly reason: string };

/**
 * Understands `--name value`, `--name=value`, both in one piece with a space, `_` for `-`, unambiguous beginnings of names,
 * `--name.key value` and JSON; of a repeated flag the last counts. Everything that is not on the list is refused by name.
 */
export function readFlags(args: readonly string[], table: FlagTable): FlagsOutcome {
  const unsafe = refuseUnsafeArgs(args);
  if (unsafe !== null) return { ok: false, reason: unsafe };
  const values = new Map<string, string | null>();
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    const end = arg.search(/[=\s]/);
    const written = end === -1 ? arg : arg.slice(0, end);
    const inline = end === -1 ? null : arg.slice(end + 1).trim();
    const found = findFlag(written, table);
    if ("reason" in found) return { ok: false, reason: found.reason };
    const flag = table.flags[found.name];
    if (flag === undefined) return { ok: false, reason: unknownFlag(written, table) };
    const full = `--${found.isNegated ? "no-" : ""}${found.name}`;
    if (flag.kind === "switch") {
      if (inline !== null) return { ok: false, reason: `${full} takes no value.` };
      values.delete(found.isNegated ? `--${found.name}` : `--no-${found.name}`);
      values.set(full, null);
      continue;
    }
    const given = inline ?? args[++at] ?? null;
    const value = given === null ? null : readValue(flag, given, found.key, values.get(full) ?? null);
    if (value === null) return { ok: false, reason: `${full} takes ${describeValue(flag)}.` };
    values.set(full, value);
  }
  return {
    ok: true,
    value: [...values].flatMap(([name, value]) => (value === null ? [name] : [name, value])),
  };
}

/** The value of a flag in what `readFlags` gave; null where it is not among it. */
export function flagValue(args: readonly string[], name: string): string | null {
  const at = args.indexOf(`--${name}`);
  return at === -1 ? null : (args[at + 1] ?? null);
}

/** The arguments without one flag and its value. */
export function withoutFlag(args: readonly string[], name: string): readonly string[] {
  const at = args.indexOf(`--${name}`);
  return at === -1 ? args : args.toSpliced(at, 2);
}

function findFlag(written: string, table: FlagTable): Read {
  const short = /^-([A-Za-z]+)$/.exec(written)?.[1];
  if (short !== undefined) {
    const name = Object.hasOwn(table.short ?? {}, short) ? table.short?.[short] : undefined;
    return name === undefined
      ? { reason: unknownFlag(written, table) }
      : { name, isNegated: false, key: null };
  }
  const [, body, key = null] = /^--([A-Za-z][\w-]*)(?:\.([\w-]+))?$/.exec(written) ?? [];
  if (body === undefined) return { reason: unknownFlag(written, table) };
  const asked = body.replaceAll("_", "-");
  const names = [...namesOf(table)];
  const exact = names.find(({ text }) => text === asked);
  const near = names.filter(({ text }) => asked.length >= shortestAbbreviation && text.startsWith(asked));
  const chosen = exact ?? (near.length === 1 ? near[0] : undefined);
  if (chosen === undefined) {
    if (near.length === 0) return { reason: unknownFlag(written, table) };
    const list = near.map(({ text }) => `--${text}`).join(", ");
    return { reason: `${quote(written)} could be ${list}; write the whole name.` };
  }
  const { name, isNegated } = chosen;
  if (key !== null && table.flags[name]?.kind !== "counts") return { reason: unknownFlag(written, table) };
  if (table.known !== undefined && table.known !== null && !table.known.has(chosen.text)) {
    return { reason: `This version of the ${table.engine} engine has no --${chosen.text}.` };
  }
  return { name, isNegated, key };
}

function* namesOf({ flags }: FlagTable): Generator<{ text: string; name: string; isNegated: boolean }> {
  for (const [name, flag] of Object.entries(flags)) {
    yield { text: name, name, isNegated: false };
    if (flag.kind === "switch" && flag.negatable) yield { text: `no-${name}`, name, isNegated: true };
  }
}

/** The value as it is passed on, or null where it is none. `before` is what the same flag had until now. */
function readValue(flag: Flag, given: string, key: string | null, before: string | null): string | null {
  switch (flag.kind) {
    case "integer":
      return /^-?\d{1,10}$/.test(given) && isWithin(Number(given), flag) ? String(Number(given)) : null;
    case "number":
      return /^-?\d{1,10}(?:\.\d{1,10})?$/.test(given) && isWithin(Number(given), flag)
        ? String(Number(given))
        : null;
    case "choice":
      return flag.choices.includes(given) ? given : null;
    case "name":
      return /^[A-Za-z][\w-]{0,63}$/.test(given) ? given : null;
    case "counts":
      return readCounts(flag.keys, given, key, before);
    case "switch":
      return null;
  }
}

function isWithin(value: number, { min, max }: { readonly min: number; readonly max: number }): boolean {
  return value >= min && value <= max;
}

function readCounts(
  keys: readonly string[],
  given: string,
  key: string | null,
  before: string | null,
): string | null {
  let value: unknown;
  try {
    value = key === null ? JSON.parse(given) : { [key.replaceAll("-", "_")]: JSON.parse(given) };
  } catch {
    return null; // Not JSON; the sentence says what it should be.
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const isFine = Object.entries(value).every(
    ([name, count]) => keys.includes(name) && Number.isSafeInteger(count) && Number(count) >= 0,
  );
  if (!isFine) return null;
  const merged = { ...(JSON.parse(before ?? "{}") as object), ...value };
  return JSON.stringify(merged);
}

function describeValue(flag: Flag): string {
  switch (flag.kind) {
    case "integer":
      return `a whole number from ${flag.min} to ${flag.max}`;
    case "number":
      return `a number from ${flag.min} to ${flag.max}`;
    case "choice":
      return `one of ${flag.choices.join(", ")}`;
    case "name":
      return "a name of letters, digits, _ and -";
    case "counts":
      return `a JSON object of whole numbers with the keys ${flag.keys.join(", ")}`;
    case "switch":
      return "no value";
  }
}

const mostNamed = 12;

function unknownFlag(written: string, { engine, flags }: FlagTable): string {
  const names = Object.keys(flags).map((name) => `--${name}`);
  const shown = names.slice(0, mostNamed).join(", ");
  const rest =
    names.length > mostNamed
      ? `, and ${names.length - mostNamed} more that the reference of engines lists`
      : "";
  return `The ${engine} engine takes no argument ${quote(written)} from a deployment; it takes ${shown}${rest}.`;
}

/** Long arguments are cut in messages. */
function quote(text: string): string {
  return text.length <= 60 ? `"${text}"` : `"${text.slice(0, 57)}..."`;
}
