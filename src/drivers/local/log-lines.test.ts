import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatPast, newest, parsePast, parseSamples, readRawLines } from "./log-lines.ts";
import { maskSecrets, stripControl } from "./mask.ts";

const samples = [
  { end: 4, atMs: 10 },
  { end: 8, atMs: 20 },
];

describe("raw output", () => {
  it("gets the time of the sample that first covered a line's start, else of the last write", () => {
    const lines = readRawLines(Buffer.from("abc\ndef\nghi"), 0, samples, 30, []);
    expect(lines).toEqual([
      { atMs: 10, text: "abc" },
      { atMs: 20, text: "def" },
      { atMs: 30, text: "ghi" },
    ]);
  });

  it("leaves out a first line that is cut, and counts from where the bytes begin", () => {
    expect(readRawLines(Buffer.from("c\ndef\n"), 2, samples, 30, [])).toEqual([{ atMs: 20, text: "def" }]);
  });

  it("takes a progress bar as lines, drops empty ones, and cuts very long ones", () => {
    const text = `10%\r20%\r\n\n${"x".repeat(100_000)}\n`;
    const lines = readRawLines(Buffer.from(text), 0, [], 1, []).map((line) => line.text);
    expect(lines.slice(0, 2)).toEqual(["10%", "20%"]);
    expect(lines[2]?.length).toBe(4_097);
  });

  it("is read the same after it went to the past", () => {
    const line = fc.record({
      atMs: fc.nat(),
      text: fc.string({ minLength: 1 }).map((s) => `x${s.replace(/\n/g, "")}`),
    });
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        expect(parsePast(formatPast(lines))).toEqual(lines);
      }),
    );
  });
});

it("keeps the newest lines that fit", () => {
  const lines = [1, 2, 3].map((atMs) => ({ atMs, text: "x".repeat(84) }));
  expect(newest(lines, 250).map((line) => line.atMs)).toEqual([2, 3]);
  expect(newest(lines, 10)).toEqual([]);
});

it("reads samples past damaged lines", () => {
  expect(parseSamples("4 10\n8 2x\n\n12 30")).toEqual([
    { end: 4, atMs: 10 },
    { end: 12, atMs: 30 },
  ]);
});

describe("masking", () => {
  it.each([
    ["token hf_abcdefghij is bad", "token [hidden] is bad"],
    ["Authorization: Bearer abc.def-ghi", "Authorization: Bearer [hidden]"],
    ["GET https://user:pass@host/x", "GET https://[hidden]@host/x"],
    ["https://cdn/x?a=1&X-Amz-Signature=abcd&b=2", "https://cdn/x?a=1&X-Amz-Signature=[hidden]&b=2"],
    ["api_key=0123456789abcdef0123", "api_key=[hidden]"],
    ["the secret is s3cr3t", "the secret is [hidden]"],
    ["120 tokens: 35 tokens/s, token_type=byte", "120 tokens: 35 tokens/s, token_type=byte"],
  ])("%s", (text, expected) => {
    expect(maskSecrets(text, ["s3cr3t"])).toBe(expected);
  });

  it("takes out colours, cursor movements and other control characters", () => {
    expect(stripControl("\u001b[31mred\u001b[0m \u001b]0;title\u0007\u001b[2Jx\tö\u0000\u009b")).toBe(
      "red x\tö",
    );
  });
});
