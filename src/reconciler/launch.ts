/**
 * Starts an instance where `core/plan` has placed it: the record first, then the process. What does not start is a try that
 * failed, and leaves nothing behind.
 */
import type { Action } from "../core/action.ts";
import type { Deployment } from "../core/deployment.ts";
import { memoryOf } from "../core/engine-memory.ts";
import { type Failure, FailureError, failure } from "../core/failure.ts";
import { fittingContext } from "../core/fit-deployment.ts";
import { LateAnswer } from "./deadlines.ts";
import type { Facts } from "./facts.ts";
import { fitInput } from "./model-facts.ts";
import type { ReconcilerOptions } from "./options.ts";
import type { Room } from "./room.ts";
import { repoPath } from "./weights.ts";

export type Launch = (deployment: Deployment, action: Extract<Action, { do: "start" }>) => Promise<void>;

export function createLaunch(
  options: ReconcilerOptions,
  { record, tell, countTry }: Facts,
  room: Room,
  poke: (deploymentId: string) => void,
): Launch {
  const { store, hub, driver, clock, log } = options;

  /** The image came with the weights, and comes again with them: nothing of the deployment has failed. */
  async function fetchAnew({ id }: Deployment, { code, message, next }: Failure): Promise<void> {
    await record(id, () => ({ weightsReadyAtMs: null }));
    await tell(id, code, message, {}, next);
  }

  return async function launch(deployment, { placement, reason, inputs }) {
    const { resolved, config } = deployment;
    const { wanted, fallback } = deployment.revisions;
    if (resolved === null) throw new Error("an instance cannot start before its weights are resolved");
    const id = options.newInstanceId();
    // Another deployment may have been given it since the decision: the next look finds another place.
    if (!room.take(id, deployment.id, placement)) return poke(deployment.id);
    // The record comes first: whatever exists at the driver without one is an orphan.
    await store.putInstance({
      id,
      deploymentId: deployment.id,
      intent: "run",
      createdAtMs: clock.now(),
      drainSinceMs: null,
      revision: wanted.id,
      warmedAtMs: null,
      observed: null,
    });
    await tell(deployment.id, "instance_starting", `Instance ${id} starts: ${reason}.`, {
      node: placement.node,
      revision: wanted.id,
      ...inputs,
    });
    const input = await fitInput(options, deployment);
    const fitting = fittingContext(input);
    const memoryBytes = memoryOf(options.engineMemory, input, placement);
    const modelTokens = resolved.facts?.contextTokens ?? null;
    try {
      const changed = await hub.changed(repoPath(deployment), resolved);
      if (changed !== null) throw new FailureError(changed);
      await driver.start({
        id,
        deploymentId: deployment.id,
        engine: resolved.engine,
        placement,
        ...(memoryBytes === null ? {} : { memoryBytes }),
        launch: {
          snapshotPath: hub.snapshotPath(repoPath(deployment), resolved.commit),
          entryFile: resolved.entryFile,
          servedNames: servedNames(deployment),
          weights: { repo: repoPath(deployment), commit: resolved.commit, account: deployment.account },
          maxBatchSize: config.maxBatchSize,
          engineArgs: wanted.args,
          ...(config.containerImage === null ? {} : { image: config.containerImage }),
          isShared: deployment.isPublic,
          isUnmeasured: input.measured === null,
          ...(fitting === null ? {} : { fittingContextTokens: fitting }),
          ...(modelTokens === null ? {} : { modelContextTokens: modelTokens }),
        },
      });
    } catch (error) {
      log("error", "an instance could not be started", { deploymentId: deployment.id, error: String(error) });
      await store.removeInstance(id);
      // What starts too late still takes its GPUs: they are given to nobody else before the driver has answered.
      if (error instanceof LateAnswer)
        error.onAnswer((isStarted) => {
          if (!isStarted) room.release(id);
        });
      else room.release(id);
      const cause = startFailure(error);
      if (cause.code === "image_missing") await fetchAnew(deployment, cause);
      else await countTry(deployment.id, cause, fallback === null ? "deployment" : "update");
    }
    poke(deployment.id);
  };
}

/** Every name an engine answers to, the full one first. */
export function servedNames({ id, name, account }: Deployment): readonly string[] {
  return [name, name.slice(account.length + 1), `deploy_id:${id}`];
}

function startFailure(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOSPC") {
    return failure(
      "disk_full",
      "The disk of BERTH_HOME is full; the engine could not be started.",
      "Free some room, then start the deployment again.",
    );
  }
  return failure(
    "engine_crashed",
    `The engine could not be started (${code ?? "unexpected error"}).`,
    "See the log of the control process.",
  );
}
