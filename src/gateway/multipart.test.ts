import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpError } from "../schema/errors.ts";
import { boundaryOf, readForm } from "./multipart.ts";

/** The body and boundary that Node's own client makes of a form. */
async function encode(fields: readonly (readonly [string, string])[]): Promise<[Buffer, string]> {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  const response = new Response(form);
  const boundary = boundaryOf(response.headers.get("content-type") ?? "");
  return [Buffer.from(await response.arrayBuffer()), boundary ?? ""];
}

test("reads what a client writes", async () => {
  // Line ends are written as CRLF by the standard, so values have none of their own here.
  const text = fc.string({ unit: "grapheme" }).filter((value) => !/[\r\n]/.test(value));
  const name = fc.stringMatching(/^[a-z_]{1,12}$/);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, text), { minLength: 1 }), async (fields) => {
      const expected = new Map<string, string[]>();
      for (const [key, value] of fields)
        expected.set(key, [...(expected.get(key) ?? []), value.toWellFormed()]);
      expect(readForm(...(await encode(fields)))).toEqual(expected);
    }),
  );
});

test("takes a file's content as the value, and heads with other lines", () => {
  const body = [
    "--b",
    "content-type: text/plain",
    'Content-Disposition: form-data; name="input"; filename="a.txt"',
    "",
    "two\r\nlines",
    "--b--",
    "",
  ].join("\r\n");
  expect(readForm(Buffer.from(body), "b")).toEqual(new Map([["input", ["two\r\nlines"]]]));
});

test("whatever comes is read or refused", () => {
  const piece = fc.constantFrom(
    "--b",
    "\r\n",
    "--",
    'content-disposition: form-data; name="x"',
    "\n",
    "x",
    ":",
    ";",
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      try {
        readForm(Buffer.from(pieces.join("")), "b");
      } catch (error) {
        expect(error).toBeInstanceOf(HttpError);
      }
    }),
  );
});

test.each([
  ["", "its boundary does not occur"],
  ["--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1", "it ends within a part"],
  ["--b\r\n\r\n\r\n1\r\n--b--", "a part has no name"],
])("refuses %j", (body, why) => {
  expect(() => readForm(Buffer.from(body), "b")).toThrow(why);
});

test("only a form has a boundary", () => {
  expect(boundaryOf("application/json")).toBeNull();
  expect(boundaryOf('multipart/form-data; charset=utf-8; boundary="a b"')).toBe("a b");
  expect(() => boundaryOf("multipart/form-data")).toThrow("names no boundary");
});
