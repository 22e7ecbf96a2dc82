/**
 * What the running engines say of their work, for the page of metrics. Asks all at once and briefly: the page does without
 * those that do not answer. Decides nothing; admission counts slots by itself.
 */
import type { Driver } from "../ports/driver.ts";
import type { Engine, EngineLoad } from "../ports/engine.ts";
import type { Store } from "../ports/store.ts";

export type InstanceLoad = {
  readonly deployment: string;
  readonly model: string;
  readonly instance: string;
  readonly engine: string;
  readonly load: EngineLoad;
};

const askTimeoutMs = 500;

export async function askEngineLoads(of: {
  readonly store: Pick<Store, "deployments">;
  readonly driver: Pick<Driver, "observe">;
  readonly engines: ReadonlyMap<string, Engine>;
}): Promise<readonly InstanceLoad[]> {
  const deployments = new Map(
    (await of.store.deployments({ includeDeleted: false })).map((each) => [each.id, each]),
  );
  const running = (await of.driver.observe()).filter(({ state }) => state === "running");
  const loads = await Promise.all(
    running.map(async ({ id, deploymentId, endpoint, secret }): Promise<InstanceLoad[]> => {
      const deployment = deployments.get(deploymentId);
      const engine = of.engines.get(deployment?.resolved?.engine ?? "");
      const load = (await engine?.load?.(endpoint, secret, askTimeoutMs)) ?? null;
      return deployment === undefined || engine === undefined || load === null
        ? []
        : [{ deployment: deploymentId, model: deployment.name, instance: id, engine: engine.name, load }];
    }),
  );
  return loads.flat();
}
