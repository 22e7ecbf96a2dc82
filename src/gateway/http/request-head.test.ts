import fc from "fast-check";
import { expect, test } from "vitest";
import { parseRequestHead } from "./request-head.ts";

const line = fc.constantFrom(
  ...["Host: a", "host: a", "Host: ab", "X-A: 1", "X-A: 12", "x-a:1", "Content-Length: 1", "Cookie: c"],
  ...["Connection: close", " folded", "X-A: 1\n", "no colon", ""],
);
const head = fc
  .array(line, { maxLength: 6 })
  .map((lines) => ["GET / HTTP/1.1", "Host: h", ...lines].join("\r\n"));

function read(text: string, known?: Parameters<typeof parseRequestHead>[1]) {
  try {
    return parseRequestHead(text, known);
  } catch (error) {
    return error;
  }
}

test("what the head before had said changes nothing in what is read", () => {
  fc.assert(
    fc.property(head, head, (before, text) => {
      const known = read(before);
      if (known instanceof Error) return;
      expect(read(text, (known as ReturnType<typeof parseRequestHead>).lines)).toEqual(read(text));
    }),
    { numRuns: 2000 },
  );
});

test("a line that is said again is the same object, and one that goes on behind it is not", () => {
  const { lines } = parseRequestHead("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1");
  const again = parseRequestHead("POST /b HTTP/1.1\r\nHost: a\r\nX-A: 12", lines);
  expect(again.lines[0]).toBe(lines[0]);
  expect(again.headers["x-a"]).toBe("12");
});
