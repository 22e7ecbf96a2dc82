import { describe, expect, it } from "vitest";
import { Pulse, type Standing, standingOf } from "./pulse.ts";

/** A process that answers when it is asked, unless it hangs. */
function world(hangMs = 30_000) {
  let nowMs = 1_000_000;
  let standing: Standing = { waitedMs: 0, isAtDisk: false };
  let hangs = false;
  let hung = 0;
  const child = {
    ...{ pid: 1, connected: true, kill: () => true },
    send() {
      if (!hangs) pulse.heard(child);
      return true;
    },
  };
  const pulse = new Pulse({
    clock: { now: () => nowMs, sleep: () => Promise.reject(new Error("looks are made by hand")) },
    hangMs,
    standingOf: () => standing,
    onHung: () => {
      hung += 1;
    },
  });
  pulse.started(child);
  return {
    /** Looks every 5 s for so long. */
    pass(ms: number) {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs += 5_000;
        pulse.look();
      }
    },
    jump(ms: number) {
      nowMs += ms;
      pulse.look();
    },
    hang: () => {
      hangs = true;
    },
    /** Answers what it was asked meanwhile. */
    run: () => {
      hangs = false;
      pulse.heard(child);
    },
    stand(next: Partial<Standing>) {
      standing = { ...standing, ...next };
    },
    waitedMs: () => standing.waitedMs,
    hung: () => hung,
  };
}

describe("a process that gives no sign of life", () => {
  it("hangs after the limit, and is told of once", () => {
    const it = world();
    it.pass(60_000);
    it.hang();
    it.pass(25_000);
    expect(it.hung()).toBe(0);
    it.pass(60_000);
    expect(it.hung()).toBe(1);
  });

  it("is not watched before its first sign: it starts", () => {
    const it = world();
    it.hang();
    it.pass(600_000);
    expect(it.hung()).toBe(0);
  });

  it("is not to blame while the machine sleeps or the clock is set", () => {
    const it = world();
    it.pass(10_000);
    it.hang();
    it.pass(20_000);
    for (const ms of [8 * 3_600_000, -8 * 3_600_000]) it.jump(ms);
    expect(it.hung()).toBe(0);
    it.run();
    it.pass(10_000);
    it.hang();
    it.pass(25_000);
    expect(it.hung()).toBe(0);
  });

  it("is not to blame while it waits for a processor or a disk, and is once it has had both", () => {
    const it = world();
    it.pass(10_000);
    it.hang();
    for (let second = 0; second < 600; second += 5) {
      it.stand({ waitedMs: it.waitedMs() + 5_000 });
      it.pass(5_000);
    }
    it.stand({ isAtDisk: true });
    it.pass(600_000);
    expect(it.hung()).toBe(0);
    it.stand({ isAtDisk: false });
    it.pass(30_000);
    expect(it.hung()).toBe(1);
  });
});

it("reads what the system says of a process, and nothing of one that is not there", () => {
  expect(standingOf(process.pid)).toMatchObject({ isAtDisk: false });
  expect(standingOf(2 ** 30)).toEqual({ waitedMs: 0, isAtDisk: false });
});
