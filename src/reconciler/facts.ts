/**
 * What the reconciler writes of a deployment: facts, tries that failed, events. Writes a fact only while the deployment still
 * wants to run, so that what was under way cannot undo a stop. Decides nothing.
 */
import type { Deployment, Tries } from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import type { Failure } from "../core/failure.ts";
import type { ReconcilerOptions } from "./options.ts";

export type Facts = {
  /** Writes a fact while the deployment still wants to run. */
  record(deploymentId: string, change: (now: Deployment) => Partial<Deployment>): Promise<void>;
  /** Appends an event. */
  tell(
    deploymentId: string,
    code: string,
    text: string,
    inputs: DeploymentEvent["inputs"],
    next?: string,
  ): Promise<void>;
  /** An update that was settled in the meantime has no tries to count any more. */
  countTry(deploymentId: string, cause: Failure, of?: "deployment" | "update"): Promise<void>;
};

export function createFacts({
  store,
  clock,
  log,
}: Pick<ReconcilerOptions, "store" | "clock" | "log">): Facts {
  /** Writes a fact while the deployment still wants to run. */
  async function record(
    deploymentId: string,
    change: (now: Deployment) => Partial<Deployment>,
  ): Promise<void> {
    await store.changeDeployment(deploymentId, (now) =>
      now.desired === "run" ? { ...now, ...change(now), updatedAtMs: clock.now() } : null,
    );
  }

  async function tell(
    deploymentId: string,
    code: string,
    text: string,
    inputs: DeploymentEvent["inputs"],
    next = "",
  ): Promise<void> {
    log("info", text, { deploymentId, code });
    await store.addEvent({ deploymentId, atMs: clock.now(), code, text, next, inputs });
  }

  /** An update that was settled in the meantime has no tries to count any more. */
  async function countTry(
    deploymentId: string,
    cause: Failure,
    of: "deployment" | "update" = "deployment",
  ): Promise<void> {
    let count = 0;
    const next = (tries: Tries): Tries => {
      count = tries.count + 1;
      return { count, lastAtMs: clock.now(), lastFailure: cause };
    };
    await record(deploymentId, ({ tries, revisions }) => {
      if (of === "deployment") return { tries: next(tries) };
      if (revisions.fallback === null) return {};
      return { revisions: { ...revisions, tries: next(revisions.tries) } };
    });
    await tell(deploymentId, cause.code, cause.message, { tries: count, of }, cause.next);
  }

  return { record, tell, countTry };
}
