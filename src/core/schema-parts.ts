/**
 * A JSON schema as engines read it when they make a grammar of it: which alternatives a value has, and what lies within them. Owns
 * references, and what tells alternatives apart before a value within them begins. Pure; knows only what counts for that, and takes
 * whatever else it finds for anything. Pays for each step: a schema may lead to the same parts from everywhere.
 */
import type { Effort } from "./effort.ts";
import { parseRegex, RegexError } from "./regex.ts";
import { followToFind } from "./regex-ways.ts";

export type SchemaObject = { readonly [keyword: string]: unknown };

/** What a value may be. */
export type Alternatives = {
  readonly objects: readonly SchemaObject[];
  readonly arrays: readonly SchemaObject[];
  /** Ways at once through its texts and other plain values. */
  readonly plainWays: number;
  /** How often it is led to one of them once more: engines follow each of these ways before the value begins. */
  readonly detours: number;
};

/** A value within one alternative. */
export type Within = { readonly of: SchemaObject; readonly schema: unknown };

/** May be any value. */
const anything: SchemaObject = {};
const joining = ["anyOf", "oneOf", "allOf"] as const;
const holding = ["properties", "items", "prefixItems"] as const;
const containerWords = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
} as const;

export class SchemaReader {
  readonly #root: unknown;
  /** What a reader of an expression that is not known here is given for it. */
  readonly #sizeOfPattern: (source: string) => number;
  readonly #effort: Effort;
  readonly #known = new Map<SchemaObject, Alternatives>();
  readonly #led = new Map<SchemaObject, readonly SchemaObject[] | null>();
  readonly #waysTo = new Map<SchemaObject, number>();
  readonly #plainWays = new Map<SchemaObject, number>();
  readonly #orders = new Map<SchemaObject, Order>();

  constructor(root: unknown, sizeOfPattern: (source: string) => number, effort: Effort) {
    this.#root = root;
    this.#sizeOfPattern = sizeOfPattern;
    this.#effort = effort;
  }

  alternativesOf(schema: unknown): Alternatives {
    const node = asObject(schema);
    const known = this.#known.get(node);
    if (known !== undefined) return known;
    const found = this.#collect(node);
    this.#known.set(node, found);
    return found;
  }

  /** The values that may lie within alternatives of one kind: in each list what is entered without knowing of which. */
  within(group: readonly SchemaObject[], kind: "object" | "array"): Within[][] {
    return kind === "array" ? [group.flatMap(itemsOf)] : this.#withinObjects(group);
  }

  #collect(start: SchemaObject): Alternatives {
    const found = { objects: new Set<SchemaObject>(), arrays: new Set<SchemaObject>(), plainWays: 0 };
    let distinct = 0;
    const seen = new Set<SchemaObject>();
    const left = [start];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      this.#effort.pay(1);
      // A reference that leads to itself has no value.
      if (seen.has(next)) continue;
      seen.add(next);
      left.push(...(this.#ledTo(next) ?? []));
      if (!this.#isAlternative(next)) continue;
      distinct += 1;
      this.#addTyped(next, found);
    }
    const detours = this.#waysFrom(start) - distinct;
    return { ...found, objects: [...found.objects], arrays: [...found.arrays], detours };
  }

  /** In how many ways one is led to alternatives from here. */
  #waysFrom(start: SchemaObject): number {
    const begun = new Set<SchemaObject>();
    const left = [start];
    for (let next = left.at(-1); next !== undefined; next = left.at(-1)) {
      const led = this.#ledTo(next) ?? [];
      this.#effort.pay(1 + led.length);
      const unknown = begun.has(next) ? [] : led.filter((one) => !this.#waysTo.has(one) && !begun.has(one));
      begun.add(next);
      left.push(...unknown);
      if (unknown.length > 0) continue;
      left.pop();
      const ownWays = this.#isAlternative(next) ? 1 : 0;
      // What leads to itself is not known yet, and leads nowhere that way.
      this.#waysTo.set(next, ownWays + sum(led.map((one) => this.#waysTo.get(one) ?? 0)));
    }
    return this.#waysTo.get(start) ?? 0;
  }

  /** What it stands for; null where it says all itself. */
  #ledTo(schema: SchemaObject): readonly SchemaObject[] | null {
    const known = this.#led.get(schema);
    if (known !== undefined) return known;
    const lists = joining.map((word) => schema[word]).filter(Array.isArray);
    const listed = lists.length === 0 ? null : (lists.flat() as unknown[]).map(asObject);
    const led = typeof schema.$ref === "string" ? [asObject(this.#resolve(schema.$ref))] : listed;
    this.#effort.pay(1 + (led?.length ?? 0));
    this.#led.set(schema, led);
    return led;
  }

  /** Engines differ in what they make of alternatives beside properties or items: all of it counts. */
  #isAlternative(schema: SchemaObject): boolean {
    return this.#ledTo(schema) === null || holding.some((word) => schema[word] !== undefined);
  }

  #addTyped(
    schema: SchemaObject,
    found: { objects: Set<SchemaObject>; arrays: Set<SchemaObject>; plainWays: number },
  ): void {
    found.plainWays += this.#plainWaysOf(schema);
    if (isListed(schema)) return;
    const types = typesOf(schema);
    if (types.has("object")) found.objects.add(schema);
    if (types.has("array")) found.arrays.add(schema);
  }

