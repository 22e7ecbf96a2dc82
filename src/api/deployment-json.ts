/**
 * Deployments as the JSON text of a list. A list of ten thousand is asked for again and again, and nearly all of it is what
 * it was: the text of a deployment without instances is kept as long as the store gives the same value for it, which it does
 * until the deployment is written. Owns nothing that is not in that value; forgets with it.
 */
import type { Deployment } from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";
import type { Status } from "../core/status.ts";
import { deploymentOut } from "../schema/deploy.ts";
import { toDeploymentOut } from "./deployment-out.ts";

export type DeploymentJson = { readonly status: Status; readonly text: string };

const kept = new WeakMap<Deployment, DeploymentJson>();

/** @param instances this deployment's */
export function deploymentJson(
  deployment: Deployment,
  instances: readonly InstanceRecord[],
  now: number,
): DeploymentJson {
  // What instances do is written without the deployment being written, and a schedule turns the hour into a status.
  const isItsOwn = instances.length === 0 && deployment.settings.schedule === undefined;
  if (!isItsOwn) return writeJson(deployment, instances, now);
  const known = kept.get(deployment) ?? writeJson(deployment, [], now);
  kept.set(deployment, known);
  return known;
}

/** Whether the text is there already, so that writing many can be done in turns. */
export function isWritten(deployment: Deployment): boolean {
  return kept.has(deployment);
}

function writeJson(
  deployment: Deployment,
  instances: readonly InstanceRecord[],
  now: number,
): DeploymentJson {
  const out = deploymentOut.parse(toDeploymentOut(deployment, instances, now));
  return { status: out.status, text: JSON.stringify(out) };
}
