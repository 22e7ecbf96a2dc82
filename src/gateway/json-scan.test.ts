import fc from "fast-check";
import { expect, test } from "vitest";
import { entryValue, scanObject, writeObject } from "./json-scan.ts";

/** What JSON.parse says of the bytes; null where it refuses them or answers no object. */
function parsed(bytes: Buffer): Record<string, unknown> | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    if (Object.keys(value).length === 0) return {};
    return parseApart(text);
  } catch {
    return null; // not JSON
  }
}

let documents = 0;

/**
 * JSON.parse of V8 13.6 takes a key with escapes for a key of an earlier object whose text begins like it: after
 * one with the key of a backslash it reads one with the key of a quote as having the former. An object that begins like no earlier one is read right.
 */
function parseApart(text: string): Record<string, unknown> {
  documents += 1;
  const { [`apart ${documents}`]: _, ...rest } = JSON.parse(
    text.replace("{", `{"apart ${documents}":0,`),
  ) as Record<string, unknown>;
  return rest;
}

function agree(bytes: Buffer): void {
  const [scanned, expected] = [scanObject(bytes), parsed(bytes)];
  expect(scanned === null).toBe(expected === null);
  if (scanned === null || expected === null) return;
  expect(new Set(scanned.entries.keys())).toEqual(new Set(Object.keys(expected)));
  for (const key of Object.keys(expected)) expect(entryValue(scanned, key)).toEqual(expected[key]);
  expect(parsed(writeObject(scanned, () => true, new Map()))).toEqual(expected);
}

const key = fc.oneof(
  fc.constantFrom("model", "a", '"', "\\", "__proto__", "é"),
  fc.string({ unit: "binary" }),
);
const document = fc
  .tuple(fc.array(fc.tuple(key, fc.jsonValue()), { maxLength: 6 }), fc.constantFrom("", " ", "\n\t"))
  .map(([entries, space]) => {
    const members = entries.map(
      ([name, value]) => `${JSON.stringify(name)}${space}:${JSON.stringify(value)}`,
    );
    return `${space}{${space}${members.join(`${space},`)}${space}}`;
  });

test("agrees with JSON.parse on every document", () => {
  fc.assert(fc.property(document, (text) => agree(Buffer.from(text))));
});

test("agrees with JSON.parse on documents with bytes changed, left out or put in", () => {
  const piece = fc.constantFrom(
    ...'{}[]",:\\u0 1-+.eEtfn/\n\t\0\x1f\x7f',
    "true",
    "null",
    "1e5",
    "\\u00e",
    "0x",
    "é",
  );
  fc.assert(
    fc.property(document, fc.array(fc.tuple(fc.nat(), piece, fc.nat(3)), { maxLength: 3 }), (text, edits) => {
      let changed = text;
      for (const [at, put, left] of edits) {
        const i = at % (changed.length + 1);
        changed = changed.slice(0, i) + put + changed.slice(i + left);
      }
      agree(Buffer.from(changed));
    }),
    { numRuns: 2000 },
  );
});

test("agrees with JSON.parse on any bytes in an object", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (inside) =>
      agree(Buffer.concat([Buffer.from('{"a":'), inside, Buffer.from("}")])),
    ),
    { numRuns: 2000 },
  );
});

test.each([
  "",
  "{",
  "[]",
  "1",
  '{"a":01}',
  '{"a":1.}',
  '{"a":"\u0001"}',
  '{"a":1}}',
  "\ufeff{}",
  '{"a":tru}',
])("refuses %s as JSON.parse does", (text) => {
  expect(parsed(Buffer.from(text))).toBeNull();
  expect(scanObject(Buffer.from(text))).toBeNull();
});

test("deep nesting does not exhaust the stack", () => {
  const deep = `{"a":${"[".repeat(500_000)}${"]".repeat(500_000)}}`;
  expect(scanObject(Buffer.from(deep))?.entries.get("a")).toEqual({ start: 5, end: 1_000_005 });
});

test("what is plain, and what is written with some entries replaced", () => {
  const scan = (text: string) => {
    const scanned = scanObject(Buffer.from(text));
    if (scanned === null) throw new Error(text);
    return scanned;
  };
  expect(scan('{"a":1,"b":{"a":2,"a":3}}').isPlain).toBe(true);
  expect(scan('{"a":1,"a":1}').isPlain).toBe(false);
  expect(scan('{"\\u0061":1}').isPlain).toBe(false);
  const replaced = new Map([
    ["a", '"x"'],
    ["new", "[]"],
  ]);
  const written = writeObject(
    scan('{"a":1, "gone":2, "seed": 18446744073709551615 }'),
    (name) => name !== "gone",
    replaced,
  );
  expect(written.toString()).toBe('{"a":"x","seed":18446744073709551615,"new":[]}');
  expect(writeObject(scan("{}"), () => true, new Map()).toString()).toBe("{}");
});
