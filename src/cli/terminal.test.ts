import { expect, test } from "vitest";
import { paletteFor, plain, plainBlock, printableJson, renderTable } from "./terminal.ts";

const hostile = [
  "\u001b[31mred\u001b[0m",
  "\u001b]0;title\u0007after",
  "\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\",
  "\u009b2Jcleared",
  "a\u0008\u0008b\u007f",
  "one\r\ntwo\tthree",
  "evil\u202etxt.exe",
];

test("nothing of a server's text can steer the terminal", () => {
  for (const text of hostile) {
    expect(plain(text)).not.toMatch(/[\p{Cc}\u202a-\u202e]/u);
    expect(plainBlock(text)).not.toMatch(/(?![\n\t])[\p{Cc}\u202a-\u202e]/u);
    expect(printableJson(text)).not.toMatch(/[\p{Cc}\u202a-\u202e]/u);
    expect(JSON.parse(printableJson(text))).toBe(text);
  }
  expect(plain(hostile[0] ?? "")).toBe("red");
  expect(plain(hostile[5] ?? "")).toBe("one two three");
  expect(plainBlock("a\n\tb\u001b[1m")).toBe("a\n\tb");
});

test("a sequence that is cut into pieces is harmless", () => {
  expect(plainBlock("x\u001b") + plainBlock("[2Jy")).toBe("x[2Jy");
});

test("colours only on a terminal that wants them", () => {
  expect(paletteFor(true, {}).bold("x")).toBe("\u001b[1mx\u001b[22m");
  expect(paletteFor(false, {}).bold("x")).toBe("x");
  expect(paletteFor(true, { NO_COLOR: "1" }).bold("x")).toBe("x");
  expect(paletteFor(true, { NO_COLOR: "" }).bold("")).toBe("");
  expect(paletteFor(true, { TERM: "dumb" }).bold("x")).toBe("x");
});

test("tables are aligned, also when painted, and end without spaces", () => {
  const bare = paletteFor(false, {});
  const rows = [
    [{ text: "a" }, { text: "long value" }],
    [{ text: "longer\u001b[1m" }, { text: "b" }],
  ];
  expect(renderTable(["ONE", "TWO"], rows, bare)).toBe("ONE     TWO\na       long value\nlonger  b\n");
  const painted = paletteFor(true, {});
  const line = renderTable(["ONE", "TWO"], [[{ text: "a", paint: painted.bold }, { text: "b" }]], painted);
  expect(line).toContain("\u001b[1ma\u001b[22m    b\n");
});
