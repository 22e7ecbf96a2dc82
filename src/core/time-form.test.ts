import fc from "fast-check";
import { expect, test } from "vitest";
import { monthOf, monthsBetween, readMonth, readTime } from "./time-form.ts";

const now = Date.UTC(2026, 10, 24, 6, 30);

test.each([
  ["now", now],
  ["0", 0],
  ["1674761603", 1_674_761_603_000],
  ["1674761603.25", 1_674_761_603_250],
  ["now-5h", now - 5 * 3_600_000],
  ["now-90s", now - 90_000],
  ["now-90sec", now - 90_000],
  ["now-2m", now - 120_000],
  ["now-2min", now - 120_000],
  ["now-1hour", now - 3_600_000],
  ["now-3d", now - 3 * 86_400_000],
  ["now-1day", now - 86_400_000],
  ["now-1w", now - 7 * 86_400_000],
  ["now-1M", now - 30 * 86_400_000],
  ["now-2Month", now - 60 * 86_400_000],
  ["now+1h", now + 3_600_000],
  ["now - 1 h", now - 3_600_000],
  ["now-999999999w", 0],
])("%s", (text, ms) => {
  expect(readTime(text, now)).toBe(ms);
});

test.each([
  "",
  " ",
  "yesterday",
  "now-",
  "now-5",
  "now-h",
  "now-5y",
  "now5h",
  "now-5.5h",
  "NOW",
  "-5",
  "1e9",
  "0x10",
  "now--5h",
  "5h",
  "now-9999999999h",
  "99999999999999",
  "1.",
  "now-1constructor",
  "now-5h now",
])("%j is no point in time", (text) => {
  expect(readTime(text, now)).toBeNull();
});

test("whatever is written, the answer is null or a moment a date can hold", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.stringMatching(/^(now)?[-+]?\d{0,12}(\.\d+)?[smhdwM]?$/)),
      (text) => {
        const ms = readTime(text, now);
        expect(ms === null || !Number.isNaN(new Date(ms).getTime())).toBe(true);
      },
    ),
  );
});

test("a distance is the same at every time, and longer names mean the same", () => {
  const units = fc.constantFrom(
    ["s", "sec"],
    ["m", "min"],
    ["h", "hour"],
    ["d", "day"],
    ["w", "week"],
    ["M", "Month"],
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 500 }), units, (amount, [short, long]) => {
      const distance = now - (readTime(`now-${amount}${short}`, now) ?? Number.NaN);
      expect(readTime(`now-${amount}${long}`, now + 77)).toBe(now + 77 - distance);
    }),
  );
});

test.each([
  ["2026.11", "2026.11"],
  ["2026.1", "2026.01"],
  ["current", "2026.11"],
  ["current-1", "2026.10"],
  ["current(-1)", "2026.10"],
  ["current-11", "2025.12"],
  ["1674761603", "2023.01"],
])("the month %s", (text, name) => {
  expect(readMonth(text, now)?.name).toBe(name);
});

test.each(["2026.13", "2026.0", "2026", "now", "current+1", "", "2026-11", "current-", "99999999999999"])(
  "%j is no month",
  (text) => {
    // A year alone is unix seconds of 1970.
    expect(readMonth(text, now)?.name ?? null).toBe(text === "2026" ? "1970.01" : null);
  },
);

test("months follow each other without a gap", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 2e11 }), (atMs, moreMs) => {
      const months = monthsBetween(monthOf(atMs), monthOf(atMs + moreMs), 200);
      expect(months[0]?.name).toBe(monthOf(atMs).name);
      for (const [index, month] of months.entries())
        if (index > 0) expect(month.fromMs).toBe(months[index - 1]?.toMs);
    }),
  );
  expect(monthsBetween(monthOf(0), monthOf(now), 3).map((month) => month.name)).toEqual([
    "2026.09",
    "2026.10",
    "2026.11",
  ]);
});
