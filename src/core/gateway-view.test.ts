import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GatewayView, membersOf, ownerOf, Telling } from "./gateway-view.ts";

const viewOf = (seats: readonly number[], version = 1): GatewayView => ({
  version,
  members: membersOf(seats.map((seat) => ({ id: `p${seat}`, seat, path: "" }))),
});
const ids = Array.from({ length: 2000 }, (_, at) => `deployment-${at}`);

describe("the owner of a deployment", () => {
  test("a seat that goes moves its own deployments alone", () => {
    const seats = fc.uniqueArray(fc.nat(31), { minLength: 2, maxLength: 32 });
    fc.assert(
      fc.property(seats, fc.nat(), fc.string(), (taken, at, deploymentId) => {
        const gone = taken[at % taken.length];
        const before = ownerOf(deploymentId, viewOf(taken));
        const after = ownerOf(
          deploymentId,
          viewOf(
            taken.filter((seat) => seat !== gone),
            2,
          ),
        );
        if (before?.seat !== gone) expect(after).toEqual(before);
        else expect(after?.seat).not.toBe(gone);
      }),
    );
  });

  test.each([2, 3, 4, 8, 32])("each of %i seats has about its share", (count) => {
    const view = viewOf(Array.from({ length: count }, (_, seat) => seat));
    const shares = Map.groupBy(ids, (id) => ownerOf(id, view)?.id);
    expect(shares.size).toBe(count);
    for (const { length } of shares.values()) {
      // Four standard deviations: chance alone explains no more.
      const mean = ids.length / count;
      expect(Math.abs(length - mean)).toBeLessThan(4 * Math.sqrt(mean));
    }
  });

  test("is nobody where no seat is taken", () => {
    expect(ownerOf("d1", { version: 1, members: [] })).toBeNull();
  });

  test("a successor has the seat, and so what its predecessor had; who has a successor owns nothing", () => {
    const processes = [
      { id: "old", seat: 0, path: "" },
      { id: "other", seat: 1, path: "" },
    ];
    const before = { version: 1, members: membersOf(processes) };
    const after = { version: 2, members: membersOf([...processes, { id: "new", seat: 0, path: "" }]) };
    expect(after.members.map(({ seat }) => seat)).toEqual([null, 1, 0]);
    for (const id of ids) {
      const [was, is] = [ownerOf(id, before)?.id, ownerOf(id, after)?.id];
      expect(is).toBe(was === "old" ? "new" : "other");
    }
  });
});

test("an owner has heard from everybody when every other member has told all of this view or a later one", () => {
  const telling = new Telling("p0");
  telling.enter(viewOf([0]));
  expect(telling.isComplete).toBe(true);
  telling.enter(viewOf([0, 1, 2], 2));
  telling.told("p1", 2);
  expect(telling.isComplete).toBe(false);
  telling.told("p2", 2);
  expect(telling.isComplete).toBe(true);
  telling.enter(viewOf([0, 1, 2, 3], 3));
  telling.told("p1", 3);
  telling.told("p2", 2);
  // The third ends before it has told anything.
  telling.enter(viewOf([0, 1, 2], 4));
  expect(telling.isComplete).toBe(false);
  telling.told("p1", 4);
  telling.told("p2", 4);
  expect(telling.isComplete).toBe(true);
});
