import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Claim, SlotQueue, type Tier } from "./queue.ts";

type Ticket = Claim & { readonly number: number };

const instance = (id: string, slots: number, isDraining = false) => ({ id, slots, isDraining });
const ticket = (number: number, given: Partial<Claim> = {}): Ticket => ({
  ...{ account: "ann", tokenId: "t", tier: "default", tokens: 10, promptTokens: 5, bytes: 100 },
  ...{ prefix: [], avoid: [], number },
  ...given,
});
const limits = { requests: 10, bytes: 10_000 };

describe("the line in front of a deployment", () => {
  test("a free slot is taken at once, and only when nobody waits", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 1)]);
    expect(queue.take(ticket(0), 0)).toBe("a");
    expect(queue.take(ticket(0), 0)).toBeNull();
    const one = ticket(1);
    expect(queue.join(one, limits)).toEqual({ joined: true, ousted: null });
    queue.release("a");
    expect(queue.take(ticket(0), 0)).toBeNull();
    expect(queue.grant(0)).toEqual([{ ticket: one, instanceId: "a" }]);
  });

  test("the limit counts those who wait; who comes back is let in before all others", () => {
    const queue = new SlotQueue<Ticket>();
    const [one, two, back] = [ticket(1), ticket(2), ticket(3)];
    expect(queue.join(one, { ...limits, requests: 1 }).joined).toBe(true);
    expect(queue.join(two, { ...limits, requests: 1 }).joined).toBe(false);
    queue.rejoin(back);
    queue.setInstances([instance("a", 2)]);
    expect(queue.grant(0).map((grant) => grant.ticket)).toEqual([back, one]);
  });

  test("a full line takes a newcomer in for the newest of whoever has most", () => {
    const queue = new SlotQueue<Ticket>();
    const anns = Array.from({ length: 4 }, (_, i) => ticket(i));
    for (const one of anns) queue.join(one, { ...limits, requests: 4 });
    const bobs = Array.from({ length: 3 }, (_, i) => ticket(10 + i, { account: "bob" }));
    const outcomes = bobs.map((one) => queue.join(one, { ...limits, requests: 4 }));
    expect(outcomes.map(({ joined, ousted }) => [joined, ousted?.number])).toEqual([
      [true, 3],
      [true, 2],
      [false, undefined],
    ]);
    const flex = ticket(20, { account: "bob", tier: "flex" });
    expect(queue.join(flex, { ...limits, requests: 4 }).joined).toBe(false);
    const urgent = ticket(21, { tier: "priority" });
    expect(queue.join(urgent, { ...limits, requests: 4 })).toMatchObject({ joined: true });
    expect(queue.waiting).toBe(4);
  });

  test("bytes are bounded, for one account at half", () => {
    const queue = new SlotQueue<Ticket>();
    const join = (account: string, bytes: number) =>
      queue.join(ticket(0, { account, bytes }), { requests: 10, bytes: 100 }).joined;
    expect([join("ann", 40), join("ann", 20), join("ann", 10)]).toEqual([true, false, true]);
    expect([join("bob", 60), join("bob", 50), join("eve", 1)]).toEqual([false, true, false]);
    for (const one of queue.dismiss()) expect(queue.leave(one)).toBe(false);
    // Alone, a request may be as large as it wants: bodies have a limit of their own.
    expect(join("eve", 500)).toBe(true);
  });

  test("a draining, a vanished and a paused instance take nothing new, and what they have stays counted", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 2)]);
    queue.take(ticket(0), 0);
    queue.setInstances([instance("a", 2, true)]);
    expect([queue.take(ticket(0), 0), queue.openSlots]).toEqual([null, 0]);
    queue.setInstances([]);
    expect(queue.inFlight("a")).toBe(1);
    expect(queue.busyInstances()).toEqual(["a"]);
    queue.release("a");
    expect(queue.running).toBe(0);
    queue.setInstances([instance("b", 1)]);
    queue.pause("b", 50);
    expect(queue.take(ticket(0), 49)).toBeNull();
    expect(queue.take(ticket(0), 50)).toBe("b");
  });

  test("an instance that failed with a request is its last choice", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 1), instance("b", 1)]);
    expect(queue.take(ticket(0, { avoid: ["a"] }), 0)).toBe("b");
    expect(queue.take(ticket(0, { avoid: ["a"] }), 0)).toBe("a");
  });

  test("requests that begin alike go to one instance, unlike ones are spread", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 8), instance("b", 8)]);
    const long = (start: number) => Array.from({ length: 50 }, (_, i) => start + i);
    const first = queue.take(ticket(0, { prefix: long(1000) }), 0);
    const second = queue.take(ticket(0, { prefix: long(2000) }), 0);
    expect(new Set([first, second]).size).toBe(2);
    for (const [id, start] of [
      [first, 1000],
      [second, 2000],
    ] as const) {
      expect(queue.take(ticket(0, { prefix: [...long(start), 1, 2, 3] }), 0)).toBe(id);
    }
  });

  test("a slot given back twice is a defect and says so", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 2)]);
    expect(() => queue.release("a")).toThrow("no slot taken");
  });

  test("tiers go in order, and none is passed over without end", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 1)]);
    const many = { requests: 1000, bytes: 1e9 };
    for (const tier of ["flex", "default", "priority"] as const) {
      for (let i = 0; i < 100; i += 1) queue.join(ticket(i, { tier }), many);
    }
    const order: Tier[] = [];
    for (let i = 0; i < 102; i += 1) {
      for (const grant of queue.grant(0)) order.push(grant.ticket.tier);
      queue.release("a");
    }
    expect(order.slice(0, 10)).toEqual([...Array(8).fill("priority"), "default", "priority"]);
    for (const [tier, most] of [
      ["default", 9],
      ["flex", 34],
    ] as const) {
      const times = order.flatMap((one, at) => (one === tier ? [at + 1] : []));
      const gaps = times.map((at, i) => at - (times[i - 1] ?? 0));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(most);
      expect(times.length).toBeGreaterThanOrEqual(Math.floor(102 / most));
    }
  });

  test("whatever happens: never above the slots, none free while somebody waits, in order, nobody lost", () => {
    const tier = fc.constantFrom<Tier>("priority", "default", "flex");
    const who = fc.record({
      account: fc.constantFrom("ann", "bob"),
      tokenId: fc.constantFrom("s", "t"),
      tier,
    });
    const pick = fc.nat();
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant("arrive" as const), who }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("finish" as const), pick }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("return" as const), pick }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), pick }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("instances" as const),
          slots: fc.array(fc.nat(3), { maxLength: 3 }),
          draining: fc.nat(3),
        }),
      },
    );
    const flowOf = (one: Ticket) => `${one.tier} ${one.account} ${one.tokenId}`;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new SlotQueue<Ticket>();
        const waiting: Ticket[] = [];
        const returned = new Set<Ticket>();
        const running: { ticket: Ticket; instanceId: string }[] = [];
        let slots = new Map<string, number>();
        let count = 0;

        const heldBy = (id: string) => running.filter((one) => one.instanceId === id).length;
        const start = (one: Ticket, instanceId: string) => {
          running.push({ ticket: one, instanceId });
          expect(heldBy(instanceId)).toBeLessThanOrEqual(slots.get(instanceId) ?? 0);
        };
        const forget = (one: Ticket) => {
          waiting.splice(waiting.indexOf(one), 1);
          returned.delete(one);
        };
        const grant = () => {
          for (const { ticket: one, instanceId } of queue.grant(0)) {
            const back = waiting.find((other) => returned.has(other));
            // Whoever came back goes first; within a token's tier the oldest does.
            expect(one).toBe(back ?? waiting.find((other) => flowOf(other) === flowOf(one)));
            forget(one);
            start(one, instanceId);
          }
          const free = [...slots].some(([id, all]) => heldBy(id) < all);
          expect(free && waiting.length > 0).toBe(false);
        };
        for (const one of steps) {
          if (one.kind === "arrive") {
            const arrived = ticket(count++, one.who);
            const instanceId = queue.take(arrived, 0);
            if (instanceId !== null) {
              expect(waiting).toEqual([]);
              start(arrived, instanceId);
            } else {
              const { joined, ousted } = queue.join(arrived, { requests: 20, bytes: 1e9 });
              if (ousted !== null) forget(ousted);
              if (joined) waiting.push(arrived);
              else expect(waiting.length).toBeGreaterThanOrEqual(20);
            }
          } else if (one.kind === "instances") {
            queue.setInstances(one.slots.map((n, i) => instance(`i${i}`, n, i === one.draining)));
            slots = new Map(one.slots.map((n, i) => [`i${i}`, i === one.draining ? 0 : n]));
          } else if (one.kind === "leave") {
            const leaving = waiting[one.pick % Math.max(1, waiting.length)];
            if (leaving === undefined) continue;
            expect([queue.leave(leaving), queue.leave(leaving)]).toEqual([true, false]);
            forget(leaving);
          } else {
            const [ended] = running.splice(one.pick % Math.max(1, running.length), 1);
            if (ended === undefined) continue;
            queue.release(ended.instanceId);
            if (one.kind === "finish") queue.correct(ended.ticket, one.pick % 100);
            else {
              queue.rejoin(ended.ticket);
              waiting.push(ended.ticket);
              returned.add(ended.ticket);
            }
          }
          grant();
          expect([queue.waiting, queue.running]).toEqual([waiting.length, running.length]);
        }
        expect(new Set(queue.dismiss())).toEqual(new Set(waiting));
      }),
    );
  });
});
