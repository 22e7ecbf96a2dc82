import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FairLine } from "./fairness.ts";

type Ticket = { readonly account: string; readonly tokenId: string; readonly number: number };

let count = 0;
const ticket = (account: string, tokenId = `${account}-1`): Ticket => {
  count += 1;
  return { account, tokenId, number: count };
};

/** Takes the next out of the line and charges it. */
function serve(line: FairLine<Ticket>, work: (ticket: Ticket) => number): Ticket | null {
  const next = line.peek();
  if (next === null) return null;
  line.start(next, work(next));
  expect(line.remove(next)).toBe(true);
  return next;
}

describe("the fair order", () => {
  test("first come first served for one token; accounts take turns whatever each has waiting", () => {
    const line = new FairLine<Ticket>();
    const ann = [ticket("ann"), ticket("ann"), ticket("ann")];
    const bob = [ticket("bob"), ticket("bob")];
    for (const one of [...ann, ...bob]) line.add(one);
    const order = Array.from({ length: 5 }, () => serve(line, () => 10));
    expect(order).toEqual([ann[0], bob[0], ann[1], bob[1], ann[2]]);
    expect([line.size, line.peek()]).toEqual([0, null]);
  });

  test("within an account its tokens take turns, and count as one account", () => {
    const line = new FairLine<Ticket>();
    for (let i = 0; i < 6; i += 1) for (const token of ["a", "b"]) line.add(ticket("ann", token));
    for (let i = 0; i < 6; i += 1) line.add(ticket("bob"));
    const order = Array.from({ length: 8 }, () => serve(line, () => 10)?.tokenId);
    expect(order.filter((one) => one === "bob-1")).toHaveLength(4);
    expect(order.filter((one) => one === "a")).toHaveLength(2);
  });

  test("what nobody else wanted is not held against an account that took it", () => {
    const line = new FairLine<Ticket>();
    for (let i = 0; i < 50; i += 1) line.start(ticket("ann"), 1000);
    // bob asks for the first time, then both wait.
    for (let i = 0; i < 10; i += 1) line.add(ticket("bob"));
    for (let i = 0; i < 10; i += 1) line.add(ticket("ann"));
    const order = Array.from({ length: 6 }, () => serve(line, () => 1000)?.account);
    expect(order.filter((one) => one === "ann").length).toBeGreaterThanOrEqual(2);
  });

  test("a guess that was too low is made up for", () => {
    const line = new FairLine<Ticket>();
    for (let i = 0; i < 10; i += 1) for (const account of ["ann", "bob"]) line.add(ticket(account));
    const first = serve(line, () => 1);
    expect(first?.account).toBe("ann");
    line.correct({ account: "ann", tokenId: "ann-1" }, 50);
    expect(Array.from({ length: 5 }, () => serve(line, () => 10)?.account)).toEqual(Array(5).fill("bob"));
  });

  test("of very many accounts those that had least are forgotten, also where nobody ever waits", () => {
    const line = new FairLine<Ticket>();
    line.start(ticket("ann"), 1);
    for (let i = 0; i < 10_001; i += 1) line.start(ticket(`a${i}`), 5);
    // What ann had is known no more: she is a newcomer like bob, and came first.
    for (const account of ["ann", "bob"]) line.add(ticket(account));
    expect(line.peek()?.account).toBe("ann");
  });

  test("the newest of the longest gives way", () => {
    const line = new FairLine<Ticket>();
    const ann = [ticket("ann"), ticket("ann"), ticket("ann")];
    for (const one of [...ann, ticket("bob")]) line.add(one);
    expect(line.newestOfLongest(0)).toBe(ann[2]);
    expect(line.newestOfLongest(3)).toBeNull();
    expect([line.ahead("bob"), line.ahead("eve")]).toEqual([3, 2]);
  });

  test("accounts that wait all the time get the same, within twice the largest request", () => {
    const maxWork = 100;
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: maxWork }), { minLength: 1 }), {
          minLength: 2,
          maxLength: 5,
        }),
        fc.array(fc.nat(4), { maxLength: 20 }),
        fc.integer({ min: 1, max: 200 }),
        (works, before, rounds) => {
          const line = new FairLine<Ticket>();
          // Some were served before anyone waited: that must not count.
          for (const who of before) line.start(ticket(`a${who % works.length}`), maxWork);
          for (const at of works.keys()) for (let i = 0; i <= rounds; i += 1) line.add(ticket(`a${at}`));
          const served = works.map(() => 0);
          const turns = works.map(() => 0);
          for (let round = 0; round < rounds; round += 1) {
            serve(line, ({ account }) => {
              const at = Number(account.slice(1));
              const list = works[at] ?? [1];
              const work = list[(turns[at] ?? 0) % list.length] ?? 1;
              turns[at] = (turns[at] ?? 0) + 1;
              served[at] = (served[at] ?? 0) + work;
              return work;
            });
          }
          expect(Math.max(...served) - Math.min(...served)).toBeLessThanOrEqual(2 * maxWork);
        },
      ),
    );
  });
});
