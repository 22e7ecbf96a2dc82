/** Two gateways of one Berth: the slots of the older one go over to the younger one, and come back when that one ends. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Tier } from "../core/queue.ts";
import type { RouteInstance, RouteModel } from "../core/routing.ts";
import { HttpError } from "../schema/errors.ts";
import { type Admission, type AdmissionAsk, createAdmission, type Lease } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import { handOver, openTakeover } from "./handover.ts";
import { modelOf } from "./test-rig.ts";

const limits = { waitMs: 60_000, slotWaitMs: 60_000, queueMax: 3, queueBytes: 1e6 };
const newAdmission = (more = limits) =>
  createAdmission({ limits: more, now: Date.now, onLoad: () => undefined });
const log = () => undefined;
const noLimits = { accounts: [], limitedTokens: [] };

const instance = (slots: number): RouteInstance => ({
  ...{ id: "i1", slots, isDraining: false, secret: "secret" },
  endpoint: { kind: "tcp", host: "127.0.0.1", port: 9 },
});
const ask = (more: Partial<AdmissionAsk> = {}): AdmissionAsk => ({
  ...{ deploymentId: "d1", account: "ann", tokenId: "t1", tier: "default", failFast: false },
  ...{ body: Buffer.from("{}"), deadlineMs: null, isReturning: false, avoid: [], ...more },
});

type Step =
  | { readonly kind: "older" | "younger"; readonly tier: Tier }
  | { readonly kind: "release" | "leave"; readonly at: number }
  | { readonly kind: "tick" };

let folder: string;
let path: string;
let older: Admission;
let younger: Admission;
const never = new AbortController().signal;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-handover-"));
  path = join(folder, "s");
  older = newAdmission();
  younger = newAdmission();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function publish(model: RouteModel): void {
  older.setModels([model], noLimits);
  younger.setModels([model], noLimits);
}

async function changeHands(): Promise<void> {
  const takeover = await openTakeover(path, younger, log);
  await handOver(path, older, log);
  await takeover.begun;
}

/** The two talk through a relay, whose end is to each as if the other had been killed. */
async function changeHandsThroughRelay(): Promise<() => void> {
  const sockets: Socket[] = [];
  const relay = createServer((socket) => {
    const onward = connect(path);
    sockets.push(socket, onward);
    socket.pipe(onward).pipe(socket);
    for (const end of [socket, onward]) end.on("error", () => undefined);
  });
  const relayPath = join(folder, "relay");
  relay.listen(relayPath);
  await once(relay, "listening");
  const takeover = await openTakeover(path, younger, log);
  await handOver(relayPath, older, log);
  await takeover.begun;
  return () => {
    relay.close();
    for (const socket of sockets) socket.destroy();
  };
}

const loadOf = (admission: Admission) => {
  const { running = 0, queued = 0, inFlight = {} } = admission.load().d1 ?? {};
  return { running, queued, inFlight: inFlight.i1 ?? 0 };
};

test("what the older one has in flight keeps its slot, and frees it for whoever waits", async () => {
  publish(modelOf([instance(1)], { deploymentId: "d1" }));
  const first = await older.acquire(ask(), never);
  await changeHands();
  expect(loadOf(younger)).toEqual({ running: 1, queued: 0, inFlight: 1 });
  // What the younger one reports already is not reported twice.
  expect(loadOf(older)).toEqual({ running: 0, queued: 0, inFlight: 1 });
  await expect(acquire(younger, ask({ failFast: true }), never)).rejects.toThrow(HttpError);
  const next = younger.acquire(ask(), never);
  first.served(10);
  first.release();
  (await next).release();
  await vi.waitFor(() => expect(loadOf(younger)).toEqual({ running: 0, queued: 0, inFlight: 0 }));
});

/** Waits also where a slot is there at once, and rejects where the door throws. */
async function acquire(at: Admission, one: AdmissionAsk, signal: CancelSignal): Promise<Lease> {
  return await at.acquire(one, signal);
}

test("who waits at the older one goes before newcomers at the younger one", async () => {
  publish(modelOf([instance(1)], { deploymentId: "d1" }));
  const first = await older.acquire(ask(), never);
  const order: string[] = [];
  const waiting = acquire(older, ask(), never).then((lease) => {
    order.push("older");
    lease.release();
  });
  await changeHands();
  const late = acquire(younger, ask(), never).then((lease) => {
    order.push("younger");
    lease.release();
  });
  await vi.waitFor(() => expect(loadOf(younger).queued).toBe(2));
  first.release();
  await Promise.all([waiting, late]);
  expect(order).toEqual(["older", "younger"]);
});

test("newcomers at the older one get slots, routes and refusals of the younger one", async () => {
  older.setModels([modelOf([], { deploymentId: "d1", state: "asleep" })], noLimits);
  younger.setModels([modelOf([instance(1)], { deploymentId: "d1" })], noLimits);
  await changeHands();
  const lease = await older.acquire(ask(), never);
  expect(lease.instance).toEqual(instance(1));
  const refused = await acquire(older, ask({ failFast: true }), never).catch((error: unknown) => error);
  const same = await acquire(younger, ask({ failFast: true }), never).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(HttpError);
  expect(refused).toEqual(same);
  lease.release();
  await vi.waitFor(() => expect(loadOf(younger).running).toBe(0));
});

