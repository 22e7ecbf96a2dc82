/**
 * Asks new instances of an update for a first answer, in the background, one request an instance. Keeps what came of it in
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
  /** When it answered, milliseconds since the epoch; null when it has not. */
  answeredAtMs(instanceId: string): number | null;
  /** Instances that did not answer, with the reason. */
  failures(): ReadonlyMap<string, Failure>;
  forget(instanceId: string): void;
};

/** A first token may take long: engines compile and fill caches with it. */
const warmUpMs = 120_000;

export function createWarmUps(
  options: Pick<ReconcilerOptions, "driver" | "engines" | "clock">,
  run: (deploymentId: string, what: string, work: () => Promise<void>) => void,
): WarmUps {
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
        : await engine.warmUp({ endpoint, secret, servedName: deployment.name }, warmUpMs);
    if (outcome === null) answered.set(instanceId, options.clock.now());
    else failed.set(instanceId, outcome);
  }

  return {
    async begin(deployment, instanceId) {
      if (asking.has(instanceId)) return;
      asking.add(instanceId);
      run(deployment.id, "Asking an instance for a first answer", async () => {
        try {
          await ask(deployment, instanceId);
        } finally {
          asking.delete(instanceId);
        }
      });
    },
    underWay: () => asking,
    answeredAtMs: (instanceId) => answered.get(instanceId) ?? null,
    failures: () => failed,
    forget(instanceId) {
      answered.delete(instanceId);
      failed.delete(instanceId);
    },
  };
}
