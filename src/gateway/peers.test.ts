/** Several processes of one gateway: lines move between them, with everything that belongs to them. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { ownerOf } from "../core/gateway-view.ts";
import { HttpError } from "../schema/errors.ts";
import {
  acquireAt,
  announce,
  ask,
  come,
  deliver,
  deliverAll,
  end,
  group,
  instance,
  never,
  noLimits,
  type Process,
  startProcess,
  tick,
  useGroup,
} from "./peers-rig.ts";
import { modelOf } from "./test-rig.ts";

useGroup();

const loadOf = ({ admission }: Process) => {
  const { running = 0, queued = 0, inFlight = {} } = admission.load().d1 ?? {};
  return { running, queued, inFlight: inFlight.i1 ?? 0 };
};
const idle = { running: 0, queued: 0, inFlight: 0 };
const settled = (one: Process, load: object) => eventually(() => expect(loadOf(one)).toEqual(load));

/** A deployment whose line is with the first of these seats, and when that one has gone with the second, and so on. */
function idOwnedBy(...order: readonly number[]): string {
  const isOwned = (id: string) =>
    order.every((seat, gone) => {
      const there = order.slice(gone).map((one) => ({ id: String(one), seat: one, path: "" }));
      return ownerOf(id, { version: 1, members: there })?.seat === seat;
    });
  for (let at = 0; ; at += 1) if (isOwned(`d${at}`)) return `d${at}`;
}

describe("a successor", () => {
  const model = (slots: number) => modelOf([instance(slots)], { deploymentId: "d1" });

  test("counts what its predecessor has in flight, and that one's end frees it for whoever waits", async () => {
    const older = await come(0, model(1));
    const first = await acquireAt(older, ask(), never);
    const younger = await come(0, model(1));
    expect(loadOf(younger)).toEqual({ running: 1, queued: 0, inFlight: 1 });
    // What the younger one reports already is not reported twice.
    expect(loadOf(older)).toEqual({ running: 0, queued: 0, inFlight: 1 });
    await expect(acquireAt(younger, ask({ failFast: true }), never)).rejects.toThrow(HttpError);
    const next = acquireAt(younger, ask(), never);
    first.served(10);
    first.release();
    (await next).release();
    await settled(younger, idle);
  });

  test("lets those who wait at its predecessor go before newcomers", async () => {
    const older = await come(0, model(1));
    const first = await acquireAt(older, ask(), never);
    const order: string[] = [];
    const take = async (at: Process, name: string) => {
      const lease = await acquireAt(at, ask(), never);
      order.push(name);
      lease.release();
    };
    const waiting = [take(older, "first"), take(older, "second")];
    const younger = await come(0, model(1));
    waiting.push(take(younger, "third"));
    await eventually(() => expect(loadOf(younger).queued).toBe(3));
    first.release();
    await Promise.all(waiting);
    expect(order).toEqual(["first", "second", "third"]);
  });

  test("gives its predecessor's newcomers slots, routes and refusals", async () => {
    const older = await come(0, modelOf([], { deploymentId: "d1", state: "asleep" }));
    const younger = await come(0, model(1));
    const lease = await acquireAt(older, ask(), never);
    expect(lease.instance).toEqual(instance(1));
    const refused = await acquireAt(older, ask({ failFast: true }), never).catch((error) => error);
    const same = await acquireAt(younger, ask({ failFast: true }), never).catch((error) => error);
    expect(refused).toBeInstanceOf(HttpError);
    expect(refused).toEqual(same);
    lease.release();
    await settled(younger, idle);
  });

  test("has no place left of who leaves while waiting", async () => {
    const older = await come(0, model(1));
    const first = await acquireAt(older, ask(), never);
    const [one, two] = [new AbortController(), new AbortController()];
    const waiting = acquireAt(older, ask(), one.signal);
    const younger = await come(0, model(1));
    const later = acquireAt(older, ask(), two.signal);
    await eventually(() => expect(loadOf(younger).queued).toBe(2));
    one.abort(new Error("left"));
    two.abort(new Error("left"));
    await expect(waiting).rejects.toThrow("left");
    await expect(later).rejects.toThrow("left");
    await settled(younger, { running: 1, queued: 0, inFlight: 1 });
    first.release();
    await settled(younger, idle);
  });

  test("counts requests of a deployment that it has not heard of yet", async () => {
    const older = await come(0, model(1));
    const first = await acquireAt(older, ask(), never);
    const younger = await come(0);
    younger.admission.setModels([model(1)], noLimits);
    await expect(acquireAt(younger, ask({ failFast: true }), never)).rejects.toThrow(HttpError);
    first.release();
  });

  test("goes on from what its predecessor has counted in the last minute, what is in flight counted once", async () => {
    const accounts = [
      { name: "ann", concurrentRequests: null, requestsPerMinute: 3, tokensPerMinute: null },
      { name: "bob", concurrentRequests: null, requestsPerMinute: null, tokensPerMinute: 450 },
    ];
    const limits = { accounts, limitedTokens: [] };
    const older = await come(0);
    older.admission.setModels([model(9)], limits);
    const bob = ask({ account: "bob", tokenId: "t2" });
    for (const tokens of [10, 200]) {
      const lease = await acquireAt(older, tokens === 10 ? ask() : bob, never);
      lease.served(tokens);
      lease.release();
    }
    const inFlight = [await acquireAt(older, ask(), never), await acquireAt(older, bob, never)];
    const younger = await startProcess(0);
    younger.admission.setModels([model(9)], limits);
    group.members.push(younger);
    announce();
    deliverAll();
    await younger.peers.settled;
    // Of ann's three one is over and one in flight.
    const third = await acquireAt(younger, ask(), never);
    await expect(acquireAt(younger, ask(), never)).rejects.toMatchObject({ code: "rate_limited" });
    // Of bob's 200 are over, and in flight is a guess of 105 by what was seen: the next one makes 410.
    await acquireAt(younger, bob, never);
    await expect(acquireAt(younger, bob, never)).rejects.toMatchObject({ code: "rate_limited" });
    for (const lease of [...inFlight, third]) lease.release();
  });

  test("that ends gives everything back, and what it had in flight is free", async () => {
    const older = await come(0, model(2));
    const before = await acquireAt(older, ask(), never);
    const younger = await come(0, model(2));
    await acquireAt(younger, ask(), never);
    const waiting = acquireAt(older, ask(), never);
    await settled(younger, { running: 2, queued: 1, inFlight: 2 });
    end(younger);
    deliverAll();
    const served = await waiting;
    expect(loadOf(older)).toEqual({ running: 2, queued: 0, inFlight: 2 });
    for (const lease of [before, served]) lease.release();
    expect(loadOf(older)).toEqual(idle);
  });
});