  #plainWaysOf(schema: SchemaObject): number {
    const known = this.#plainWays.get(schema);
    if (known !== undefined) return known;
    const ways = Array.isArray(schema.enum)
      ? schema.enum.length
      : isListed(schema) || typeof schema.pattern !== "string"
        ? 1
        : this.#waysOfPattern(schema.pattern);
    this.#plainWays.set(schema, ways);
    return ways;
  }

  #waysOfPattern(source: string): number {
    this.#effort.pay(source.length);
    try {
      return followToFind(parseRegex(source)).ways;
    } catch (error) {
      if (error instanceof RegexError) return this.#sizeOfPattern(source);
      throw error;
    }
  }

  #resolve(reference: string): unknown {
    const found = resolveReference(this.#root, reference);
    return found === undefined ? anything : found;
  }

  #withinObjects(group: readonly SchemaObject[]): Within[][] {
    const open = group.flatMap((of) =>
      isOpen(of) ? [{ of, schema: of.additionalProperties ?? anything }] : [],
    );
    const names = new Set(group.flatMap((of) => Object.keys(propertiesOf(of))));
    const named = [...names].flatMap((name) => {
      this.#effort.pay(group.length);
      const members = group.filter((of) => Object.hasOwn(propertiesOf(of), name));
      const told = this.#byFirstWords(members, name).flatMap((part) => this.#unparted(part, name));
      return told.map((part) => [...part.map((of) => ({ of, schema: propertiesOf(of)[name] })), ...open]);
    });
    return open.length === 0 ? named : [...named, open];
  }

  /** Apart by the first property that all must say before this one, from lists of values: what most schemas do, and quickly seen. */
  #byFirstWords(members: readonly SchemaObject[], name: string): readonly (readonly SchemaObject[])[] {
    const [first] = members;
    if (first === undefined || members.length === 1) return [members];
    const said = this.#orderOf(first).required.find((word) =>
      members.every((member) => {
        this.#effort.pay(1);
        const order = this.#orderOf(member);
        return order.requiredNames.has(word) && placeBefore(order, word, name)?.values?.size === 1;
      }),
    );
    if (said === undefined) return [members];
    return [
      ...Map.groupBy(
        members,
        (member) => [...(this.#orderOf(member).places.get(said)?.values ?? [])][0],
      ).values(),
    ];
  }

  /** Parts of the members that nothing tells apart before this property comes. */
  #unparted(members: readonly SchemaObject[], name: string): SchemaObject[][] {
    const parts: SchemaObject[][] = [];
    for (const member of members) {
      const isWith = (part: readonly SchemaObject[]) =>
        part.some((other) => !this.#areTold(member, other, name));
      const joined = parts.filter(isWith);
      const rest = parts.filter((part) => !joined.includes(part));
      parts.splice(0, parts.length, ...rest, [...joined.flat(), member]);
    }
    return parts;
  }

  #areTold(a: SchemaObject, b: SchemaObject, name: string): boolean {
    const [inA, inB] = [this.#orderOf(a), this.#orderOf(b)];
    return this.#tells(inA, inB, name) || this.#tells(inB, inA, name);
  }

  /** True where the one has had to say something before the property comes that the other cannot have said. */
  #tells(one: Order, other: Order, name: string): boolean {
    if (other.isOpen) return false;
    return one.required.some((said) => {
      this.#effort.pay(1);
      const mine = placeBefore(one, said, name);
      if (mine === null) return false;
      const others = placeBefore(other, said, name);
      if (others === null) return true;
      if (mine.values === null || others.values === null) return false;
      this.#effort.pay(mine.values.size);
      const { values } = others;
      return ![...mine.values].some((value) => values.has(value));
    });
  }

  #orderOf(schema: SchemaObject): Order {
    const known = this.#orders.get(schema);
    if (known !== undefined) return known;
    const required = new Set<unknown>(Array.isArray(schema.required) ? schema.required : []);
    const properties = Object.entries(propertiesOf(schema));
    const order: Order = {
      places: new Map(
        properties.map(([name, value], at) => [name, { at, values: valuesOf(this.#plain(value)) }] as const),
      ),
      required: properties.map(([name]) => name).filter((name) => required.has(name)),
      requiredNames: required,
      isOpen: isOpen(schema),
    };
    this.#orders.set(schema, order);
    return order;
  }

  /** A property's schema, through one reference. */
  #plain(value: unknown): SchemaObject {
    const schema = asObject(value);
    const [target = schema] = typeof schema.$ref === "string" ? (this.#ledTo(schema) ?? []) : [];
    return target;
  }
}

/** What a reference within a schema (`#/…`) leads to; undefined where there is nothing, and for any other. */
export function resolveReference(root: unknown, reference: string): unknown {
  if (!/^#(\/|$)/.test(reference)) return undefined;
  let at: unknown = root;
  for (const part of reference.split("/").slice(1)) {
    const key = decoded(part)?.replaceAll("~1", "/").replaceAll("~0", "~");
    const isThere = key !== undefined && typeof at === "object" && at !== null && Object.hasOwn(at, key);
    at = isThere ? (at as Record<string, unknown>)[key] : undefined;
  }
  return at;
}

/** Undefined where it is not well formed. */
function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Where a property comes, and its values where they are listed. */
type Place = { readonly at: number; readonly values: ReadonlySet<string> | null };

/** The properties of an object, which come in their order. */
type Order = {
  readonly places: ReadonlyMap<string, Place>;
  readonly required: readonly string[];
  readonly requiredNames: ReadonlySet<unknown>;
  readonly isOpen: boolean;
};

function placeBefore({ places }: Order, said: string, name: string): Place | null {
  const place = places.get(said);
  return place !== undefined && place.at < (places.get(name)?.at ?? 0) ? place : null;
}

function asObject(value: unknown): SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as SchemaObject)
    : anything;
}

function propertiesOf(schema: SchemaObject): SchemaObject {
  return asObject(schema.properties);
}

/** It takes properties that it does not name. */
function isOpen(schema: SchemaObject): boolean {
  const { additionalProperties } = schema;
  const isSaid = additionalProperties !== undefined && additionalProperties !== false;
  return isSaid || (additionalProperties !== false && Object.keys(propertiesOf(schema)).length === 0);
}

function itemsOf(of: SchemaObject): Within[] {
  const listed = [of.items, of.prefixItems].filter(Array.isArray).flat() as unknown[];
  const every = Array.isArray(of.items) ? [] : [of.items ?? anything];
  return [...every, ...listed].map((schema) => ({ of, schema }));
}

function valuesOf(schema: SchemaObject): ReadonlySet<string> | null {
  const values = Array.isArray(schema.enum)
    ? schema.enum
    : schema.const === undefined
      ? null
      : [schema.const];
  return values === null ? null : new Set(values.map((value) => JSON.stringify(value)));
}

/** Its values are said one by one. */
function isListed(schema: SchemaObject): boolean {
  return schema.const !== undefined || Array.isArray(schema.enum);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

/** Of the two kinds that other values lie within. */
function typesOf(schema: SchemaObject): ReadonlySet<string> {
  if (schema.type !== undefined) return new Set([schema.type].flat().map(String));
  const kinds = (["object", "array"] as const).filter((kind) =>
    containerWords[kind].some((word) => schema[word] !== undefined),
  );
  const saysOther = ["pattern", "minLength", "maxLength", "format", "minimum", "maximum"];
  if (kinds.length > 0 || saysOther.some((word) => schema[word] !== undefined)) return new Set(kinds);
  return new Set(["object", "array"]);
}
