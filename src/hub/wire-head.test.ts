import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHead } from "./wire-head.ts";

const parse = (...lines: readonly string[]) => parseHead(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`));

test("reads status, headers and lengths", () => {
  const bytes = Buffer.from('HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag:\t "x" \r\n\r\nhello');
  const head = parseHead(bytes);
  if (head === null || head === "incomplete") throw new Error("not read");
  expect(head).toMatchObject({ status: 206, contentBytes: 5, mayKeep: true });
  expect(bytes.subarray(head.headBytes).toString()).toBe("hello");
  expect(head.headers.get("etag")).toBe('"x"');
});

test("every part of a head is incomplete, whatever follows a whole one is not looked at", () => {
  const whole = Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx: y\r\n\r\n");
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.uint8Array(), (cut, rest) => {
      expect(parseHead(whole.subarray(0, cut))).toBe("incomplete");
      expect(parseHead(Buffer.concat([whole, rest]))).toMatchObject({ headBytes: whole.length });
    }),
  );
});

test.each([
  ["another protocol", ["SSH-2.0-OpenSSH_9.9"]],
  ["an answer before the answer", ["HTTP/1.1 100 Continue"]],
  ["a folded line", ["HTTP/1.1 200 OK", "content-length: 3", " 4"]],
  ["a space before the colon", ["HTTP/1.1 200 OK", "content-length : 3"]],
  ["a line without a name", ["HTTP/1.1 200 OK", ": 3"]],
  ["two lengths", ["HTTP/1.1 200 OK", "content-length: 3", "content-length: 4"]],
  ["a head without an end", ["HTTP/1.1 200 OK", `x: ${"y".repeat(70_000)}`]],
])("%s is not read", (_name, lines) => {
  expect(parse(...lines)).toBeNull();
});

test("a head that never ends is given up", () => {
  expect(parseHead(Buffer.alloc(70_000, "x"))).toBeNull();
});

test.each([
  ["none", ["HTTP/1.1 200 OK"]],
  ["chunked", ["HTTP/1.1 200 OK", "content-length: 3", "transfer-encoding: chunked"]],
  ["compressed", ["HTTP/1.1 200 OK", "content-length: 3", "content-encoding: gzip"]],
  ["negative", ["HTTP/1.1 200 OK", "content-length: -3"]],
  ["a list", ["HTTP/1.1 200 OK", "content-length: 3, 3"]],
  ["too large to count", ["HTTP/1.1 200 OK", `content-length: ${"9".repeat(16)}`]],
  ["of a body that does not come", ["HTTP/1.1 304 Not Modified", "content-length: 3"]],
])("a length that cannot be gone by is none: %s", (_name, lines) => {
  expect(parse(...lines)).toMatchObject({ contentBytes: null });
});

test.each([
  ["HTTP/1.1 200 OK", "x: y", true],
  ["HTTP/1.1 200 OK", "Connection: close", false],
  ["HTTP/1.1 200 OK", "Connection: Keep-Alive, Close", false],
  ["HTTP/1.0 200 OK", "x: y", false],
  ["HTTP/1.0 200 OK", "Connection: Keep-Alive", true],
])("%s with %s may be kept: %s", (first, line, mayKeep) => {
  expect(parse(first, line, "content-length: 0")).toMatchObject({ mayKeep });
});

test("never fails on anything, and never reads more than there is", () => {
  const line = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.constantFrom("HTTP/1.1 200 OK", "content-length: 5", "connection: close", ""),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const bytes = Buffer.from(lines.join("\r\n"));
      const head = parseHead(bytes);
      if (head !== null && head !== "incomplete") expect(head.headBytes).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