test("who leaves while it waits there leaves no place behind", async () => {
  publish(modelOf([instance(1)], { deploymentId: "d1" }));
  const first = await older.acquire(ask(), never);
  const [one, two] = [new AbortController(), new AbortController()];
  const waiting = older.acquire(ask(), one.signal);
  await changeHands();
  const later = older.acquire(ask(), two.signal);
  await vi.waitFor(() => expect(loadOf(younger).queued).toBe(2));
  one.abort(new Error("left"));
  two.abort(new Error("left"));
  await expect(waiting).rejects.toThrow("left");
  await expect(later).rejects.toThrow("left");
  await vi.waitFor(() => expect(loadOf(younger)).toEqual({ running: 1, queued: 0, inFlight: 1 }));
  first.release();
  await vi.waitFor(() => expect(loadOf(younger).running).toBe(0));
});

test("a deployment that the younger one has not heard of yet is counted all the same", async () => {
  older.setModels([modelOf([instance(1)], { deploymentId: "d1" })], noLimits);
  const first = await older.acquire(ask(), never);
  await changeHands();
  younger.setModels([modelOf([instance(1)], { deploymentId: "d1" })], noLimits);
  await expect(acquire(younger, ask({ failFast: true }), never)).rejects.toThrow(HttpError);
  first.release();
});

test("never more than the slots in use, whatever comes at either side of the hand-over", async () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constantFrom("older" as const, "younger" as const),
      tier: fc.constantFrom("priority" as const, "flex" as const),
    }),
    fc.record({ kind: fc.constantFrom("release" as const, "leave" as const), at: fc.nat() }),
    fc.constant({ kind: "tick" as const }),
  );
  const plan = fc.record({
    slots: fc.integer({ min: 1, max: 3 }),
    before: fc.array(step),
    after: fc.array(step),
  });
  await fc.assert(
    fc.asyncProperty(plan, async ({ slots, before, after }) => {
      const many = { ...limits, queueMax: 1000 };
      [older, younger] = [newAdmission(many), newAdmission(many)];
      path = join(folder, randomUUID().slice(0, 8));
      publish(modelOf([instance(slots)], { deploymentId: "d1" }));
      const leases: Lease[] = [];
      const waiting = new Map<AbortController, Promise<void>>();
      let most = 0;
      const take = (one: Step) => {
        const from = one.kind === "older" ? older : younger;
        if (one.kind === "older" || one.kind === "younger") {
          const abort = new AbortController();
          const taken = acquire(from, ask({ tier: one.tier }), abort.signal).then(
            (lease) => {
              leases.push(lease);
              most = Math.max(most, leases.length);
            },
            () => undefined, // it left
          );
          waiting.set(
            abort,
            taken.finally(() => waiting.delete(abort)),
          );
        } else if (one.kind === "release") leases.splice(one.at % (leases.length + 1), 1)[0]?.release();
        else if (one.kind === "leave")
          [...waiting.keys()][one.at % (waiting.size + 1)]?.abort(new Error("left"));
      };
      // Only one of them has clients until the slots have changed hands.
      for (const one of before) take(one.kind === "younger" ? { ...one, kind: "older" } : one);
      const changed = changeHands();
      for (const one of before) take(one.kind === "younger" ? { ...one, kind: "older" } : one);
      await changed;
      for (const one of after) {
        take(one);
        if (one.kind === "tick") await new Promise((resolve) => setImmediate(resolve));
      }
      // In the end everybody is served, and nothing is left.
      while (waiting.size > 0 || leases.length > 0) {
        for (const lease of leases.splice(0)) lease.release();
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(most).toBeLessThanOrEqual(slots);
      await vi.waitFor(() => expect(loadOf(younger)).toEqual({ running: 0, queued: 0, inFlight: 0 }));
      expect(loadOf(older)).toEqual({ running: 0, queued: 0, inFlight: 0 });
    }),
    { numRuns: 60 },
  );
});

test("when one of them ends, its slots are free at the other one, and the older one has its line back", async () => {
  publish(modelOf([instance(2)], { deploymentId: "d1" }));
  const before = await older.acquire(ask(), never);
  const cut = await changeHandsThroughRelay();
  const during = await older.acquire(ask(), never);
  const waiting = older.acquire(ask(), never);
  await vi.waitFor(() => expect(loadOf(younger)).toEqual({ running: 2, queued: 1, inFlight: 2 }));
  cut();
  await vi.waitFor(() => expect(loadOf(older)).toEqual({ running: 2, queued: 1, inFlight: 2 }));
  await vi.waitFor(() => expect(loadOf(younger)).toEqual({ running: 0, queued: 0, inFlight: 0 }));
  before.release();
  const served = await waiting;
  expect(loadOf(older)).toEqual({ running: 2, queued: 0, inFlight: 2 });
  during.release();
  served.release();
  expect(loadOf(older)).toEqual({ running: 0, queued: 0, inFlight: 0 });
});
