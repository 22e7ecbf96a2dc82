import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withLock } from "./lock.ts";
import { hastyClock } from "./testing.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hub-lock-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("one at a time, also within a process, and let go when the work fails", async () => {
  const path = join(folder, "deep", "a.lock");
  const none = new AbortController().signal;
  let inside = 0;
  let most = 0;
  const work = async () => {
    inside += 1;
    most = Math.max(most, inside);
    await hastyClock.sleep(1);
    inside -= 1;
    if (most === 1) throw new Error("work failed");
  };
  const all = await Promise.allSettled([1, 2, 3, 4].map(() => withLock(path, hastyClock, none, work)));
  expect(all.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected", "rejected"]);
  expect(most).toBe(1);
});

test("who waits can leave", async () => {
  const path = join(folder, "a.lock");
  const none = new AbortController().signal;
  const leave = new AbortController();
  const entered = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const holder = withLock(path, hastyClock, none, async () => {
    entered.resolve();
    await finish.promise;
  });
  await entered.promise;
  const waiter = withLock(path, hastyClock, leave.signal, async () => "in");
  leave.abort(new Error("left"));
  await expect(waiter).rejects.toThrow("left");
  finish.resolve();
  await holder;
});
