import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SlotQueue } from "./queue.ts";

type Ticket = { readonly number: number };

const instance = (id: string, slots: number, isDraining = false) => ({ id, slots, isDraining });

describe("the line in front of a deployment", () => {
  test("a free slot is taken at once, and only when nobody waits", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 1)]);
    expect(queue.take(0)).toBe("a");
    expect(queue.take(0)).toBeNull();
    expect(queue.join({ number: 1 }, 10)).toBe(true);
    queue.release("a");
    expect(queue.take(0)).toBeNull();
    expect(queue.grant(0)).toEqual([{ ticket: { number: 1 }, instanceId: "a" }]);
  });

  test("the limit counts those who wait; who comes back is let in before all others", () => {
    const queue = new SlotQueue<Ticket>();
    const [one, two, back] = [{ number: 1 }, { number: 2 }, { number: 3 }];
    expect(queue.join(one, 1)).toBe(true);
    expect(queue.join(two, 1)).toBe(false);
    queue.rejoin(back);
    queue.setInstances([instance("a", 2)]);
    expect(queue.grant(0).map((grant) => grant.ticket)).toEqual([back, one]);
  });

  test("a draining, a vanished and a paused instance take nothing new, and what they have stays counted", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 2)]);
    queue.take(0);
    queue.setInstances([instance("a", 2, true)]);
    expect(queue.take(0)).toBeNull();
    queue.setInstances([]);
    expect(queue.inFlight("a")).toBe(1);
    expect(queue.busyInstances()).toEqual(["a"]);
    queue.release("a");
    expect(queue.running).toBe(0);
    queue.setInstances([instance("b", 1)]);
    queue.pause("b", 50);
    expect(queue.take(49)).toBeNull();
    expect(queue.take(50)).toBe("b");
  });

  test("a slot given back twice is a defect and says so", () => {
    const queue = new SlotQueue<Ticket>();
    queue.setInstances([instance("a", 2)]);
    expect(() => queue.release("a")).toThrow("no slot taken");
  });

  test("whatever happens: never above the slots, first come first served, nobody lost", () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.constant({ kind: "arrive" as const }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("finish" as const), pick: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("return" as const), pick: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), pick: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("instances" as const),
          slots: fc.array(fc.nat(3), { maxLength: 3 }),
          draining: fc.nat(3),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new SlotQueue<Ticket>();
        const waiting: Ticket[] = [];
        const returned = new Set<Ticket>();
        const running: { ticket: Ticket; instanceId: string }[] = [];
        let slots = new Map<string, number>();
        let count = 0;

        const start = (ticket: Ticket, instanceId: string) => {
          running.push({ ticket, instanceId });
          const held = running.filter((one) => one.instanceId === instanceId).length;
          expect(held).toBeLessThanOrEqual(slots.get(instanceId) ?? 0);
        };
        const grant = () => {
          for (const { ticket, instanceId } of queue.grant(0)) {
            const expected = waiting.find((one) => returned.has(one)) ?? waiting[0];
            expect(ticket).toBe(expected);
            waiting.splice(waiting.indexOf(ticket), 1);
            returned.delete(ticket);
            start(ticket, instanceId);
          }
        };
        for (const one of steps) {
          if (one.kind === "arrive") {
            const ticket = { number: count++ };
            const instanceId = queue.take(0);
            if (instanceId !== null) {
              expect(waiting).toEqual([]);
              start(ticket, instanceId);
            } else if (queue.join(ticket, 20)) waiting.push(ticket);
            else expect(waiting.length).toBeGreaterThanOrEqual(20);
          } else if (one.kind === "instances") {
            queue.setInstances(one.slots.map((n, i) => instance(`i${i}`, n, i === one.draining)));
            slots = new Map(one.slots.map((n, i) => [`i${i}`, i === one.draining ? 0 : n]));
          } else if (one.kind === "leave") {
            const ticket = waiting[one.pick % Math.max(1, waiting.length)];
            if (ticket === undefined) continue;
            expect(queue.leave(ticket)).toBe(true);
            expect(queue.leave(ticket)).toBe(false);
            waiting.splice(waiting.indexOf(ticket), 1);
            returned.delete(ticket);
          } else {
            const [ended] = running.splice(one.pick % Math.max(1, running.length), 1);
            if (ended === undefined) continue;
            queue.release(ended.instanceId);
            if (one.kind === "return") {
              queue.rejoin(ended.ticket);
              waiting.push(ended.ticket);
              returned.add(ended.ticket);
            }
          }
          grant();
          expect(queue.waiting).toBe(waiting.length);
          expect(queue.running).toBe(running.length);
        }
        expect(new Set(queue.dismiss())).toEqual(new Set(waiting));
      }),
    );
  });
});
