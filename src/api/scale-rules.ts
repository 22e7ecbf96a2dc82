/** What instance counts a deployment may have. Pure. */
import type { ScaleSettings } from "../core/deployment.ts";
import type { ValidationIssue } from "../schema/errors.ts";
import { valueError } from "../schema/validation.ts";

/**
 * `0 <= min <= max` and `max * numGpus <= quotaGpus`; both 0 pauses a deployment and is legal. An instance on the CPU
 * counts as one.
 */
export function checkScale(settings: ScaleSettings, numGpus: number, quotaGpus: number): ValidationIssue[] {
  const { minInstances, maxInstances } = settings;
  if (minInstances > maxInstances) {
    const sentence = `settings.min_instances (${minInstances}) is larger than settings.max_instances (${maxInstances}).`;
    return [valueError(["body", "settings", "min_instances"], sentence)];
  }
  const most = Math.max(0, ...(settings.schedule?.rules ?? []).map((rule) => rule.minInstances));
  if (most > maxInstances) {
    const sentence = `settings.schedule asks for ${most} instances, which is more than settings.max_instances (${maxInstances}).`;
    return [valueError(["body", "settings", "schedule"], sentence)];
  }
  const gpus = maxInstances * numGpus;
  if (gpus > quotaGpus) {
    const sentence = `settings.max_instances ${maxInstances} x num_gpus ${numGpus} is ${gpus} GPUs; a deployment may have ${quotaGpus} (BERTH_QUOTA_GPUS).`;
    return [valueError(["body", "settings", "max_instances"], sentence)];
  }
  return [];
}
