import { describe, expect, it } from "vitest";
import type { Clock } from "../ports/clock.ts";
import { createMailboxes } from "./mailbox.ts";

/** A clock that stands still until it is moved. */
function handClock() {
  let now = 0;
  const sleepers = new Set<{ atMs: number; wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { atMs: now + ms, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        });
      }),
  };
  return {
    clock,
    sleepers,
    async moveTo(ms: number) {
      now = ms;
      for (const sleeper of [...sleepers]) {
        if (sleeper.atMs <= now) {
          sleepers.delete(sleeper);
          sleeper.wake();
        }
      }
      await settle();
    },
  };
}

/** A look gives way once when it ends, and the next one begins after that. */
const settle = async () => {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe("mailboxes", () => {
  it("serve one look at a time and fold pokes that come meanwhile into one", async () => {
    const { clock } = handClock();
    const gates: (() => void)[] = [];
    let atOnce = 0;
    let mostAtOnce = 0;
    const boxes = createMailboxes(clock, async () => {
      atOnce += 1;
      mostAtOnce = Math.max(mostAtOnce, atOnce);
      await new Promise<void>((resolve) => gates.push(resolve));
      atOnce -= 1;
      return null;
    });
    boxes.poke("a");
    for (let count = 0; count < 10; count += 1) boxes.poke("a");
    expect(gates).toHaveLength(1);
    gates[0]?.();
    await settle();
    expect(gates).toHaveLength(2);
    gates[1]?.();
    await settle();
    expect(gates).toHaveLength(2);
    expect(mostAtOnce).toBe(1);
  });

  it("look again at the time asked for, and a poke replaces that timer", async () => {
    const hand = handClock();
    const looks: number[] = [];
    const boxes = createMailboxes(hand.clock, async () => {
      looks.push(hand.clock.now());
      return hand.clock.now() + 100;
    });
    boxes.poke("a");
    await settle();
    await hand.moveTo(50);
    boxes.poke("a");
    await settle();
    expect(hand.sleepers.size).toBe(1);
    await hand.moveTo(100);
    await hand.moveTo(150);
    expect(looks).toEqual([0, 50, 150]);
    await boxes.stop();
    expect(hand.sleepers.size).toBe(0);
    boxes.poke("a");
    await settle();
    expect(looks).toHaveLength(3);
  });

  it("serve a few deployments at once, what was poked before what can wait, and one that hangs holds up none", async () => {
    const { clock } = handClock();
    const looks: string[] = [];
    const gate = Promise.withResolvers<null>();
    const boxes = createMailboxes(
      clock,
      (id) => {
        looks.push(id);
        return id === "hangs" ? gate.promise : Promise.resolve(null);
      },
      2,
    );
    boxes.poke("hangs");
    for (const id of ["a", "b", "c"]) boxes.pokeLater(id);
    boxes.poke("now");
    boxes.poke("b");
    expect(looks).toEqual(["hangs", "a"]);
    while (looks.length < 5) await settle();
    expect(looks).toEqual(["hangs", "a", "now", "b", "c"]);
    gate.resolve(null);
    await boxes.stop();
  });
});
