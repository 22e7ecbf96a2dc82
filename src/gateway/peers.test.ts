/** Several processes of one gateway, here in one: lines move between them, and never more is given out than there are slots. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type GatewayView, membersOf, ownerOf, type SeatedProcess } from "../core/gateway-view.ts";
import type { Tier } from "../core/queue.ts";
import type { RouteInstance, RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { type Admission, type AdmissionAsk, createAdmission } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import type { Lease } from "./lease.ts";
import { Peers } from "./peers.ts";
import { modelOf } from "./test-rig.ts";

const noLimits = { accounts: [], limitedTokens: [] };
const never = new AbortController().signal;
const tick = () => new Promise((resolve) => setImmediate(resolve));

const instance = (slots: number): RouteInstance => ({
  ...{ id: "i1", slots, isDraining: false, secret: "secret" },
  endpoint: { kind: "tcp", host: "127.0.0.1", port: 9 },
});
const ask = (more: Partial<AdmissionAsk> = {}): AdmissionAsk => ({
  ...{ deploymentId: "d1", account: "ann", tokenId: "t1", tier: "default", failFast: false },
  ...{ body: Buffer.from("{}"), deadlineMs: null, isReturning: false, avoid: [], ...more },
});

type Process = SeatedProcess & {
  readonly admission: Admission;
  readonly peers: Peers;
  /** Views that are on their way to it. */
  readonly views: GatewayView[];
};

let folder: string;
let count = 0;
/** Those that are there, as the supervisor sees it. */
let members: Process[];
let version: number;
let routesEverywhere: number[];
let spent: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-peers-"));
  [members, version, routesEverywhere, spent] = [[], 0, [], []];
});
afterEach(() => {
  for (const { peers } of members) peers.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startProcess(seat: number, queueMax = 1000): Promise<Process> {
  count += 1;
  const [id, path] = [String(count), join(folder, String(count))];
  const limits = { waitMs: 60_000, slotWaitMs: 60_000, quietMs: 60_000, queueMax, queueBytes: 1e6 };
  const admission = createAdmission({ limits, isShared: true, now: Date.now, onLoad: () => undefined });
  const peers = new Peers({
    ...{ self: id, path, areMany: true, admission, log: () => undefined, now: Date.now },
    figures: async () => [
      { name: "count", help: "h", type: "counter", samples: [{ labels: { of: id }, value: Number.NaN }] },
    ],
    routesReached: async () => undefined,
    onSpentElsewhere: (scopeId, nanoUsd) => spent.push(`${id} heard ${scopeId} ${nanoUsd}`),
    onRoutesEverywhere: (reached) => routesEverywhere.push(reached),
  });
  await peers.open();
  return { id, seat, path, admission, peers, views: [] };
}

/** Tells all of them who is there, some time. */
function announce(): void {
  version += 1;
  const view = { version, members: membersOf(members.map(({ id, seat, path }) => ({ id, seat, path }))) };
  for (const { views } of members) views.push(view);
}

function deliver(one: Process): void {
  const view = one.views.shift();
  if (view !== undefined) one.peers.enter(view);
}

function deliverAll(): void {
  for (const one of members) while (one.views.length > 0) deliver(one);
}

async function come(seat: number, model: RouteModel | null = null, queueMax = 1000): Promise<Process> {
  const one = await startProcess(seat, queueMax);
  if (model !== null) one.admission.setModels([model], noLimits);
  members.push(one);
  announce();
  deliverAll();
  await one.peers.settled;
  return one;
}

/** As by kill -9: the supervisor has seen its end. */
function end(one: Process): void {
  members = members.filter((member) => member !== one);
  one.peers.close();
  announce();
}

/** Waits also where a slot is there at once, and rejects where the door throws. */
async function acquireAt({ admission }: Process, asked: AdmissionAsk, signal: CancelSignal): Promise<Lease> {
  return await admission.acquire(asked, signal);
}

const loadOf = ({ admission }: Process) => {
  const { running = 0, queued = 0, inFlight = {} } = admission.load().d1 ?? {};
  return { running, queued, inFlight: inFlight.i1 ?? 0 };
};
const idle = { running: 0, queued: 0, inFlight: 0 };
const settled = (one: Process, load: object) => vi.waitFor(() => expect(loadOf(one)).toEqual(load));

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
    await vi.waitFor(() => expect(loadOf(younger).queued).toBe(3));
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
    await vi.waitFor(() => expect(loadOf(younger).queued).toBe(2));
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
    members.push(younger);
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
    bad.failed();
    bad.release();
    await vi.waitFor(() => expect(running(owner)).toBe(0));
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
    await vi.waitFor(() => expect(running(two)).toBe(1));
    await acquireAt(one, ask({ deploymentId }), never);
  });

  test("a connection that breaks is made anew, and nothing is lost or counted twice", async () => {
    const relay = await openRelay();
    const lessee = await come(0, model);
    const owner = await startProcess(1);
    owner.admission.setModels([model], noLimits);
    members.push({ ...owner, path: relay.path });
    relay.leadTo(owner.path);
    announce();
    deliverAll();
    await owner.peers.settled;
    const first = await acquireAt(lessee, ask({ deploymentId }), never);
    const waiting = acquireAt(lessee, ask({ deploymentId }), never);
    await vi.waitFor(() => expect(owner.admission.load()[deploymentId]?.queued).toBe(1));
    const relayed = relay.count;
    relay.cut();
    await vi.waitFor(() => expect(owner.admission.load()[deploymentId]?.queued).toBe(0));
    expect(running(owner)).toBe(1);
    await vi.waitFor(() => expect(relay.count).toBeGreaterThan(relayed));
    await vi.waitFor(() =>
      expect(owner.admission.load()[deploymentId]).toMatchObject({ queued: 1, running: 1 }),
    );
    first.release();
    (await waiting).release();
    await vi.waitFor(() => expect(running(owner)).toBe(0));
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
    await vi.waitFor(() => expect(next.admission.load()[id]?.running).toBe(0));
  });

  test("what one has spent for a scoped JWT all others hear", async () => {
    const [one, two, three] = [await come(0), await come(1), await come(2)];
    one.peers.spent("s1", 5);
    const heard = [`${two.id} heard s1 5`, `${three.id} heard s1 5`];
    await vi.waitFor(() => expect(spent.toSorted()).toEqual(heard));
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
    await vi.waitFor(() => expect(routesEverywhere.at(-1)).toBe(5));
    two.peers.routesChanged(8);
    await vi.waitFor(() => expect(routesEverywhere.at(-1)).toBe(7));
  });
});

