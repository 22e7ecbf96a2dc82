/**
 * What PUT, stop, start and DELETE make of a stored deployment, or why they refuse. Pure: the store runs these inside
 * its transaction and may run them again. They write desired state alone; the reconciler acts on it.
 */
import { type Deployment, type EngineArgs, noTries, type ScaleSettings } from "../core/deployment.ts";
import { refuseUnsafeArgs } from "../core/engine-args.ts";
import { gpusAskedFor } from "../core/gpu-quota.ts";
import { updateArgs } from "../core/revision.ts";
import type { StandardArgs } from "../core/standard-args.ts";
import { HttpError, type ValidationIssue } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";
import { InputError } from "./refusal.ts";
import { checkScale } from "./scale-rules.ts";
import { deploymentNotFound } from "./visibility.ts";

export type Decision =
  | { readonly ok: true; readonly value: Deployment }
  | { readonly ok: false; readonly refusal: HttpError | InputError };

export type Change = (current: Deployment) => Decision;

export function stopDeployment(now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    if (current.desired === "stop") return refuse(wrongState(`${current.name} is stopped already.`));
    return { ok: true, value: { ...current, desired: "stop", updatedAtMs: now } };
  };
}

/** Also a deployment that has failed is started again: its failure, tries and the check of its files begin anew. */
export function startDeployment(now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    if (current.desired === "run" && current.failure === null) {
      return refuse(wrongState(`${current.name} is started already.`));
    }
    return {
      ok: true,
      value: {
        ...current,
        desired: "run",
        failure: null,
        tries: noTries,
        weightsReadyAtMs: null,
        hasRun: false,
        revisions: { ...current.revisions, tries: noTries },
        updatedAtMs: now,
      },
    };
  };
}

/** Final. The record stays; the name is free again. */
export function deleteDeployment(now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    return { ok: true, value: { ...current, desired: "delete", updatedAtMs: now } };
  };
}

/** Callable by every token, or by the owner's alone. */
export function publishDeployment(isPublic: boolean, now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    return { ok: true, value: { ...current, isPublic, updatedAtMs: now } };
  };
}

export type Update = {
  /** Halves that are absent stay as they are. */
  readonly settings: Partial<ScaleSettings>;
  /** Null stays as it is. */
  readonly standardArgs: StandardArgs | null;
  readonly extraArgs: readonly string[] | null;
};

type UpdateRules = {
  readonly quotaGpus: number;
  /** See `ApiDeps.refuseArgs`. */
  refuseArgs(engine: string | null, args: EngineArgs): string | null;
};

/** Other bounds at once; other arguments by a rolling update, which needs something that runs to fall back to. */
export function updateDeployment(wanted: Update, rules: UpdateRules, now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    const settings = { ...current.settings, ...wanted.settings };
    const before = current.revisions.wanted.args;
    const args: EngineArgs = {
      standardArgs: wanted.standardArgs ?? before.standardArgs,
      extraArgs: wanted.extraArgs ?? before.extraArgs,
    };
    const issues = [
      ...checkScale(settings, current.config.numGpus, rules.quotaGpus),
      ...checkArgs(wanted, args, current.resolved?.engine ?? null, rules),
    ];
    if (issues.length > 0) return refuse(new InputError(issues));
    const revisions = updateArgs(current.revisions, args, current.hasRun, now);
    return { ok: true, value: { ...current, settings, revisions, updatedAtMs: now } };
  };
}

function checkArgs(
  { standardArgs, extraArgs }: Update,
  args: EngineArgs,
  engine: string | null,
  rules: UpdateRules,
): ValidationIssue[] {
  if (standardArgs === null && extraArgs === null) return [];
  const unsafe = refuseUnsafeArgs(args.extraArgs);
  if (unsafe !== null) return [valueError(["body", "extra_args"], unsafe)];
  const refusal = rules.refuseArgs(engine, args);
  if (refusal === null) return [];
  return [valueError(["body", extraArgs === null ? "standard_args" : "extra_args"], refusal)];
}

/** Goes back to arguments of the history, by a rolling update as any other. */
export function restoreArgs(entryId: string, now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    const entry = current.revisions.retired.find(({ id }) => String(id) === entryId);
    if (entry === undefined) {
      const path = `GET /deploy/${current.id}/config/history`;
      return refuse(new HttpError("not_found", `The history has no entry of this id; ${path} lists them.`));
    }
    const revisions = updateArgs(current.revisions, entry.args, current.hasRun, now);
    return { ok: true, value: { ...current, revisions, updatedAtMs: now } };
  };
}

/** Refuses what takes more GPUs than before and more than the account may have. */
export function withinQuota(
  decision: Decision,
  current: Deployment,
  refuseGpus: (wanted: Deployment) => string | null,
): Decision {
  if (!decision.ok) return decision;
  const { config } = current;
  const grows = gpusAskedFor([decision.value], config.gpu) > gpusAskedFor([current], config.gpu);
  const refusal = grows ? refuseGpus(decision.value) : null;
  if (refusal === null) return decision;
  const isStart = current.desired !== decision.value.desired || current.failure !== null;
  return refuse(
    isStart
      ? wrongState(refusal)
      : new InputError([valueError(["body", "settings", "max_instances"], refusal)]),
  );
}

function refuse(refusal: HttpError | InputError): Decision {
  return { ok: false, refusal };
}

function wrongState(message: string): HttpError {
  return new HttpError("wrong_state", message);
}
