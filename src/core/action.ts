/**
 * What a plan says: actions with their reasons, when to look again, what is waited for; and how parts of a plan become one.
 * Decides nothing.
 */
import type { Failure } from "./failure.ts";
import type { Placement } from "./instance.ts";
import type { Claim } from "./scale-share.ts";

/** What led to a step of scaling. */
export type ScaleInputs = Readonly<Record<string, number>>;

export type Action =
  | { readonly do: "resolve"; readonly reason: string }
  | { readonly do: "fetch"; readonly reason: string }
  /** Ends resolving and fetching. */
  | { readonly do: "cancel"; readonly reason: string }
  | {
      readonly do: "start";
      readonly placement: Placement;
      readonly reason: string;
      readonly inputs?: ScaleInputs;
    }
  | {
      readonly do: "drain";
      readonly instanceId: string;
      readonly reason: string;
      readonly inputs?: ScaleInputs;
    }
  | { readonly do: "remove"; readonly instanceId: string; readonly reason: string }
  /** An instance ended by itself, or did not answer: counts a try, of the update or of the deployment, and removes it. */
  | {
      readonly do: "record-exit";
      readonly instanceId: string;
      readonly of: "update" | "deployment";
      readonly failure: Failure;
      readonly reason: string;
    }
  /** Asks an instance for a first answer. */
  | { readonly do: "warm"; readonly instanceId: string; readonly reason: string }
  /** The same of one at which requests keep failing. */
  | { readonly do: "doubt"; readonly instanceId: string; readonly reason: string }
  | { readonly do: "finish-update"; readonly reason: string }
  | { readonly do: "revert-update"; readonly failure: Failure; readonly reason: string }
  /** The first instance since the last start answers, with the arguments of this revision. */
  | { readonly do: "mark-run"; readonly revision: number; readonly reason: string }
  | { readonly do: "clear-tries"; readonly reason: string }
  | { readonly do: "fail"; readonly failure: Failure; readonly reason: string };

/** How old a decision to start may be, milliseconds. */
const maxStartAgeMs = 1000;

/**
 * True where the action is to be decided anew: those before it took long, and the GPUs that a start was given may be gone by
 * now. All other actions are as right later.
 */
export function isStale(action: Action, decidedAtMs: number, nowMs: number): boolean {
  return action.do === "start" && Math.abs(nowMs - decidedAtMs) > maxStartAgeMs;
}

export type Plan = {
  readonly actions: readonly Action[];
  /** When to look again though nothing has changed, milliseconds since the epoch; null: only on a change. */
  readonly againAtMs: number | null;
  /** Why an instance that is wanted is not started now: there is no room. Absent when nothing waits for room. */
  readonly waitsFor?: string;
  /** Set with `waitsFor` where others could make room. */
  readonly claim?: Claim;
};

export const nothing: Plan = { actions: [], againAtMs: null };

export function act(action: Action): Plan {
  return { actions: [action], againAtMs: null };
}

export function join(first: Plan, second: Plan): Plan {
  const waitsFor = first.waitsFor ?? second.waitsFor;
  const claim = first.claim ?? second.claim;
  return {
    actions: [...first.actions, ...second.actions],
    againAtMs: earlier(first.againAtMs, second.againAtMs),
    ...(waitsFor === undefined ? {} : { waitsFor }),
    ...(claim === undefined ? {} : { claim }),
  };
}

export function earlier(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.min(a, b);
}
