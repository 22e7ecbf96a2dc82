/**
 * Asks instances for one answer, in the background, one request an instance: new ones of an update, and those that are doubted. Keeps what came of it in
 * memory until the next look writes it down or the instance is gone; lost with the process, it is asked again.
 */
import type { Deployment } from "../core/deployment.ts";
import type { Failure } from "../core/failure.ts";
import { failure } from "../core/failure.ts";
import type { ReconcilerOptions } from "./options.ts";

export type WarmUps = {
  /** Does nothing while this instance is being asked. */
  begin(deployment: Deployment, instanceId: string): Promise<void>;
  underWay(): ReadonlySet<string>;
  /** When instances last answered, milliseconds since the epoch. */
  answeredAtMs(): ReadonlyMap<string, number>;
  /** Instances that did not answer, with the reason. */
  failures(): ReadonlyMap<string, Failure>;
  forget(instanceId: string): void;
};

export function createWarmUps(
  options: Pick<ReconcilerOptions, "driver" | "engines" | "clock"> & {
    readonly limits: Pick<ReconcilerOptions["limits"], "firstTokenMs">;
  },
  run: (deploymentId: string, what: string, work: () => Promise<void>) => void,
): WarmUps {
  /** A first token may take long: engines compile and fill caches with it. */
  const { firstTokenMs } = options.limits;
  const asking = new Set<string>();
  const answered = new Map<string, number>();
  const failed = new Map<string, Failure>();

  async function ask(deployment: Deployment, instanceId: string): Promise<void> {
    const instance = (await options.driver.observe()).find(({ id }) => id === instanceId);
    const engine = options.engines.get(deployment.resolved?.engine ?? "");
    if (instance?.state !== "running") return;
    const { endpoint, secret } = instance;
    const outcome =
      engine === undefined
        ? failure("warm_up_failed", "The engine is not installed any more.", "See the deployment's logs.")
        : await engine.warmUp({ endpoint, secret, servedName: deployment.name }, firstTokenMs);
    if (outcome === null) answered.set(instanceId, options.clock.now());
    else failed.set(instanceId, outcome);
  }

  return {
    async begin(deployment, instanceId) {
      if (asking.has(instanceId)) return;
      asking.add(instanceId);
      run(deployment.id, "Asking an instance for an answer", async () => {
        try {
          await ask(deployment, instanceId);
        } finally {
          asking.delete(instanceId);
        }
      });
    },
    underWay: () => asking,
    answeredAtMs: () => answered,
    failures: () => failed,
    forget(instanceId) {
      answered.delete(instanceId);
      failed.delete(instanceId);
    },
  };
}
