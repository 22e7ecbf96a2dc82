/**
 * Who gives way when there are fewer GPUs than wanted. Pure. The policy: minimums first, then by need (work for each slot
 * there is); idle instances above a minimum are given up first, and for somebody's minimum also busy ones. Decides between
 * deployments that want the same type of GPU; must not choose which instance goes.
 */
import type { DeploymentConfig } from "./deployment.ts";
import type { Asked } from "./scale.ts";

/** What a deployment waits for, because no GPU is free. */
export type Claim = {
  readonly deploymentId: string;
  readonly name: string;
  readonly config: Pick<DeploymentConfig, "gpu" | "numGpus">;
  /** Instances it lacks of its minimum. */
  readonly belowMinimum: number;
  /** Instances it lacks for the work it has now, beyond the minimum. */
  readonly forWork: number;
  /** Requests for each slot it has; infinite when it has none. */
  readonly need: number;
};

/** The strongest first; between equals the order of the list, so who waits longest. */
export function byClaim(claims: readonly Claim[]): Claim[] {
  return [...claims].sort((a, b) => {
    const minimum = Number(b.belowMinimum > 0) - Number(a.belowMinimum > 0);
    if (minimum !== 0 || a.need === b.need) return minimum;
    return b.need > a.need ? 1 : -1;
  });
}

/**
 * What others ask of a deployment. Absent when nobody waits for such GPUs, or who waits will find them free.
 * @param soonFree most such GPUs that one machine has free, or will have when what drains is gone
 */
export function askedOf(
  own: { readonly deploymentId: string; readonly config: Claim["config"] },
  claims: readonly Claim[],
  soonFree = 0,
): Asked | undefined {
  const others = claims.filter(
    (claim) => claim.deploymentId !== own.deploymentId && claim.config.gpu === own.config.gpu,
  );
  const [first] = byClaim(others).filter((claim) => claim.belowMinimum + claim.forWork > 0);
  if (first === undefined) return undefined;
  // As many of its own as free what they lack; a claim is met one step at a time, so that nobody gives up in vain.
  const each = Math.ceil((first.config.numGpus - soonFree) / own.config.numGpus);
  if (each <= 0) return undefined;
  const isMinimum = first.belowMinimum > 0;
  return { idle: isMinimum ? 0 : each, any: isMinimum ? each : 0, by: first.name };
}

/** Whether a stronger claim than the deployment's own waits for the same GPUs, so that it must leave free ones to it. */
export function mustLeaveRoom(own: Claim, claims: readonly Claim[]): boolean {
  const rivals = claims.filter(
    (claim) => claim.deploymentId !== own.deploymentId && claim.config.gpu === own.config.gpu,
  );
  return (
    byClaim([...rivals, own])[0]?.deploymentId !== own.deploymentId &&
    rivals.some((rival) => isStronger(rival, own))
  );
}

function isStronger(rival: Claim, own: Claim): boolean {
  if (rival.belowMinimum > 0 !== own.belowMinimum > 0) return rival.belowMinimum > 0;
  return rival.belowMinimum === 0 && rival.forWork > 0 && rival.need > own.need;
}