describe("processes side by side", () => {
  const deploymentId = idOwnedBy(1, 0);
  const model = modelOf([instance(1)], { deploymentId });
  const running = ({ admission }: Process) => admission.load()[deploymentId]?.running ?? 0;

  test("have one retry budget, and one memory of what failed where", async () => {
    const two = { ...instance(1), id: "i2" };
    const both = modelOf([instance(1), two], { deploymentId });
    const [lessee, owner] = [await come(0, both), await come(1, both)];
    let tries = 0;
    while (await lessee.admission.mayRetry(deploymentId)) tries += 1;
    expect(tries).toBe(10);
    expect(await owner.admission.mayRetry(deploymentId)).toBe(false);
    const bad = await acquireAt(lessee, ask({ deploymentId, avoid: ["i2"] }), never);
    expect(bad.instance.id).toBe("i1");
    bad.failed(false);
    bad.release();
    await eventually(() => expect(running(owner)).toBe(0));
    const other = await acquireAt(owner, ask({ deploymentId, avoid: ["i2"] }), never);
    expect(other.instance.id).toBe("i2");
  });

  test("a limit of an account holds for all of them together", async () => {
    const accounts = [{ name: "ann", concurrentRequests: 2, requestsPerMinute: null, tokensPerMinute: null }];
    const many = modelOf([instance(9)], { deploymentId });
    const [one, two] = [await come(0), await come(1)];
    for (const { admission } of [one, two]) admission.setModels([many], { accounts, limitedTokens: [] });
    const first = await acquireAt(one, ask({ deploymentId }), never);
    await acquireAt(two, ask({ deploymentId }), never);
    const refusal = { code: "rate_limited", status: 429 };
    await expect(acquireAt(one, ask({ deploymentId }), never)).rejects.toMatchObject(refusal);
    first.release();
    await eventually(() => expect(running(two)).toBe(1));
    await acquireAt(one, ask({ deploymentId }), never);
  });

  test("a connection that breaks is made anew, and nothing is lost or counted twice", async () => {
    const relay = await openRelay();
    const lessee = await come(0, model);
    const owner = await startProcess(1);
    owner.admission.setModels([model], noLimits);
    group.members.push({ ...owner, path: relay.path });
    relay.leadTo(owner.path);
    announce();
    deliverAll();
    await owner.peers.settled;
    const first = await acquireAt(lessee, ask({ deploymentId }), never);
    const waiting = acquireAt(lessee, ask({ deploymentId }), never);
    await eventually(() => expect(owner.admission.load()[deploymentId]?.queued).toBe(1));
    const relayed = relay.count;
    relay.cut();
    await eventually(() => expect(owner.admission.load()[deploymentId]?.queued).toBe(0));
    expect(running(owner)).toBe(1);
    await eventually(() => expect(relay.count).toBeGreaterThan(relayed));
    await eventually(() =>
      expect(owner.admission.load()[deploymentId]).toMatchObject({ queued: 1, running: 1 }),
    );
    first.release();
    (await waiting).release();
    await eventually(() => expect(running(owner)).toBe(0));
    relay.close();
  });

  test("who is in a view before others is heard by them when they are in it too", async () => {
    const id = idOwnedBy(1, 2, 0);
    const one = modelOf([instance(1)], { deploymentId: id });
    const [lessee, owner, next] = [await come(0, one), await come(1, one), await come(2, one)];
    const held = await acquireAt(lessee, ask({ deploymentId: id }), never);
    end(owner);
    deliver(lessee);
    // What it tells now arrives at the next owner before the view does.
    for (let ticks = 0; ticks < 50; ticks += 1) await tick();
    deliver(next);
    for (let ticks = 0; ticks < 50; ticks += 1) await tick();
    const refused = acquireAt(next, ask({ deploymentId: id, failFast: true }), never);
    await expect(refused).rejects.toMatchObject({ code: "queue_full" });
    held.release();
    await eventually(() => expect(next.admission.load()[id]?.running).toBe(0));
  });

  test("what one has spent for a scoped JWT all others hear", async () => {
    const [one, two, three] = [await come(0), await come(1), await come(2)];
    one.peers.spent("s1", 5);
    const heard = [`${two.id} heard s1 5`, `${three.id} heard s1 5`];
    await eventually(() => expect(group.spent.toSorted()).toEqual(heard));
  });

  test("one of them tells the figures of all; who has a successor is left out", async () => {
    const only = await come(0);
    expect(await only.peers.figures()).toEqual({ own: 1, others: [] });
    const other = await come(1);
    const successor = await come(1);
    const figures = await only.peers.figures();
    expect(figures?.own).toBe(1);
    const samples = [{ labels: { of: successor.id }, value: Number.NaN }];
    expect(figures?.others).toEqual([
      { number: 2, families: [{ name: "count", help: "h", type: "counter", samples }] },
    ]);
    expect(await other.peers.figures()).toMatchObject({ own: null, others: [{ number: 1 }, { number: 2 }] });
  });

  test("a version of the routes is reached when the last of them has reached it", async () => {
    const [one, two] = [await come(0, model), await come(1, model)];
    one.peers.routesChanged(7);
    two.peers.routesChanged(5);
    await eventually(() => expect(group.routesEverywhere.at(-1)).toBe(5));
    two.peers.routesChanged(8);
    await eventually(() => expect(group.routesEverywhere.at(-1)).toBe(7));
  });
});

async function openRelay() {
  const path = join(group.folder, "relay");
  const sockets: Socket[] = [];
  let to = "";
  const relay = createServer((socket) => {
    const onward = connect(to);
    sockets.push(socket, onward);
    socket.pipe(onward).pipe(socket);
    for (const one of [socket, onward]) one.on("error", () => undefined);
  });
  await once(relay.listen(path), "listening");
  return {
    path,
    get count() {
      return sockets.length;
    },
    leadTo: (target: string) => {
      to = target;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => relay.close(),
  };
}
