/** The reader of requests: the same however bytes are cut, and never laxer than node:http's parser nor of another opinion. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readPieces, readWithNode } from "./reading.ts";

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
const value = fc.stringMatching(/^[\x21-\x7e\xa0-\xff]{0,12}(?:[ \t][\x21-\x7e]{1,8})?$/);
const names = ["host", "cookie", "Set-Cookie", "authorization", "x-a", "X-A", "connection", "constructor"];
const header = fc
  .tuple(
    fc.oneof(token, fc.constantFrom(...names)),
    fc.constantFrom("", " ", "\t "),
    value,
    fc.constantFrom("", " "),
  )
  // Those that frame have their own places below; node:http drops one that is named like an object's prototype.
  .filter(
    ([name]) =>
      !/^(?:host|expect|content-length|transfer-encoding|upgrade|connection|__proto__)$/i.test(name),
  )
  .map(([name, before, text, after]) => `${name}:${before}${text}${after}`);
const startLine = fc
  .tuple(
    fc.constantFrom("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"),
    fc.oneof(
      fc.stringMatching(/^\/[!$-;=?-~]{0,20}$/).filter((path) => !/[\\^`{|}"<>]/.test(path)),
      fc.constantFrom("http://a/b?c", "https://a.b:80", "http://[::1]/"),
    ),
    fc.constantFrom("1.1", "1.1", "1.1", "1.0"),
  )
  .map(([method, target, version]) => ({ line: `${method} ${target} HTTP/${version}`, version }));
const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) });
const chunk = fc
  .tuple(bytes, fc.constantFrom("", "00"), fc.constantFrom("", ";a", ";a=b;c", ';a="b;\\"c"'))
  .map(([data, zeros, extension]) =>
    data === "" ? "" : `${zeros}${data.length.toString(16)}${extension}\r\n${data}\r\n`,
  );

const request = fc
  .tuple(startLine, fc.array(header, { maxLength: 5 }), bytes, fc.array(chunk, { maxLength: 4 }), fc.nat(3))
  .map(([{ line, version }, headers, body, chunks, framing]) => {
    const isChunked = version === "1.1" && framing === 0;
    const more = isChunked ? ["Transfer-Encoding: chunked"] : [`content-length: ${body.length}`];
    const last = `0\r\n${headers[0] === undefined ? "" : `${headers[0]}\r\n`}\r\n`;
    const framed = isChunked ? `${chunks.join("")}${last}` : body;
    const keeps = version === "1.0" ? ["Connection: keep-alive"] : [];
    return `${[line, "Host: a", ...headers, ...(framing === 1 ? [] : more), ...keeps].join("\r\n")}\r\n\r\n${framing === 1 ? "" : framed}`;
  });

/** Pieces of requests that parsers are known to differ about. */
const odd = fc.constantFrom(
  ...[
    "\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    ":",
    "\0",
    "\x7f",
    "\x80",
    "\x0b",
    ";",
    ",",
    "0",
    "-1",
    "+1",
  ],
  ...[
    "\r\n ",
    "\r\n\t",
    " :",
    "Content-Length: 5\r\n",
    "content-length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
  ],
  ...["Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Content-Length:\r\n"],
  ...[
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "GET",
    "get",
    "Host: b\r\n",
    "Connection: close\r\n",
  ],
  ...[
    "#",
    "*",
    "http://",
    "@",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "0x5",
    "5 ",
    " 5",
    "5;",
    '5;a="',
    "ffffffffffffffff",
  ],
);
type Mutation = readonly [at: number, removed: number, added: string];
const mutation: fc.Arbitrary<Mutation> = fc.tuple(fc.nat(400), fc.nat(3), fc.oneof(odd, fc.constant("")));
const mutated = fc
  .tuple(fc.array(request, { minLength: 1, maxLength: 3 }), fc.array(mutation, { maxLength: 3 }))
  .map(([requests, mutations]) => mutations.reduce(mutate, requests.join("")));

function mutate(text: string, [at, removed, added]: Mutation): string {
  const place = at % (text.length + 1);
  return text.slice(0, place) + added + text.slice(place + removed);
}

/** @param cuts places, in any order, each within the text or not */
function cut(text: string, cuts: readonly number[]): string[] {
  const places = [0, ...cuts.map((place) => place % (text.length + 1)), text.length].sort((a, b) => a - b);
  return places.slice(1).map((place, at) => text.slice(places[at], place));
}

test("however the bytes are cut, they are read alike", () => {
  fc.assert(
    fc.property(mutated, fc.array(fc.nat(2000), { maxLength: 8 }), (text, cuts) => {
      const whole = readPieces([text]);
      expect(readPieces(cut(text, cuts))).toEqual(whole);
      expect(readPieces([...text])).toEqual(whole);
    }),
    { numRuns: 600 },
  );
});

test("what is well-formed is read as it was written", () => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 4 }), (requests) => {
      const read = readPieces([requests.join("")]);
      expect(read.refused).toBeNull();
      expect(read.requests.map(({ isWhole }) => isWhole)).toEqual(requests.map(() => true));
    }),
  );
});

test("what is read, node:http reads alike; what node:http refuses is refused", async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(mutated, async (text) => {
      const ours = readPieces([text]);
      const nodes = await readWithNode(text);
      const whole = ours.requests.filter(({ isWhole }) => isWhole);
      expect(nodes.requests.slice(0, whole.length)).toEqual(whole);
      accepted += whole.length;
      // Where ours only waits for more, node:http may know already that it will not do.
      if (ours.isEven) expect(nodes).toEqual({ requests: whole, isRefused: false });
    }),
    { numRuns: 800 },
  );
  expect(accepted).toBeGreaterThan(100);
});

