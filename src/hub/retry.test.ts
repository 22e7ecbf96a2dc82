import { expect, test } from "vitest";
import { Hiccup } from "./failures.ts";
import { backoffMs, parseRetryAfter, type RetryRule, retrying } from "./retry.ts";

function ruleOf(waits: number[]): RetryRule {
  const clock = { now: () => 0, sleep: async (ms: number) => void waits.push(ms) };
  return { attempts: 4, firstWaitMs: 100, maxWaitMs: 300, clock, random: () => 0.5 };
}

test("waits longer each time, within a bound, and says how often it tried", async () => {
  const waits: number[] = [];
  const fail = () => Promise.reject(new Hiccup("answered 503"));
  await expect(
    retrying(ruleOf(waits), "hub.example", new AbortController().signal, fail),
  ).rejects.toMatchObject({
    failure: { code: "hub_unreachable", message: "hub.example answered 503 (4 tries)." },
  });
  expect(waits).toEqual([75, 150, 225]);
});

test("honours Retry-After up to the bound", () => {
  expect(backoffMs(ruleOf([]), 1, new Hiccup("", 250))).toBe(250);
  expect(backoffMs(ruleOf([]), 1, new Hiccup("", 3_600_000))).toBe(300);
});

test("does not repeat what is no hiccup", async () => {
  let calls = 0;
  const fail = () => {
    calls += 1;
    return Promise.reject(new Error("defect"));
  };
  await expect(retrying(ruleOf([]), "h", new AbortController().signal, fail)).rejects.toThrow("defect");
  expect(calls).toBe(1);
});

test.each([
  [null, null],
  ["7", 7000],
  ["Thu, 01 Jan 1970 00:00:05 GMT", 4000],
  ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
  ["soon", null],
])("reads Retry-After %j as %j", (header, expected) => {
  expect(parseRetryAfter(header, 1000)).toBe(expected);
});
