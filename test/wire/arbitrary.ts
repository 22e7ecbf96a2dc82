/**
 * Inputs made from a shape: ones that it accepts, and the same with one or many things wrong. Owns what hostile clients
 * send; must not know any operation.
 */
import fc from "fast-check";
import { z } from "zod";

type Shape = {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
};

export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    ...[
      null,
      true,
      -1,
      0,
      1,
      1e308,
      0.5,
      2 ** 53,
      -(2 ** 63),
      "",
      "1",
      "1e3",
      " 2 ",
      "\u0000",
      "\ud800",
      "\u202e",
    ],
    ...["../../etc/passwd", "'; DROP TABLE deployments; --", "$(reboot)", "http://169.254.169.254/", "%00"],
    ...["x".repeat(5000), [], {}, [[]], [null], { __proto__: { a: 1 } }, { constructor: 1 }, { length: -1 }],
  ),
);

/** Bodies for this shape: right, one thing wrong, many things wrong, or anything at all. */
export function anyBody(schema: z.ZodType): fc.Arbitrary<unknown> {
  const valid = accepted(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Shape);
  return fc.oneof(
    { weight: 2, arbitrary: valid },
    { weight: 4, arbitrary: fc.tuple(valid, changes(1)).map(([body, how]) => spoil(body, how)) },
    { weight: 3, arbitrary: fc.tuple(valid, changes(5)).map(([body, how]) => spoil(body, how)) },
    { weight: 1, arbitrary: hostile },
  );
}

/** Query strings and path parts for nobody in particular. */
export const hostileText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "..",
    ".",
    "/",
    "\u0000",
    "0",
    "-1",
    "now-5h",
    "now-1y",
    "99999999999999999999",
    "%",
    "a,b",
    "[]",
  ),
);

function accepted(shape: Shape): fc.Arbitrary<unknown> {
  if (shape.const !== undefined) return fc.constant(shape.const);
  if (shape.enum !== undefined) return fc.constantFrom(...shape.enum);
  const ways = shape.anyOf ?? shape.oneOf;
  if (ways !== undefined) return fc.oneof(...ways.map(accepted));
  switch (Array.isArray(shape.type) ? shape.type[0] : shape.type) {
    case "string":
      return fc
        .stringMatching(/^[a-z0-9][a-z0-9.-]*$/)
        .map((text) => text.padEnd(shape.minLength ?? 0, "x").slice(0, Math.min(shape.maxLength ?? 30, 30)));
    case "integer":
      return fc.integer({ min: lowest(shape), max: highest(shape) });
    case "number":
      return fc.double({ min: lowest(shape), max: highest(shape), noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(accepted(shape.items ?? {}), {
        minLength: shape.minItems ?? 0,
        maxLength: Math.min(shape.maxItems ?? 3, 3),
      });
    case "object": {
      const fields = Object.entries(shape.properties ?? {}).map(([name, own]) => [name, accepted(own)]);
      return fc.record(Object.fromEntries(fields), { requiredKeys: [...(shape.required ?? [])] as never[] });
    }
    default:
      return fc.jsonValue({ maxDepth: 1 });
  }
}

function lowest({ minimum, exclusiveMinimum }: Shape): number {
  return Math.max(minimum ?? 0, exclusiveMinimum === undefined ? -1e6 : exclusiveMinimum + 1e-3, -1e6);
}

function highest(shape: Shape): number {
  return Math.max(lowest(shape), Math.min(shape.maximum ?? 1e6, 1e6));
}

type Change = { readonly at: number; readonly how: "replace" | "remove" | "add"; readonly value: unknown };

function changes(most: number): fc.Arbitrary<readonly Change[]> {
  const change = fc.record({
    at: fc.nat(100),
    how: fc.constantFrom("replace" as const, "replace" as const, "remove" as const, "add" as const),
    value: hostile,
  });
  return fc.array(change, { minLength: 1, maxLength: most });
}

/** A copy with these changes, each at some place in it, however deep. */
function spoil(body: unknown, how: readonly Change[]): unknown {
  const copy = structuredClone(body);
  for (const { at, how: kind, value: given } of how) {
    // A later change may be within this one, and what was given is others' too.
    const value = structuredClone(given);
    const places = placesIn(copy);
    const place = places[at % Math.max(1, places.length)];
    if (place === undefined) return value;
    const { holder, key } = place;
    if (kind === "remove") Reflect.deleteProperty(holder, key);
    else put(holder, kind === "add" ? `${key}_` : key, value);
  }
  return copy;
}

function put(holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

function placesIn(value: unknown): { holder: object; key: string }[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [{ holder: value, key }, ...placesIn(inner)]);
}
