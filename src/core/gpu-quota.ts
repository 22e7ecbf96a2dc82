/**
 * How many GPUs of each type an account's deployments may ask for together. What counts is what a deployment may grow to
 * (max_instances x num_gpus) while it is meant to run; an instance on the CPU counts as one of `other`. Pure.
 */
import type { AccountLimits } from "./account.ts";
import type { Deployment, GpuType } from "./deployment.ts";

/** A deployment as the quota sees it. */
export type GpuUser = Pick<Deployment, "id" | "desired" | "failure" | "settings"> & {
  readonly config: Pick<Deployment["config"], "gpu" | "numGpus">;
};

export type GpuQuota = {
  readonly account: string;
  readonly limits: AccountLimits;
  /** Of each type, where the account has no limit of its own. */
  readonly defaultGpus: number;
};

export function gpuLimit({ limits, defaultGpus }: Omit<GpuQuota, "account">, gpu: GpuType): number {
  return limits.gpus[gpu] ?? defaultGpus;
}

/** GPUs of a type that these deployments may grow to. */
export function gpusAskedFor(deployments: readonly GpuUser[], gpu: GpuType): number {
  return deployments
    .filter((each) => each.config.gpu === gpu && each.desired === "run" && each.failure === null)
    .reduce((sum, each) => sum + each.settings.maxInstances * each.config.numGpus, 0);
}

/**
 * Null when the account may have `wanted` run, else a sentence that says why not.
 * @param wanted as it would be stored
 * @param deployments the account's; one with the id of `wanted` does not count
 */
export function refuseGpus(quota: GpuQuota, wanted: GpuUser, deployments: readonly GpuUser[]): string | null {
  const { gpu } = wanted.config;
  const limit = gpuLimit(quota, gpu);
  const own = gpusAskedFor([wanted], gpu);
  const others = gpusAskedFor(
    deployments.filter((each) => each.id !== wanted.id),
    gpu,
  );
  if (own === 0 || own + others <= limit) return null;
  const rest = others === 0 ? "" : ` and its other deployments may grow to ${others}`;
  return (
    `The account ${quota.account} may have ${limit} x ${gpu}; this asks for ${own} (max_instances x num_gpus)${rest}. ` +
    "Ask for fewer, stop another deployment, or ask for a higher limit with POST /v1/me/gpu_limit/request."
  );
}
