/**
 * What PUT, stop, start and DELETE make of a stored deployment, or why they refuse. Pure: the store runs these inside
 * its transaction and may run them again. They write desired state alone; the reconciler acts on it.
 */
import { type Deployment, noTries, type ScaleSettings } from "../core/deployment.ts";
import { gpusAskedFor } from "../core/gpu-quota.ts";
import { HttpError } from "../schema/errors.ts";
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

/** @param wanted halves that are absent stay as they are */
export function rescaleDeployment(wanted: Partial<ScaleSettings>, quotaGpus: number, now: number): Change {
  return (current) => {
    if (current.desired === "delete") return refuse(deploymentNotFound());
    const settings = { ...current.settings, ...wanted };
    const issues = checkScale(settings, current.config.numGpus, quotaGpus);
    if (issues.length > 0) return refuse(new InputError(issues));
    return { ok: true, value: { ...current, settings, updatedAtMs: now } };
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
