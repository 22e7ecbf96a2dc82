import fc from "fast-check";
import { expect, test } from "vitest";
import { createBodyReader } from "./response-body.ts";
import { MalformedResponse } from "./response-head.ts";

/** What a reader makes of these pieces. */
function bodyOf(pieces: readonly Buffer[]): string {
  const reader = createBodyReader({ kind: "chunked" });
  const body: Buffer[] = [];
  for (const piece of pieces) reader.push(piece, (part) => body.push(Buffer.from(part)));
  expect(reader.isDone).toBe(true);
  return Buffer.concat(body).toString("latin1");
}

test("a body in chunks is the same however it is cut into pieces and its sizes are written", () => {
  const chunk = fc.record({
    text: fc.string({ minLength: 1, maxLength: 40 }),
    isUpper: fc.boolean(),
    zeros: fc.nat({ max: 4 }),
    extension: fc.constantFrom("", ";a=b", " ;a"),
  });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 6 }), fc.array(fc.nat({ max: 400 })), (chunks, cuts) => {
      const parts = chunks.map(({ text, isUpper, zeros, extension }) => {
        const data = Buffer.from(text);
        const digits = data.length.toString(16);
        const size = "0".repeat(zeros) + (isUpper ? digits.toUpperCase() : digits);
        return Buffer.concat([Buffer.from(`${size}${extension}\r\n`), data, Buffer.from("\r\n")]);
      });
      const wire = Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
      const borders = [0, ...cuts.filter((cut) => cut < wire.length).sort((a, b) => a - b), wire.length];
      const pieces = borders.slice(1).map((end, at) => wire.subarray(borders[at], end));
      const expected = Buffer.from(chunks.map(({ text }) => text).join("")).toString("latin1");
      expect(bodyOf(pieces)).toBe(expected);
    }),
  );
});

test.each([
  ["a size that is none", "g\r\n"],
  ["no size", "\r\nab\r\n"],
  ["a size that ends in a bare line feed", "2\nab\r\n0\r\n\r\n"],
  ["a size with a sign", "+2\r\nab\r\n0\r\n\r\n"],
  ["a chunk that is longer than it said", "2\r\nabc\r\n0\r\n\r\n"],
  ["data that ends in a bare line feed", "2\r\nab\n0\r\n\r\n"],
  ["a size of nine digits", "100000000\r\nab"],
  ["bytes behind the end", "2\r\nab\r\n0\r\n\r\nx"],
])("%s is refused", (_name, wire) => {
  expect(() => bodyOf([Buffer.from(wire)])).toThrow(MalformedResponse);
});
