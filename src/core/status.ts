/**
 * The API's status of a deployment, derived from stored facts on every read, so that it cannot be stale. Pure.
 */
import type { Deployment } from "./deployment.ts";
import { failReason } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { isOnTrial } from "./revision.ts";
import { sortInstances } from "./rollout.ts";
import { settingsAt } from "./schedule.ts";

/** Each status with its meaning, as `docs/reference/statuses.md` prints it. */
export const statusMeanings = {
  initializing: "Accepted. The repository is being resolved to a commit and its files listed.",
  downloading: "The files the engine needs are being fetched and verified.",
  deploying: "An instance is being placed, started or loaded; also while crashed instances come back.",
  running:
    "Ready. Also when scaled to zero (`instances.running` is 0): the first request starts an instance and waits for it.",
  updating:
    "A running deployment gets new arguments, one instance at a time; the old ones serve until the new have answered.",
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
  /**
   * running: answer requests; pending: decided or loading; warming: loaded, with new arguments that have to show first
   * that they work. Draining ones are in none.
   */
  readonly instances: { readonly running: number; readonly pending: number; readonly warming: number };
  /** Instances by revision while an update is under way, else null. */
  readonly rollout: Rollout | null;
};

export type Rollout = {
  /** With the new arguments, serving. */
  readonly upToDate: number;
  /** With older arguments. */
  readonly outdated: number;
  /** With the new arguments, not serving yet. */
  readonly booting: number;
};

/** @param now which minimum holds depends on it where there is a schedule */
export function statusOf(
  deployment: Deployment,
  instances: readonly InstanceRecord[],
  now: number,
): StatusReport {
  const live = instances.filter(({ intent, observed }) => intent !== "drain" && observed?.state !== "exited");
  const counts = countInstances(deployment, live);
  const status = nameStatus(deployment, live.length, counts.running, now);
  return {
    status,
    failReason: status === "failed" ? failReason(deployment.failure) : "",
    instances: counts,
    rollout: status === "updating" ? countRollout(deployment, live) : null,
  };
}

function nameStatus(deployment: Deployment, live: number, running: number, now: number): Status {
  const { revisions } = deployment;
  const settings = settingsAt(deployment.settings, now);
  if (deployment.desired === "delete") return "deleted";
  if (deployment.desired === "stop") return "stopped";
  if (deployment.failure !== null) return "failed";
  if (deployment.resolved === null) return "initializing";
  if (deployment.weightsReadyAtMs === null) return "downloading";
  // At zero an update has nothing to replace: the next instance will have the new arguments.
  const isAtZero = live === 0 && settings.minInstances === 0;
  if (revisions.fallback !== null && deployment.hasRun && settings.maxInstances > 0 && !isAtZero) {
    return "updating";
  }
  if (running > 0) return "running";
  // A model at zero is still a model: it waits for a request, also while the first one wakes it.
  return settings.minInstances === 0 ? "running" : "deploying";
}

function countInstances(
  deployment: Deployment,
  live: readonly InstanceRecord[],
): { running: number; pending: number; warming: number } {
  const loaded = live.filter(({ observed }) => observed?.state === "running");
  const warming = loaded.filter((record) => isOnTrial(deployment.revisions, record)).length;
  return { running: loaded.length - warming, pending: live.length - loaded.length, warming };
}

function countRollout({ revisions }: Deployment, live: readonly InstanceRecord[]): Rollout {
  const { proven, booting, serving, useless } = sortInstances(revisions, live);
  return {
    upToDate: proven.length,
    outdated: serving.length + useless.length,
    booting: booting.length,
  };
}
