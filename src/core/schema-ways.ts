/**
 * In how many ways an answer that follows a JSON schema may have been read so far, at most. Engines follow all of them side by side
 * and choose each token against every one, some while nothing else is served: lists of one or two lists of one or two (190 bytes)
 * have twice as many ways with each bracket, and stop an engine for good after thirty. Pure, and bounded in what it looks at.
 *
 * Only alternatives that begin alike and lie within each other multiply: the engine enters what is within while it cannot tell yet
 * in which alternative it is. So sets of alternatives that are followed together are led down into the values within, with the
 * number of ways of each, as deep as answers go.
 */
import { Effort, EffortSpent } from "./effort.ts";
import { type Alternatives, type SchemaObject, SchemaReader } from "./schema-parts.ts";

export const wayLimits = {
  /** Steps of looking, for all the schemas of one request: tens of milliseconds. What people write takes a hundredth of it. */
  steps: 200_000,
  /** Through what lies within each other. */
  nested: 256,
  /** Through texts and other values at one place; those of a long list differ soon. */
  plain: 20_000,
} as const;

/** Levels of an answer that are looked at: what grows with each is too much before. */
const deepest = 64;

/** Alternatives of one kind that are followed together, with the number of ways of each. */
type Together = { readonly kind: "object" | "array"; readonly ways: ReadonlyMap<SchemaObject, number> };

const tooMany = [
  `has alternatives that begin alike within each other and may be followed in more than ${wayLimits.nested} ways at once`,
  "(a property of its own in front tells them apart)",
].join(" ");

const tooManyDetours = `leads to the same alternatives in more than ${wayLimits.nested} ways before they begin`;
const tooLong = `needs more than ${wayLimits.steps} steps to be looked through`;

/** What looking at the schemas of one request may take. */
export function effortOfRequest(): Effort {
  return new Effort(wayLimits.steps);
}

/**
 * What is too much, as the rest of a sentence about the schema; null where nothing is.
 * @param sizeOfPattern how large an expression is that cannot be read here
 */
export function excessOfWays(
  schema: unknown,
  sizeOfPattern: (source: string) => number,
  effort: Effort,
): string | null {
  try {
    return excessWithin(schema, new SchemaReader(schema, sizeOfPattern, effort), effort);
  } catch (error) {
    if (error instanceof EffortSpent) return tooLong;
    throw error;
  }
}

function excessWithin(schema: unknown, reader: SchemaReader, effort: Effort): string | null {
  const seen = new Seen();
  const root = enter(reader, effort, [[schema, 1]]);
  if (typeof root === "string") return root;
  let level = root;
  for (let depth = 0; depth < deepest && level.length > 0; depth += 1) {
    const next: Together[] = [];
    for (const set of level) {
      effort.pay(set.ways.size);
      if (!seen.addSet(set)) continue;
      for (const within of reader.within([...set.ways.keys()], set.kind)) {
        const values = within.map((one) => [one.schema, set.ways.get(one.of) ?? 1] as const);
        const [[only, ways] = [undefined, 0]] = values;
        // Most values lie in one alternative, and many lead to the same.
        if (values.length === 1 && !seen.addValue(reader.alternativesOf(only), ways)) continue;
        const entered = enter(reader, effort, values);
        if (typeof entered === "string") return entered;
        next.push(...entered);
      }
    }
    level = next;
  }
  return null;
}

/** What is followed once these values begin, each in so many ways; a sentence where it is too much. */
function enter(
  reader: SchemaReader,
  effort: Effort,
  values: readonly (readonly [schema: unknown, ways: number])[],
): Together[] | string {
  const [objects, arrays] = [new Map<SchemaObject, number>(), new Map<SchemaObject, number>()];
  let [plain, detours] = [0, 0];
  for (const [schema, ways] of values) {
    const alternatives = reader.alternativesOf(schema);
    effort.pay(1 + alternatives.objects.length + alternatives.arrays.length);
    plain += ways * alternatives.plainWays;
    detours += ways * alternatives.detours;
    for (const one of alternatives.objects) objects.set(one, (objects.get(one) ?? 0) + ways);
    for (const one of alternatives.arrays) arrays.set(one, (arrays.get(one) ?? 0) + ways);
  }
  const sets = [
    { kind: "object", ways: objects },
    { kind: "array", ways: arrays },
  ] as const;
  if (detours > wayLimits.nested) return tooManyDetours;
  const isTooMuch = sets.some(({ ways }) => sum(ways.values()) > wayLimits.nested) || plain > wayLimits.plain;
  return isTooMuch ? tooMany : sets.filter(({ ways }) => ways.size > 0);
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, one) => total + one, 0);
}

/** What was looked at: each once. Both say false where it was. */
class Seen {
  readonly #numbers = new Map<SchemaObject, number>();
  readonly #sets = new Set<string>();
  readonly #values = new Map<Alternatives, Set<number>>();

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
