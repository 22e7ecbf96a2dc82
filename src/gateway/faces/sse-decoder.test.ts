import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpError } from "../../schema/errors.ts";
import { SseDecoder, type SseEvent } from "./sse-decoder.ts";

function decode(pieces: readonly Buffer[]): SseEvent[] {
  const decoder = new SseDecoder();
  return pieces.flatMap((piece) => decoder.push(piece));
}

test.each([
  ["data: a\n\n", [{ name: "", data: "a" }]],
  ["data:a\r\n\r\n", [{ name: "", data: "a" }]],
  [
    "data: a\r\rdata: b\r\r",
    [
      { name: "", data: "a" },
      { name: "", data: "b" },
    ],
  ],
  [": waiting\n\nevent: ping\ndata: {}\n\n", [{ name: "ping", data: "{}" }]],
  ["data: a\ndata: b\n\n", [{ name: "", data: "a\nb" }]],
  ["event: lost\n\ndata\n\n", [{ name: "", data: "" }]],
  ["data:  two\n\n", [{ name: "", data: " two" }]],
  ["data: unfinished\n", []],
])("reads %j", (text, events) => {
  expect(decode([Buffer.from(text)])).toEqual(events);
});

test("events are the same wherever the bytes are cut", () => {
  const line = fc.constantFrom("data: grüße 🌍", "data: {}", "event: x", ": c", "", "", "id: 1", "data");
  const end = fc.constantFrom("\n", "\r\n", "\r");
  const stream = fc.array(fc.tuple(line, end)).map((lines) => Buffer.from(lines.flat().join("")));
  fc.assert(
    fc.property(stream, fc.infiniteStream(fc.integer({ min: 1, max: 7 })), (bytes, sizes) => {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value ?? 1;
        pieces.push(bytes.subarray(at, at + size));
        at += size;
      }
      expect(decode(pieces)).toEqual(decode([bytes]));
    }),
  );
});

test("an event without an end is not held for ever", () => {
  const decoder = new SseDecoder();
  const piece = Buffer.alloc(1024 * 1024, "x");
  expect(() => {
    for (let i = 0; i < 8; i += 1) decoder.push(piece);
  }).toThrow(HttpError);
});
