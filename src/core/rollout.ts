/**
 * How the instances of a deployment come to be of its wanted revision, one step at a time. Pure and level-triggered.
 *
 * The rule: while an update is under way one instance more than wanted may live (so at most `max_instances` + 1), where
 * there is room for it; where there is none, one old instance gives up its place. One new instance at a time is started,
 * and has to answer a real request before gateways learn of it and before the next old one goes. When the new revision
 * has failed too often, it is taken back, and the same steps lead to the old one.
 */
import type { Revisions } from "./deployment.ts";
import type { Failure } from "./failure.ts";
import { lostCause } from "./giving-up.ts";
import type { InstanceRecord } from "./instance.ts";
import { isOnTrial } from "./revision.ts";

export type RolloutInput = {
  readonly revisions: Revisions;
  /** Instances that serve or will. */
  readonly live: readonly InstanceRecord[];
  /** Instances of the deployment that are on their way out. */
  readonly leaving: number;
  /** How many should serve, and why. */
  readonly wanted: number;
  readonly reason: string;
  /** A further instance could be placed now. */
  readonly hasRoom: boolean;
  /** The last failed try is long enough ago. */
  readonly mayTry: boolean;
  /** Instances that are being asked for a first answer. */
  readonly warming: ReadonlySet<string>;
  /** Failed tries after which the update is taken back. */
  readonly loadTries: number;
};

export type RolloutStep =
  | { readonly do: "start"; readonly count: number; readonly reason: string }
  | { readonly do: "drain"; readonly instanceId: string; readonly reason: string }
  | { readonly do: "warm"; readonly instanceId: string; readonly reason: string }
  | { readonly do: "finish-update"; readonly reason: string }
  | { readonly do: "revert-update"; readonly failure: Failure; readonly reason: string };

/** Live instances by what they are to the wanted revision. */
export function sortInstances(revisions: Revisions, live: readonly InstanceRecord[]) {
  const isRunning = (record: InstanceRecord) => record.observed?.state === "running";
  const current = live.filter((record) => record.revision === revisions.wanted.id);
  const outdated = live.filter((record) => record.revision !== revisions.wanted.id);
  const isProven = (record: InstanceRecord) => isRunning(record) && !isOnTrial(revisions, record);
  return {
    /** Of the wanted revision, serving. */
    proven: current.filter(isProven),
    /** Of the wanted revision, not serving yet. */
    booting: current.filter((record) => !isProven(record)),
    /** Of another revision, serving. */
    serving: outdated.filter(isRunning),
    /** Of another revision; will never serve. */
    useless: outdated.filter((record) => !isRunning(record)),
  };
}

/** True when the instances are not, or not certainly, of the wanted revision. */
export function isRollingOut(revisions: Revisions, live: readonly InstanceRecord[]): boolean {
  return revisions.fallback !== null || live.some((record) => record.revision !== revisions.wanted.id);
}

/** How many instances count for scaling: not the one that is there only because another is being replaced. */
export function countForScale(revisions: Revisions, live: readonly InstanceRecord[]): number {
  const { proven, booting, serving, useless } = sortInstances(revisions, live);
  const isReplacing = serving.length > 0 && proven.length + booting.length > 0;
  return live.length - useless.length - (isReplacing ? 1 : 0);
}

export function planRollout(input: RolloutInput): RolloutStep[] {
  const { revisions, live, wanted, reason } = input;
  const { proven, booting, serving, useless } = sortInstances(revisions, live);
  const isUpdate = revisions.fallback !== null;
  const lost = isUpdate ? lostCause(revisions.tries, input.loadTries) : null;
  if (lost !== null) {
    return [{ do: "revert-update", failure: lost, reason: lost.message }];
  }
  if (wanted === 0) return drainAll(live, reason);
  const goes = drainAll(useless, "it was started with arguments that were changed since");
  if (isUpdate && serving.length + useless.length === 0 && proven.length > 0) {
    return [{ do: "finish-update", reason: "every instance has the new arguments" }];
  }
  const surplus = proven.length + serving.length - wanted;
  if (surplus > 0) {
    const why = proven.length > 0 ? "an instance with the new arguments has taken its place" : reason;
    return [...goes, ...drainAll(newestFirst(serving).slice(0, surplus), why)];
  }
  const spare = proven.length + serving.length + booting.length - (wanted + 1);
  if (spare > 0) return [...goes, ...drainAll(newestFirst(booting).slice(0, spare), reason)];
  return [
    ...goes,
    ...warmUps(input, booting),
    ...nextStart({ ...input, leaving: input.leaving + goes.length }, -surplus, booting.length, serving),
  ];
}

/** @param missing instances that serve less than are wanted */
function nextStart(
  input: RolloutInput,
  missing: number,
  booting: number,
  serving: readonly InstanceRecord[],
): RolloutStep[] {
  const isUpdate = input.revisions.fallback !== null;
  const isBusy = isUpdate ? booting > 0 : booting >= Math.max(1, missing);
  const isDone = missing === 0 && serving.length === 0;
  if (isBusy || isDone || !input.mayTry) return [];
  if (input.hasRoom) {
    if (missing === 0 && input.leaving > 0) return [];
    const count = isUpdate ? 1 : Math.max(1, missing - booting);
    const why = missing > 0 ? input.reason : "an instance with older arguments is to be replaced";
    return [{ do: "start", count, reason: why }];
  }
  const [newest] = newestFirst(serving);
  if (newest === undefined || input.leaving > 0 || booting > 0) return [];
  const why = "it makes room for an instance with the new arguments, for which there is no other place";
  return [{ do: "drain", instanceId: newest.id, reason: why }];
}

function warmUps({ revisions, warming }: RolloutInput, booting: readonly InstanceRecord[]): RolloutStep[] {
  if (revisions.fallback === null) return [];
  return booting
    .filter((record) => record.observed?.state === "running" && !warming.has(record.id))
    .map(({ id }) => ({ do: "warm", instanceId: id, reason: "the update goes on once it has answered" }));
}

function drainAll(records: readonly InstanceRecord[], reason: string): RolloutStep[] {
  return records.map(({ id }) => ({ do: "drain", instanceId: id, reason }));
}

function newestFirst(records: readonly InstanceRecord[]): InstanceRecord[] {
  return [...records].sort((a, b) => b.createdAtMs - a.createdAtMs);
}
