/**
 * How the revisions of a deployment's arguments follow each other: another one is asked for, proves itself, or is taken
 * back. Pure. Says nothing of instances; `core/rollout` brings them to the wanted revision.
 */
import type { EngineArgs, Revision, Revisions } from "./deployment.ts";
import { noTries } from "./deployment.ts";
import type { Failure } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { sameStandardArgs } from "./standard-args.ts";

/** Retired revisions that are remembered. */
export const historyKept = 20;

/**
 * Asks for other arguments. Those that are wanted already change nothing; those of the fallback take the update back.
 * @param isProven an instance has answered with what is wanted now, so that it is worth falling back to
 */
export function updateArgs(current: Revisions, args: EngineArgs, isProven: boolean, now: number): Revisions {
  const { wanted, fallback } = current;
  if (sameArgs(args, wanted.args)) return current;
  const retired = retire(current, wanted, now);
  if (fallback !== null && sameArgs(args, fallback.args)) return settle(current, fallback, retired);
  return {
    wanted: { id: nextId(current), args },
    fallback: fallback ?? (isProven ? wanted : null),
    tries: noTries,
    updateError: null,
    retired,
  };
}

/** The update failed: what served before is wanted again. */
export function revertUpdate(current: Revisions, cause: Failure, now: number): Revisions {
  const { wanted, fallback } = current;
  if (fallback === null) return current;
  return { ...settle(current, fallback, retire(current, wanted, now)), updateError: cause };
}

/** The update has reached every instance. */
export function finishUpdate(current: Revisions): Revisions {
  return { ...current, fallback: null, tries: noTries };
}

/**
 * An instance of this revision answers. Where other arguments were asked for before anything had answered, they have something
 * to fall back to from now on.
 */
export function proveRevision(current: Revisions, id: number): Revisions {
  const proven = current.retired.find((revision) => revision.id === id);
  if (current.fallback !== null || id === current.wanted.id || proven === undefined) return current;
  return { ...current, fallback: { id, args: proven.args }, tries: noTries };
}

/** True when an update is under way and this instance has not yet shown that the new arguments work. */
export function isOnTrial(
  revisions: Revisions,
  record: Pick<InstanceRecord, "revision" | "warmedAtMs">,
): boolean {
  return revisions.fallback !== null && record.revision === revisions.wanted.id && record.warmedAtMs === null;
}

/** `back` is a retired revision that is wanted again: it leaves the history. */
function settle(current: Revisions, back: Revision, retired: Revisions["retired"]): Revisions {
  return {
    ...current,
    wanted: back,
    fallback: null,
    tries: noTries,
    updateError: null,
    retired: retired.filter(({ id }) => id !== back.id),
  };
}

function retire(current: Revisions, { id, args }: Revision, now: number): Revisions["retired"] {
  return [{ id, args, retiredAtMs: now }, ...current.retired].slice(0, historyKept);
}

function nextId({ wanted, fallback, retired }: Revisions): number {
  return 1 + Math.max(wanted.id, fallback?.id ?? 0, ...retired.map(({ id }) => id));
}

function sameArgs(a: EngineArgs, b: EngineArgs): boolean {
  return (
    sameStandardArgs(a.standardArgs, b.standardArgs) &&
    a.extraArgs.length === b.extraArgs.length &&
    a.extraArgs.every((arg, index) => arg === b.extraArgs[index])
  );
}
