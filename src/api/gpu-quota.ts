/**
 * Keeps accounts within their GPU quota: whatever makes a deployment run, or lets it grow, goes through here. Owns that of
 * several changes of one account at the same time each knows of the one before; what counts is `core/gpu-quota`'s.
 */
import type { Deployment } from "../core/deployment.ts";
import { type GpuUser, refuseGpus } from "../core/gpu-quota.ts";
import type { ApiDeps } from "./deps.ts";

export type GpuQuotas = {
  /**
   * Runs `write` while no other change of this account's GPUs does. `write` gets the question whether a deployment may be
   * stored so: null, or a sentence that says why not.
   */
  within<T>(account: string, write: (refuse: (wanted: GpuUser) => string | null) => Promise<T>): Promise<T>;
};

export function createGpuQuotas({ store, limits }: Pick<ApiDeps, "store" | "limits">): GpuQuotas {
  /** The last change of each account; control is the only writer. */
  const turns = new Map<string, Promise<unknown>>();

  async function run<T>(
    account: string,
    write: (refuse: (wanted: GpuUser) => string | null) => Promise<T>,
  ): Promise<T> {
    const deployments: readonly Deployment[] = await store.deployments({ account, includeDeleted: false });
    const terms = await store.access.terms(account);
    const quota = { account, limits: terms.limits, defaultGpus: limits.accountGpus };
    return await write((wanted) => refuseGpus(quota, wanted, deployments));
  }

  return {
    async within(account, write) {
      const before = turns.get(account) ?? Promise.resolve();
      const mine = before.then(() => run(account, write));
      const settled = mine.catch(() => undefined); // the caller of `mine` hears of it
      turns.set(account, settled);
      try {
        return await mine;
      } finally {
        if (turns.get(account) === settled) turns.delete(account);
      }
    },
  };
}
