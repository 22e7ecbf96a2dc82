/** Stored facts of a deployment as the wire shows them. Pure. */
import type { Deployment } from "../core/deployment.ts";
import { failReason } from "../core/failure.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { statusOf } from "../core/status.ts";
import type { DeploymentOut } from "../schema/deploy.ts";
import { toScheduleOut } from "./schedule.ts";
import { toStandardArgsOut } from "./standard-args.ts";

/** @param instances this deployment's */
export function toDeploymentOut(
  deployment: Deployment,
  instances: readonly InstanceRecord[],
  now: number,
): DeploymentOut {
  const { config, settings, resolved, revisions } = deployment;
  const { args } = revisions.wanted;
  const report = statusOf(deployment, instances, now);
  const { rollout } = report;
  return {
    deploy_id: deployment.id,
    model_name: deployment.name,
    version: resolved?.commit ?? "",
    task: resolved?.task ?? "text-generation",
    status: report.status,
    fail_reason: report.failReason,
    created_at: isoTime(deployment.createdAtMs),
    updated_at: isoTime(deployment.updatedAtMs),
    type: "llm",
    instances: report.instances,
    config: {
      gpu: config.gpu,
      num_gpus: config.numGpus,
      max_batch_size: config.maxBatchSize,
      weights: { repo: config.weights.repo, revision: config.weights.revision, token: null },
      base_model: config.baseModel,
      container_image: config.containerImage,
    },
    settings: {
      min_instances: settings.minInstances,
      max_instances: settings.maxInstances,
      inactive_shutdown: settings.inactiveShutdownS,
      ...(settings.schedule === undefined ? {} : { schedule: toScheduleOut(settings.schedule) }),
    },
    standard_args: toStandardArgsOut(args.standardArgs),
    extra_args: [...args.extraArgs],
    update_error: revisions.updateError === null ? null : failReason(revisions.updateError),
    rollout:
      rollout === null
        ? null
        : { up_to_date: rollout.upToDate, outdated: rollout.outdated, booting: rollout.booting },
  };
}

/** ISO 8601 as DeepInfra writes it, with `+00:00`. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "+00:00");
}