async function openRelay() {
  const path = join(folder, "relay");
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

type Step =
  | { readonly kind: "acquire"; readonly at: number; readonly deployment: number; readonly tier: Tier }
  | { readonly kind: "release" | "leave" | "deliver" | "kill"; readonly at: number }
  | { readonly kind: "come"; readonly seat: number }
  | { readonly kind: "tick" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ kind: fc.constant("acquire" as const), at: fc.nat(), deployment: fc.nat(2) },
      tier: fc.constantFrom("priority" as const, "flex" as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("release" as const, "deliver" as const), at: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("leave" as const, "kill" as const), at: fc.nat() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("come" as const), seat: fc.nat(2) }) },
  { weight: 8, arbitrary: fc.constant({ kind: "tick" as const }) },
);

/** A request of a process, from its coming to its end. */
type Request = { readonly process: Process; readonly abort: AbortController; lease: Lease | null };

test("never more than the slots in use and nobody lost, whoever comes, asks, leaves and is killed, whenever views arrive", async () => {
  const plan = fc.record({
    slots: fc.integer({ min: 1, max: 3 }),
    steps: fc.array(step, { minLength: 40, maxLength: 150 }),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ slots, steps }) => {
      const ids = ["d1", "d2", "d3"];
      const models = ids.map((id) => modelOf([{ ...instance(slots), id: `of ${id}` }], { deploymentId: id }));
      const requests = new Set<Request>();
      const failures: unknown[] = [];
      const counts = new Map<string, number>();
      const count = (id: string, by: number) => {
        counts.set(id, (counts.get(id) ?? 0) + by);
        if ((counts.get(id) ?? 0) > slots) failures.push(`${counts.get(id)} ${id} with ${slots} slots`);
      };
      const finish = (request: Request) => {
        requests.delete(request);
        if (request.lease !== null) count(request.lease.instance.id, -1);
      };
      const acquire = async (process: Process, deploymentId: string, tier: Tier) => {
        const request: Request = { process, abort: new AbortController(), lease: null };
        requests.add(request);
        try {
          const { signal } = request.abort;
          const lease = await acquireAt(process, ask({ deploymentId, tier }), signal);
          if (!requests.has(request)) return; // its process was killed
          request.lease = lease;
          count(lease.instance.id, 1);
        } catch (error) {
          if (!request.abort.signal.aborted && requests.has(request)) failures.push(error);
          requests.delete(request);
        }
      };
      const add = async (seat: number) => {
        const one = await startProcess(seat);
        one.admission.setModels(models, noLimits);
        members.push(one);
        announce();
      };
      const act = async (one: Step) => {
        const pick = <T>(list: readonly T[], at: number) => list[at % list.length];
        switch (one.kind) {
          case "acquire": {
            const process = pick(members, one.at);
            if (process !== undefined) void acquire(process, ids[one.deployment] ?? "", one.tier);
            return;
          }
          case "release": {
            const request = pick(
              [...requests].filter(({ lease }) => lease !== null),
              one.at,
            );
            if (request === undefined) return;
            finish(request);
            request.lease?.release();
            return;
          }
          case "leave":
            pick(
              [...requests].filter(({ lease }) => lease === null),
              one.at,
            )?.abort.abort(new Error("left"));
            return;
          case "deliver": {
            const process = pick(members, one.at);
            if (process !== undefined) deliver(process);
            return;
          }
          case "kill": {
            const process = pick(members, one.at);
            if (process === undefined || members.length === 1) return;
            for (const request of [...requests]) if (request.process === process) finish(request);
            end(process);
            return;
          }
          case "come":
            if (members.length < 5) await add(one.seat);
            return;
          case "tick":
            await tick();
        }
      };
      for (const seat of [0, 1, 2]) await add(seat);
      deliverAll();
      for (const { peers } of members) await peers.settled;
      for (const one of steps) await act(one);
      // In the end everybody is served, and nothing is left.
      deliverAll();
      const endsAtMs = Date.now() + 10_000;
      while (requests.size > 0 && failures.length === 0) {
        if (Date.now() > endsAtMs) failures.push(`${requests.size} requests are not served`);
        for (const request of [...requests]) {
          if (request.lease === null) continue;
          finish(request);
          request.lease.release();
        }
        await tick();
      }
      expect(failures).toEqual([]);
      await vi.waitFor(() => {
        for (const { admission } of members)
          for (const { running, queued, inFlight } of Object.values(admission.load()))
            expect([running, queued, inFlight]).toEqual([0, 0, {}]);
      });
      for (const { peers } of members) peers.close();
      members = [];
    }),
    { numRuns: 50 },
  );
}, 60_000);
