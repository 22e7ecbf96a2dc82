/** Who rests, and that a port that was closed comes back: with the messages alone; real processes are in test/end-to-end. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Listener, PortShare } from "./port-share.ts";

/** A process that does as it is told. */
class Child implements Listener {
  readonly connected = true;
  listens = true;
  told: string[] = [];

  send(message: { readonly type: string }): boolean {
    this.told.push(message.type);
    this.listens = message.type === "listen";
    return true;
  }

  kill(): boolean {
    return true;
  }
}

/** No port travels here: any descriptor will do. */
const fd = 1;

function fill(share: PortShare, child: Child): void {
  child.listens = false;
  share.hasRoom(child, false);
}

function shareOf(children: readonly Child[]): PortShare {
  const share = new PortShare(fd);
  for (const child of children) share.serves(child);
  return share;
}

describe("a port that is shared", () => {
  it("is left by who has no room, until it has some", () => {
    const [one, two] = [new Child(), new Child()];
    const share = shareOf([one, two]);
    fill(share, one);
    expect([one.listens, two.listens]).toEqual([false, true]);
    share.hasRoom(one, true);
    expect([one.listens, two.listens]).toEqual([true, true]);
    expect(two.told).toEqual([]);
  });

  it("is listened at by all where none has room: somebody has to say so", () => {
    const [one, two] = [new Child(), new Child()];
    const share = shareOf([one, two]);
    fill(share, one);
    fill(share, two);
    expect([one.listens, two.listens]).toEqual([true, true]);
    share.hasRoom(two, true);
    expect([one.listens, two.listens]).toEqual([false, true]);
  });

  it("is listened at again when the ones with room have ended, and left again when another serves", () => {
    const [one, two, next] = [new Child(), new Child(), new Child()];
    const share = shareOf([one, two]);
    fill(share, one);
    share.leaves(two);
    expect(one.listens).toBe(true);
    share.serves(next);
    expect([one.listens, next.listens]).toEqual([false, true]);
  });

  it("is never without a listener, nor with one that rests for nobody, whatever happens", () => {
    const what = fc.constantFrom<("full" | "room" | "leaves" | "serves")[]>(
      ...(["full", "room", "leaves", "serves"] as const),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(what, fc.nat(3)), { maxLength: 40 }), (steps) => {
        const seats = [new Child(), new Child(), new Child(), new Child()];
        const full = new Set<Child>();
        const serving = new Set(seats);
        const share = shareOf(seats);
        for (const [kind, at] of steps) {
          const child = seats[at] ?? new Child();
          if (kind === "full" && serving.has(child) && !full.has(child)) {
            full.add(child);
            fill(share, child);
          } else if (kind === "room") {
            full.delete(child);
            share.hasRoom(child, true);
          } else if (kind === "leaves") {
            serving.delete(child);
            full.delete(child);
            share.leaves(child);
          } else if (kind === "serves" && !serving.has(child)) {
            const started = new Child();
            seats[at] = started;
            serving.add(started);
            share.serves(started);
          }
          const isRoomSomewhere = [...serving].some((each) => !full.has(each));
          for (const each of serving) expect(each.listens).toBe(!(isRoomSomewhere && full.has(each)));
        }
      }),
    );
  });
});
