import { expect, test } from "vitest";
import { formatAge, formatBytes, formatDuration, parseDuration, readTimestamp } from "./amounts.ts";

test("bytes are short, and never 1000 of a unit", () => {
  const shown = [0, 999, 1000, 9_940, 999_400, 999_600, 412_000_000, 1_530_000_000, 7e15].map(formatBytes);
  expect(shown).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "9.9 kB",
    "999 kB",
    "1.0 MB",
    "412 MB",
    "1.5 GB",
    "7000 TB",
  ]);
});

test("durations name at most two units", () => {
  const shown = [-1, 7.34, 9.96, 59.7, 75, 7_260, 90_000].map(formatDuration);
  expect(shown).toEqual(["0.0 s", "7.3 s", "10 s", "1 min", "1 min 15 s", "2 h 1 min", "1 d 1 h"]);
});

test("ages are coarse, and unknown where the time is", () => {
  const now = Date.UTC(2026, 0, 1);
  expect(formatAge(now - 12_000, now)).toBe("12s");
  expect(formatAge(now + 5_000, now)).toBe("0s");
  expect(formatAge(now - 3 * 86_400_000, now)).toBe("3d");
  expect(formatAge(Number.NaN, now)).toBe("?");
});

test("a timestamp without a zone is UTC", () => {
  expect(readTimestamp("2026-01-01T00:00:00")).toBe(Date.UTC(2026, 0, 1));
  expect(readTimestamp("2026-01-01T01:00:00+01:00")).toBe(Date.UTC(2026, 0, 1));
  expect(readTimestamp("2026-01-01T00:00:00Z")).toBe(Date.UTC(2026, 0, 1));
});

test("times back are whole numbers with a unit, up to 31 days", () => {
  expect(["30s", "10m", "2h", "31d"].map(parseDuration)).toEqual([30, 600, 7200, 2_678_400]);
  expect(["", "10", "m", "-1m", "0s", "1.5h", "32d", "10m "].map(parseDuration)).toEqual(Array(8).fill(null));
});
