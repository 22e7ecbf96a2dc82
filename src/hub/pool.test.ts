import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createConnectionPool } from "./pool.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const mib = 1024 * 1024;

/** Half a second in which downloads receive so much together. */
function look(members: readonly { note(received: number): void }[], received: number): void {
  for (const member of members) member.note(received / members.length);
  vi.advanceTimersByTime(500);
}

test("one download gets what it wants, within the bound", () => {
  const pool = createConnectionPool(16);
  const one = pool.join();
  expect(one.share.width()).toBe(1);
  one.share.want(3);
  expect(one.share.width()).toBe(3);
  one.share.want(100);
  expect(one.share.width()).toBe(8);
  one.leave();
});

test("shares change for all who watch, when somebody comes and when somebody goes", () => {
  const pool = createConnectionPool(8);
  const [one, heard] = [pool.join(), vi.fn()];
  one.share.want(100);
  const unwatch = one.share.watch(heard);
  const two = pool.join();
  two.share.want(100);
  expect([one.share.width(), two.share.width()]).toEqual([4, 4]);
  expect(heard).toHaveBeenCalled();
  two.leave();
  expect(one.share.width()).toBe(8);
  unwatch();
  const calls = heard.mock.calls.length;
  one.share.want(1);
  expect(heard).toHaveBeenCalledTimes(calls);
  one.leave();
});

test("opens more while that brings more, never beyond the bound", () => {
  const pool = createConnectionPool(16);
  const one = pool.join();
  one.share.want(100);
  const widths: number[] = [];
  for (let count = 0; count < 20; count += 1) {
    look([one], one.share.width() * mib);
    widths.push(one.share.width());
  }
  expect(widths).toEqual(widths.toSorted((a, b) => a - b));
  expect(widths.at(-1)).toBe(16);
  one.leave();
});

test("closes half when the server pushes back", () => {
  const pool = createConnectionPool(16);
  const one = pool.join();
  one.share.want(100);
  one.share.pushBack();
  look([one], mib);
  expect(one.share.width()).toBe(4);
  for (let count = 0; count < 10; count += 1) {
    one.share.pushBack();
    look([one], mib);
  }
  expect(one.share.width()).toBe(1);
  one.leave();
});

test("when nobody is left no clock runs, and the next one begins anew", () => {
  const pool = createConnectionPool(16);
  const one = pool.join();
  one.share.pushBack();
  look([one], mib);
  one.leave();
  expect(vi.getTimerCount()).toBe(0);
  const two = pool.join();
  two.share.want(100);
  expect(two.share.width()).toBe(8);
  two.leave();
});
