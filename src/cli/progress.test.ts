import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import {
  createProgressDisplay,
  isWorthALine,
  type ProgressView,
  percentDone,
  progressLine,
} from "./progress.ts";

const downloading: ProgressView = {
  status: "downloading",
  download: { bytesDone: 412e6, bytesTotal: 1e9, bytesPerS: 38e6, etaS: 15.2 },
  elapsedS: 11,
  detail: "Fetching 2 files.",
};
const deploying: ProgressView = { status: "deploying", download: null, elapsedS: 3.4, detail: "Starting." };

test("a download shows percentage, bar, bytes, rate and time left", () => {
  expect(progressLine(downloading, 120, true)).toBe(
    "downloading     41%  ━━━━━━━━────────────  412 MB of 1.0 GB  38 MB/s  16 s left",
  );
  expect(progressLine(downloading, 120, false)).toBe(
    "downloading     41%  412 MB of 1.0 GB  38 MB/s  16 s left",
  );
});

test("a stalled download says so and promises nothing", () => {
  const stalled = { ...downloading, download: { bytesDone: 5, bytesTotal: 10, bytesPerS: 0, etaS: null } };
  expect(progressLine(stalled, 120, false)).toBe("downloading     50%  5 B of 10 B  waiting for data");
});

test("other states show the time and what happened last", () => {
  expect(progressLine(deploying, 80, true)).toBe("deploying       3 s  Starting.");
});

test("a line never is wider than the terminal, nor more than one line", () => {
  const long = { ...deploying, detail: `first\nsecond\u001b[2J ${"x".repeat(500)}` };
  for (const columns of [1, 20, 79]) {
    const line = progressLine(long, columns, true);
    expect([...line].length).toBeLessThanOrEqual(columns);
    expect(line).not.toMatch(/\p{Cc}/u);
  }
});

test("no hundred per cent before the last byte, and none of an empty download", () => {
  const at = (bytesDone: number, bytesTotal: number) =>
    percentDone({ ...downloading, download: { bytesDone, bytesTotal, bytesPerS: 1, etaS: 1 } });
  expect([at(999_999, 1_000_000), at(10, 10), at(0, 0)]).toEqual([99, 100, 0]);
});

test("where nothing can be redrawn, a line comes at another status, every tenth, and every 15 seconds", () => {
  const at = (percent: number, elapsedS: number): ProgressView => ({
    ...downloading,
    elapsedS,
    download: { bytesDone: percent, bytesTotal: 100, bytesPerS: 1, etaS: 1 },
  });
  expect(isWorthALine(null, deploying)).toBe(true);
  expect(isWorthALine(at(41, 1), at(49, 2))).toBe(false);
  expect(isWorthALine(at(41, 1), at(50, 2))).toBe(true);
  expect(isWorthALine(at(41, 1), at(41, 16))).toBe(true);
  expect(isWorthALine(at(99, 1), deploying)).toBe(true);
  expect(isWorthALine(deploying, { ...deploying, detail: "Other." })).toBe(false);
});

test("a terminal is redrawn in place and cleared; another stream gets lines", () => {
  const draw = (isTTY: boolean) => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 40 });
    const display = createProgressDisplay(stream);
    display.show(deploying);
    display.show(deploying);
    display.clear();
    display.clear();
    return String(stream.read());
  };
  const line = "deploying       3 s  Starting.";
  expect(draw(true)).toBe(`\r\u001b[2K${line}\r\u001b[2K${line}\r\u001b[2K`);
  expect(draw(false)).toBe(`${line}\n`);
});
