/**
 * The API's status of a deployment, derived from stored facts on every read, so that it cannot be stale. Pure.
 */
import type { Deployment } from "./deployment.ts";
import { failReason } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";

/** Each status with its meaning, as `docs/reference/statuses.md` prints it. */
export const statusMeanings = {
  initializing: "Accepted. The repository is being resolved to a commit and its files listed.",
  downloading: "The files the engine needs are being fetched and verified.",
  deploying: "An instance is being placed, started or loaded; also while crashed instances come back.",
  running:
    "Ready. Also when scaled to zero (`instances.running` is 0): the first request starts an instance and waits for it.",
  updating: "A running deployment is being changed. Not used yet.",
  stopped: "Stopped by `POST …/stop`; requests get 503. `POST …/start` brings it back.",
  failed: "Berth has given up; `fail_reason` says why and what to do. `POST …/start` tries again.",
  deleted:
    "Deleted for good. The record stays and is listed only with `?status=deleted`; the name is free again.",
} as const;

export type Status = keyof typeof statusMeanings;
export const statuses = Object.keys(statusMeanings) as Status[];

export type StatusReport = {
  readonly status: Status;
  /** One or two sentences a user can act on; "" unless failed. */
  readonly failReason: string;
  /** running: answer requests; pending: decided or loading. Draining ones are in neither. */
  readonly instances: { readonly running: number; readonly pending: number };
};

export function statusOf(deployment: Deployment, instances: readonly InstanceRecord[]): StatusReport {
  const counts = countInstances(instances);
  const status = nameStatus(deployment, counts.running);
  return {
    status,
    failReason: status === "failed" ? failReason(deployment.failure) : "",
    instances: counts,
  };
}

function nameStatus(deployment: Deployment, running: number): Status {
  if (deployment.desired === "delete") return "deleted";
  if (deployment.desired === "stop") return "stopped";
  if (deployment.failure !== null) return "failed";
  if (deployment.resolved === null) return "initializing";
  if (deployment.weightsReadyAtMs === null) return "downloading";
  if (running > 0) return "running";
  // A model at zero is still a model: it waits for a request, also while the first one wakes it.
  return deployment.settings.minInstances === 0 ? "running" : "deploying";
}

function countInstances(instances: readonly InstanceRecord[]): { running: number; pending: number } {
  let running = 0;
  let pending = 0;
  for (const { intent, observed } of instances) {
    if (intent === "drain" || observed?.state === "exited") continue;
    if (observed?.state === "running") running += 1;
    else pending += 1;
  }
  return { running, pending };
}
