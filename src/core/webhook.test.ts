import { expect, test } from "vitest";
import { isTargetAddress, maxDeliveryTries, pauseBeforeRetry, readTargets, refuseTarget } from "./webhook.ts";

function targetsOf(...list: string[]) {
  const targets = readTargets(list);
  if (targets === null) throw new Error("these are valid");
  return targets;
}

const isRefused = (url: string, ...list: string[]) => refuseTarget(new URL(url), targetsOf(...list)) !== null;

test.each([
  ["https://hooks.example.com/a", ["hooks.example.com"]],
  ["https://HOOKS.example.com./a", ["hooks.example.COM"]],
  ["https://a.b.example.com/a", ["*.example.com"]],
  ["http://anything.example/", ["*"]],
  ["http://8.8.8.8/", ["*"]],
  ["http://127.0.0.1:9000/", ["127.0.0.0/8"]],
  ["http://[::1]:9000/", ["::1"]],
])("%s is allowed by %j", (url, list) => {
  expect(isRefused(url, ...list)).toBe(false);
});

test.each([
  ["https://hooks.example.com/", []],
  ["https://example.com/", ["*.example.com"]],
  ["https://badexample.com/", ["*.example.com", "example.com"]],
  ["http://127.0.0.1/", ["*"]],
  ["http://2130706433/", ["*"]],
  ["http://[::ffff:127.0.0.1]/", ["*"]],
  ["http://169.254.169.254/latest/meta-data", ["*", "0.0.0.0/0"]],
  ["http://127.0.0.2/", ["127.0.0.1"]],
  ["ftp://hooks.example.com/", ["*"]],
  ["https://user:secret@hooks.example.com/", ["*"]],
])("%s is refused by %j", (url, list) => {
  expect(isRefused(url, ...list)).toBe(true);
});

test("a name may lead to public addresses, and to private ones that are listed", () => {
  const targets = targetsOf("hooks.example.com", "10.1.0.0/16");
  expect(isTargetAddress("8.8.8.8", targets)).toBe(true);
  expect(isTargetAddress("10.1.2.3", targets)).toBe(true);
  expect(isTargetAddress("::ffff:10.1.2.3", targets)).toBe(true);
  expect(isTargetAddress("10.2.2.3", targets)).toBe(false);
  expect(isTargetAddress("127.0.0.1", targets)).toBe(false);
  expect(isTargetAddress("169.254.169.254", targetsOf("0.0.0.0/0"))).toBe(false);
});

test.each(["http://x", "a b", "*", "x/8", "*.", "a..b", "1.2.3", "10.0.0.0/33"])(
  "%j as a target",
  (entry) => {
    expect(readTargets([entry]) === null).toBe(entry !== "*");
  },
);

test("a post is tried again a few times, each after a longer pause", () => {
  const pauses = Array.from({ length: maxDeliveryTries }, (_, at) => pauseBeforeRetry(at + 1, 500));
  expect(pauses).toEqual([1000, 4000, 16_000, 64_000, null]);
  expect(pauseBeforeRetry(1, null)).toBe(1000);
  expect([200, 204, 302].map((status) => pauseBeforeRetry(1, status))).toEqual([null, null, null]);
});
