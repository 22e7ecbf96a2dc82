/**
 * In how many ways an answer that follows a JSON schema may have been read so far, at most. Engines follow all of them side by side
 * and choose each token against every one, some while nothing else is served: lists of one or two lists of one or two (190 bytes)
 * have twice as many ways with each bracket, and stop an engine for good after thirty. Pure, and bounded in what it looks at.
 *
 * Only alternatives that begin alike and lie within each other multiply: the engine enters what is within while it cannot tell yet
 * in which alternative it is. So sets of alternatives that are followed together are led down into the values within, with the
 * number of ways of each, as deep as answers go.
 */
import { type Alternatives, type SchemaObject, SchemaReader } from "./schema-parts.ts";

export const wayLimits = {
  /** Through what lies within each other. */
  nested: 256,
  /** Through texts and other values at one place; those of a long list differ soon. */
  plain: 20_000,
} as const;

/** Levels of an answer that are looked at: what grows with each is too much before. */
const deepest = 64;
/** Sets of alternatives that are looked at; a schema without doubt has one for each of its values. */
const mostSets = 20_000;
/** Values that are entered from sets, all together: what takes time. */
const mostEntered = 300_000;

/** Alternatives of one kind that are followed together, with the number of ways of each. */
type Together = { readonly kind: "object" | "array"; readonly ways: ReadonlyMap<SchemaObject, number> };

const tooMany = [
  `has alternatives that begin alike within each other and may be followed in more than ${wayLimits.nested} ways at once`,
  "(a property of its own in front tells them apart)",
].join(" ");

/**
 * What is too much, as the rest of a sentence about the schema; null where nothing is.
 * @param sizeOfPattern how large an expression is that cannot be read here
 */
export function excessOfWays(schema: unknown, sizeOfPattern: (source: string) => number): string | null {
  const reader = new SchemaReader(schema, sizeOfPattern);
  const seen = new Seen();
  let entries = 0;
  let level = enter(reader, [[schema, 1]]);
  for (let depth = 0; depth < deepest && level !== null && level.length > 0; depth += 1) {
    const next: Together[] = [];
    for (const set of level) {
      if (!seen.addSet(set)) continue;
      if (seen.size > mostSets || reader.isOverburdened) return tooMany;
      for (const within of reader.within([...set.ways.keys()], set.kind)) {
        entries += within.length;
        if (entries > mostEntered) return tooMany;
        const values = within.map((one) => [one.schema, set.ways.get(one.of) ?? 1] as const);
        const [[only, ways] = [undefined, 0]] = values;
        // Most values lie in one alternative, and many lead to the same.
        if (values.length === 1 && !seen.addValue(reader.alternativesOf(only), ways)) continue;
        const entered = enter(reader, values);
        if (entered === null) return tooMany;
        next.push(...entered);
      }
    }
    level = next;
  }
  return level === null ? tooMany : null;
}

/** What is followed once these values begin, each in so many ways; null where it is too much. */
function enter(
  reader: SchemaReader,
  values: readonly (readonly [schema: unknown, ways: number])[],
): Together[] | null {
  const [objects, arrays] = [new Map<SchemaObject, number>(), new Map<SchemaObject, number>()];
  let plain = 0;
  for (const [schema, ways] of values) {
    const alternatives = reader.alternativesOf(schema);
    plain += ways * alternatives.plainWays;
    for (const one of alternatives.objects) objects.set(one, (objects.get(one) ?? 0) + ways);
    for (const one of alternatives.arrays) arrays.set(one, (arrays.get(one) ?? 0) + ways);
  }
  const sets = [
    { kind: "object", ways: objects },
    { kind: "array", ways: arrays },
  ] as const;
  const isTooMuch = sets.some(({ ways }) => sum(ways.values()) > wayLimits.nested) || plain > wayLimits.plain;
  return isTooMuch ? null : sets.filter(({ ways }) => ways.size > 0);
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, one) => total + one, 0);
}

/** What was looked at: each once. Both say false where it was. */
class Seen {
  readonly #numbers = new Map<SchemaObject, number>();
  readonly #sets = new Set<string>();
  readonly #values = new Map<Alternatives, Set<number>>();

  get size(): number {
    return this.#sets.size;
  }

  addSet({ kind, ways }: Together): boolean {
    const parts = [...ways].map(([one, count]) => `${this.#numberOf(one)}x${count}`);
    const key = `${kind}:${parts.sort().join()}`;
    if (this.#sets.has(key)) return false;
    this.#sets.add(key);
    return true;
  }

  /** A value that is entered by itself, in so many ways. */
  addValue(alternatives: Alternatives, ways: number): boolean {
    const known = this.#values.get(alternatives) ?? new Set();
    if (known.has(ways)) return false;
    this.#values.set(alternatives, known.add(ways));
    return true;
  }

  #numberOf(one: SchemaObject): number {
    const number = this.#numbers.get(one) ?? this.#numbers.size;
    this.#numbers.set(one, number);
    return number;
  }
}
