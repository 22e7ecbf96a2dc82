import { describe, expect, it } from "vitest";
import { createVersionGate } from "./version-gate.ts";

/** Sleeps until told to wake, or until aborted. */
function handClock() {
  const wakes: (() => void)[] = [];
  return {
    now: () => 0,
    sleep: (_ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        wakes.push(resolve);
        signal?.addEventListener("abort", () => reject(signal.reason));
      }),
    wakes,
  };
}

describe("the version gate", () => {
  it("opens for what is in force, and for the rest when it is reached", async () => {
    const gate = createVersionGate(handClock(), 1000);
    await gate.reached(0);
    const opened: number[] = [];
    const waits = [5, 7].map(async (version) => {
      await gate.reached(version);
      opened.push(version);
    });
    gate.reach(6);
    await waits[0];
    expect(opened).toEqual([5]);
    gate.reach(7);
    await waits[1];
    expect(opened).toEqual([5, 7]);
  });

  it("opens at the limit whatever happens", async () => {
    const clock = handClock();
    const wait = createVersionGate(clock, 1000).reached(9);
    clock.wakes[0]?.();
    await wait;
  });
});
