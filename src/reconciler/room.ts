/**
 * Who holds what of the machines, so that nothing is given twice: GPUs from the moment a start is decided until the driver has
 * ended the instance, whatever the records say in between. Also what bounds a placement besides: an account's quota and
 * the memory that instances on the CPU take. Kept in memory alone; built anew from what the driver sees.
 */
import type { Deployment } from "../core/deployment.ts";
import { Holdings } from "../core/holdings.ts";
import type { ObservedInstance, Placement } from "../core/instance.ts";
import type { CpuUse, PlaceInput } from "../core/place.ts";
import type { Store } from "../ports/store.ts";

export type Room = {
  /** Brings the ledger up to date with everything the driver sees; what was seen before and is gone is let go. */
  sync(seen: readonly ObservedInstance[]): void;
  /** Takes a placement for an instance that is about to be started. False when a GPU of it was given away meanwhile. */
  take(instanceId: string, deploymentId: string, placement: Placement): boolean;
  /** It has been decided that the instance goes. */
  leave(instanceId: string): void;
  /** The GPUs that are taken now, and those of them whose instances go. */
  gpus(): { readonly occupiedGpus: ReadonlySet<string>; readonly leavingGpus: ReadonlySet<string> };
  /** The instance was never started, or has ended. */
  release(instanceId: string): void;
  /** What bounds the next placement of a deployment. */
  bounds(deployment: Deployment): Promise<Bounds>;
};

export type Bounds = {
  readonly occupiedGpus: ReadonlySet<string>;
  readonly cpuUse: ReadonlyMap<string, CpuUse>;
  readonly quota: NonNullable<PlaceInput["quota"]>;
};

/** What never changes about a deployment, and its size once that is known. */
type Facts = Pick<Deployment, "account" | "config"> & { readonly weightsBytes: number };

export function createRoom(
  store: Pick<Store, "deployment">,
  gpuLimit: (account: string, gpu: Deployment["config"]["gpu"]) => Promise<number>,
): Room {
  const held = new Holdings();
  const facts = new Map<string, Facts>();

  async function factsOf(deploymentId: string): Promise<Facts | null> {
    const known = facts.get(deploymentId);
    if (known !== undefined && known.weightsBytes > 0) return known;
    const deployment = await store.deployment(deploymentId);
    return deployment === null ? null : learn(deployment);
  }

  function learn({ id, account, config, resolved }: Deployment): Facts {
    const weightsBytes = resolved?.files.reduce((sum, file) => sum + file.bytes, 0) ?? 0;
    const now = { account, config, weightsBytes };
    facts.set(id, now);
    return now;
  }

  return {
    sync(seen) {
      held.sync(seen);
      const living = new Set([...held.all()].map(({ deploymentId }) => deploymentId));
      for (const id of facts.keys()) if (!living.has(id)) facts.delete(id);
    },
    take: (instanceId, deploymentId, placement) => held.take(instanceId, deploymentId, placement),
    leave: (instanceId) => held.leave(instanceId),
    gpus: () => ({ occupiedGpus: held.occupied(), leavingGpus: held.leaving() }),
    release: (instanceId) => held.release(instanceId),
    async bounds(deployment) {
      const { account, config } = learn(deployment);
      const limit = await gpuLimit(account, config.gpu);
      const cpuUse = new Map<string, { instances: number; weightsBytes: number; counted: Set<string> }>();
      let heldByAccount = 0;
      for (const { deploymentId, placement } of held.all()) {
        const owner = await factsOf(deploymentId);
        if (owner === null) continue;
        if (owner.account === account && owner.config.gpu === config.gpu)
          heldByAccount += owner.config.numGpus;
        if (placement.gpus.length > 0 || deploymentId === deployment.id) continue;
        const use = cpuUse.get(placement.node) ?? { instances: 0, weightsBytes: 0, counted: new Set() };
        use.instances += 1;
        // Instances of one deployment map the same file.
        if (!use.counted.has(deploymentId)) use.weightsBytes += owner.weightsBytes;
        use.counted.add(deploymentId);
        cpuUse.set(placement.node, use);
      }
      return {
        occupiedGpus: held.occupied(),
        cpuUse,
        quota: { account, held: heldByAccount, limit },
      };
    },
  };
}