describe("refused", () => {
  const start = "POST / HTTP/1.1\r\nhost: a\r\n";
  const many = (count: number) => Array.from({ length: count }, (_, at) => `x${at}:\r\n`).join("");

  test.each<[string, string, number]>([
    ["no request at all", "nonsense\r\n\r\n", 400],
    ["a TLS greeting", "\u0016\u0003\u0001", 400],
    ["a bare line feed, before the head is complete", "GET / HTTP/1.1\nhost: a", 400],
    ["a bare carriage return", "GET / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n", 400],
    ["a folded header", `${start}x: a\r\n b\r\n\r\n`, 400],
    ["a first header that is folded", "GET / HTTP/1.1\r\n host: a\r\n\r\n", 400],
    ["a space before the colon", `${start}x : a\r\n\r\n`, 400],
    ["a header without a colon", `${start}x\r\n\r\n`, 400],
    ["a header without a name", `${start}: x\r\n\r\n`, 400],
    ["a NUL", `${start}x: a\0\r\n\r\n`, 400],
    ["a delete character", `${start}x: a\x7f\r\n\r\n`, 400],
    ["no host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["two hosts", `${start}host: a\r\n\r\n`, 400],
    ["a host that is none", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400],
    ["a host with a name before it", "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400],
    ["both framings", `${start}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`, 400],
    ["two lengths", `${start}content-length: 1\r\ncontent-length: 1\r\n\r\n`, 400],
    ["a list of lengths", `${start}content-length: 1, 1\r\n\r\n`, 400],
    ["an empty length", `${start}content-length:\r\n\r\n`, 400],
    ["two codings", `${start}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`, 400],
    ["another coding", `${start}transfer-encoding: gzip, chunked\r\n\r\n`, 400],
    ["chunks in HTTP/1.0", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400],
    ["HTTP/2", "GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505],
    ["HTTP/0.9", "GET /\r\n\r\n", 400],
    ["a version in small letters", "GET / http/1.1\r\nhost: a\r\n\r\n", 400],
    ["two spaces", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a tab for a space", "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a method in small letters", "get / HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a method that nobody knows", "FETCH / HTTP/1.1\r\nhost: a\r\n\r\n", 501],
    ["a tunnel", "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 501],
    ["a target that is no path", "GET a HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a fragment", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a URL with a name before its host", "GET http://a@b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a URL of another kind", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["a target beyond ASCII", "GET /\xe4 HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["everything, asked with GET", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["another expectation", `${start}expect: wonders\r\n\r\n`, 417],
    ["a long head", `${start}x: ${"a".repeat(16_384)}\r\n\r\n`, 431],
    ["a long head that has not ended", `${start}x: ${"a".repeat(16_384)}`, 431],
    ["many headers", `${start}${many(2100)}\r\n`, 431],
    ["a chunk's size that is none", `${start}transfer-encoding: chunked\r\n\r\n0x5\r\n`, 400],
    ["a chunk's size beyond 32 bits", `${start}transfer-encoding: chunked\r\n\r\n100000000\r\n`, 400],
    ["a chunk's size and a space", `${start}transfer-encoding: chunked\r\n\r\n5 \r\n`, 400],
    ["a bare line feed behind a size", `${start}transfer-encoding: chunked\r\n\r\n5\n`, 400],
    ["an extension without a name", `${start}transfer-encoding: chunked\r\n\r\n5;\r\n`, 400],
    ["a chunk that is longer than it says", `${start}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n`, 400],
    [
      "a trailer that frames",
      `${start}transfer-encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n`,
      400,
    ],
    ["a folded trailer", `${start}transfer-encoding: chunked\r\n\r\n0\r\nx: a\r\n b\r\n\r\n`, 400],
    ["long trailers", `${start}transfer-encoding: chunked\r\n\r\n0\r\n${many(4000)}\r\n`, 431],
    ["a long extension", `${start}transfer-encoding: chunked\r\n\r\n1;${"a".repeat(20_000)}`, 413],
    [
      "many extensions",
      `${start}transfer-encoding: chunked\r\n\r\n${`1;${"a".repeat(99)}\r\nb\r\n`.repeat(200)}`,
      413,
    ],
  ])("%s", (_name, text, status) => {
    expect(readPieces([text]).refused).toBe(status);
    expect(readPieces([...text]).refused).toBe(status);
  });
});

describe("read", () => {
  test.each<[string, string, Record<string, unknown>]>([
    ["a line end before the request", "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", { target: "/" }],
    ["HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n", { version: "1.0" }],
    ["an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", { headers: { host: "" } }],
    ["OPTIONS for everything", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", { target: "*" }],
    ["spaces around a value", "GET / HTTP/1.1\r\nhost:\t a \t\r\n\r\n", { headers: { host: "a" } }],
    [
      "the first of two tokens",
      "GET / HTTP/1.1\r\nhost: a\r\nauthorization: b\r\nauthorization: c\r\n\r\n",
      {
        headers: { host: "a", authorization: "b" },
      },
    ],
    [
      "a header named like a part of every object",
      "GET / HTTP/1.1\r\nhost: a\r\nconstructor: b\r\n\r\n",
      {
        headers: { host: "a", constructor: "b" },
      },
    ],
    [
      "the largest head",
      `GET / HTTP/1.1\r\nhost: a\r\nx: ${"a".repeat(16_384 - 28)}\r\n\r\n`,
      { isWhole: true },
    ],
  ])("%s", (_name, text, expected) => {
    expect(readPieces([text])).toMatchObject({ refused: null, requests: [expected] });
    expect(readPieces([...text])).toMatchObject({ refused: null, requests: [expected] });
  });
});
