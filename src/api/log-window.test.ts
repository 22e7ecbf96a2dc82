import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { selectLines, stampLines, toEntry } from "./log-window.ts";

const now = Date.UTC(2026, 10, 23);
const day = 86_400_000;
const log = (instanceId: string, ...atMs: number[]) => ({
  instanceId,
  lines: atMs.map((at) => ({ atMs: at, text: `${instanceId}@${at}` })),
});
const texts = (lines: readonly { text: string }[]) => lines.map((line) => line.text);

test("lines of all instances in order, no two at the same time", () => {
  const lines = stampLines([log("a", 1000, 1000, 3000), log("b", 1000, 2000)]);
  expect(lines.map(toEntry)).toEqual([
    ["1.000000000", "a@1000"],
    ["1.000000001", "a@1000"],
    ["1.000000002", "b@1000"],
    ["2.000000000", "b@2000"],
    ["3.000000000", "a@3000"],
  ]);
});

describe("windows", () => {
  const lines = stampLines([log("a", now - 40 * day, now - 3000, now - 2000, now - 1000)]);
  const seconds = (ms: number) => String(ms / 1000);
  const select = (query: { from?: string; to?: string; limit?: number }) =>
    texts(selectLines(lines, { limit: 2, ...query }, now)).map((text) => Number(text.slice(2)) - now);

  test("none: the last ones of the past month", () => {
    expect(select({})).toEqual([-2000, -1000]);
    expect(select({ limit: 100 })).toEqual([-3000, -2000, -1000]);
  });
  test("from: the first after it, inclusive and however old", () => {
    expect(select({ from: seconds(now - 3000) })).toEqual([-3000, -2000]);
    expect(select({ from: "0.000" })).toEqual([-40 * day, -3000]);
  });
  test("to: the last before it, exclusive", () => {
    expect(select({ to: seconds(now - 1000) })).toEqual([-3000, -2000]);
    expect(select({ to: seconds(now - 30 * day) })).toEqual([-40 * day]);
  });
  test("both: the first between them", () => {
    expect(select({ from: seconds(now - 3000), to: seconds(now) })).toEqual([-3000, -2000]);
    expect(select({ from: seconds(now - 1000), to: seconds(now - 1000) })).toEqual([]);
  });
  test.each([
    [seconds(now), seconds(now - 1)],
    [seconds(now - 32 * day), seconds(now)],
  ])("from %s to %s is refused", (from, to) => {
    expect(() => select({ from, to })).toThrow(/31 days/);
  });
});

test("who goes on from the last time gets every line once more than never", () => {
  const logs = fc.array(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 20 }), { maxLength: 3 });
  fc.assert(
    fc.property(logs, fc.integer({ min: 2, max: 5 }), (times, limit) => {
      const lines = stampLines(times.map((each, index) => log(`i${index}`, ...each.sort((a, b) => a - b))));
      const seen = new Set<string>();
      let from = "0.000";
      for (let round = 0; round <= lines.length; round += 1) {
        const page = selectLines(lines, { from, limit }, 1000).map(toEntry);
        for (const [at] of page) seen.add(at);
        from = page.at(-1)?.[0] ?? from;
      }
      expect(seen.size).toBe(lines.length);
    }),
  );
});
