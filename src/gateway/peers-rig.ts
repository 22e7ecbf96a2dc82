/**
 * Several processes of one gateway in one, and a supervisor that tells them who is there when the test says so. Only tests
 * import it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { type GatewayView, membersOf, type SeatedProcess } from "../core/gateway-view.ts";
import type { RouteInstance, RouteModel } from "../core/routing.ts";
import { type Admission, type AdmissionAsk, createAdmission } from "./admission.ts";
import type { CancelSignal } from "./cancel.ts";
import type { Lease } from "./lease.ts";
import { Peers } from "./peers.ts";
import { TurnEnd } from "./turn-end.ts";

export const noLimits = { accounts: [], limitedTokens: [] };
export const never = new AbortController().signal;
export const tick = () => new Promise((resolve) => setImmediate(resolve));

export const instance = (slots: number): RouteInstance => ({
  ...{ id: "i1", slots, isDraining: false, secret: "secret" },
  endpoint: { kind: "tcp", host: "127.0.0.1", port: 9 },
});
export const ask = (more: Partial<AdmissionAsk> = {}): AdmissionAsk => ({
  ...{ deploymentId: "d1", account: "ann", tokenId: "t1", tier: "default", failFast: false },
  ...{ body: Buffer.from("{}"), deadlineMs: null, isReturning: false, avoid: [], ...more },
});

export type Process = SeatedProcess & {
  readonly admission: Admission;
  readonly peers: Peers;
  /** Views that are on their way to it. */
  readonly views: GatewayView[];
};

/** The processes of the test that runs, and what they have said. */
export const group = {
  folder: "",
  /** Those that are there, as the supervisor sees it. */
  members: [] as Process[],
  version: 0,
  routesEverywhere: [] as number[],
  spent: [] as string[],
};
let count = 0;

/** Begins each test with none, and ends those that are left. */
export function useGroup(): void {
  beforeEach(() => {
    const folder = mkdtempSync(join(tmpdir(), "berth-peers-"));
    Object.assign(group, { folder, members: [], version: 0, routesEverywhere: [], spent: [] });
  });
  afterEach(() => {
    for (const { peers } of group.members) peers.close();
    rmSync(group.folder, { recursive: true, force: true });
  });
}

export async function startProcess(seat: number, queueMax = 1000): Promise<Process> {
  count += 1;
  const [id, path] = [String(count), join(group.folder, String(count))];
  const limits = { waitMs: 60_000, slotWaitMs: 60_000, quietMs: 60_000, queueMax, queueBytes: 1e6 };
  const admission = createAdmission({ limits, isShared: true, now: Date.now, onLoad: () => undefined });
  const peers = new Peers({
    ...{ self: id, path, areMany: true, admission, log: () => undefined, now: Date.now },
    turnEnd: new TurnEnd(),
    figures: async () => [
      { name: "count", help: "h", type: "counter", samples: [{ labels: { of: id }, value: Number.NaN }] },
    ],
    routesReached: async () => undefined,
    onSpentElsewhere: (scopeId, nanoUsd) => group.spent.push(`${id} heard ${scopeId} ${nanoUsd}`),
    onRoutesEverywhere: (reached) => group.routesEverywhere.push(reached),
  });
  await peers.open();
  return { id, seat, path, admission, peers, views: [] };
}

/** Tells all of them who is there, some time. */
export function announce(): void {
  group.version += 1;
  const { version, members } = group;
  const view = { version, members: membersOf(members.map(({ id, seat, path }) => ({ id, seat, path }))) };
  for (const { views } of members) views.push(view);
}

export function deliver(one: Process): void {
  const view = one.views.shift();
  if (view !== undefined) one.peers.enter(view);
}

export function deliverAll(): void {
  for (const one of group.members) while (one.views.length > 0) deliver(one);
}

export async function come(seat: number, model: RouteModel | null = null, queueMax = 1000): Promise<Process> {
  const one = await startProcess(seat, queueMax);
  if (model !== null) one.admission.setModels([model], noLimits);
  group.members.push(one);
  announce();
  deliverAll();
  await one.peers.settled;
  return one;
}

/** As by kill -9: the supervisor has seen its end. */
export function end(one: Process): void {
  group.members = group.members.filter((member) => member !== one);
  one.peers.close();
  announce();
}

/** Waits also where a slot is there at once, and rejects where the door throws. */
export async function acquireAt(
  { admission }: Process,
  asked: AdmissionAsk,
  signal: CancelSignal,
): Promise<Lease> {
  return await admission.acquire(asked, signal);
}
