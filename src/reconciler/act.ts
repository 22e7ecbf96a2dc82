/**
 * Carries out what `core/plan` decided. Short actions are awaited; long ones (resolving, fetching, ending a process)
 * run in the background, one of a kind per deployment, and poke the deployment when they end. A background action
 * writes its result only while the deployment still wants it. Every action leaves an event with its reason.
 */

import type { Action } from "../core/action.ts";
import { type Deployment, noTries } from "../core/deployment.ts";
import type { DownloadProgress } from "../core/event.ts";
import { type Failure, failure, failureCodes } from "../core/failure.ts";
import type { ObservedInstance } from "../core/instance.ts";
import { finishUpdate, proveRevision, revertUpdate } from "../core/revision.ts";
import type { World } from "../core/world.ts";
import { createFacts, type Facts } from "./facts.ts";
import { createLaunch } from "./launch.ts";
import type { ReconcilerOptions } from "./options.ts";
import type { Room } from "./room.ts";
import { createWarmUps, type WarmUps } from "./warm-up.ts";
import { createWeights } from "./weights.ts";

export type Actor = {
  act(deployment: Deployment, action: Action): Promise<void>;
  underWay(deploymentId: string): World["underWay"];
  isRemoving(instanceId: string): boolean;
  readonly warmUps: WarmUps;
  /** Ends an instance that no record knows. */
  removeOrphan(instance: ObservedInstance): void;
  progressOf(deploymentId: string): DownloadProgress | null;
  readonly tell: Facts["tell"];
  /** Aborts resolving and fetching of all deployments. */
  cancelAll(): void;
  /** Resolves when no background action is left. */
  settled(): Promise<void>;
};

type Job = { readonly kind: "resolve" | "fetch"; readonly abort: AbortController };

/** An instance that cannot be ended is tried after 1 s, 2 s, 4 s … up to this time. */
const maxRetryRemoveMs = 60_000;

/** @param onFreed something of the machines was freed */
export function createActor(
  options: ReconcilerOptions,
  room: Room,
  poke: (deploymentId: string) => void,
  onFreed: () => void,
): Actor {
  const { store, driver, clock, log } = options;
  const jobs = new Map<string, Job>();
  const progress = new Map<string, DownloadProgress>();
  /** Instances being removed, with their deployments. */
  const removing = new Map<string, string>();
  const background = new Set<Promise<void>>();
  const stopping = new AbortController();
  const warmUps = createWarmUps(options, run);
  const facts = createFacts(options);
  const { record, tell, countTry } = facts;
  const weights = createWeights(options, facts);
  const launch = createLaunch(options, facts, room, poke);

  function run(deploymentId: string, what: string, work: () => Promise<void>): void {
    const task = work()
      .catch(async (error: unknown) => {
        log("error", `${what} failed unexpectedly`, { deploymentId, error: String(error) });
        await countTry(deploymentId, internalFailure(what)).catch((storeError: unknown) =>
          log("error", "a failure could not be stored", { deploymentId, error: String(storeError) }),
        );
      })
      .finally(() => {
        background.delete(task);
        poke(deploymentId);
      });
    background.add(task);
  }

  function startJob(
    deploymentId: string,
    kind: Job["kind"],
    work: (signal: AbortSignal) => Promise<void>,
  ): void {
    const job: Job = { kind, abort: new AbortController() };
    jobs.set(deploymentId, job);
    run(deploymentId, kind === "resolve" ? "Resolving the repository" : "Fetching the weights", async () => {
      try {
        await work(job.abort.signal);
      } catch (error) {
        // Cancelled: the deployment no longer wants the result, whatever became of it.
        if (!job.abort.signal.aborted) throw error;
      } finally {
        if (jobs.get(deploymentId) === job) jobs.delete(deploymentId);
        progress.delete(deploymentId);
      }
    });
  }

  /** Goes on until it is gone: what may still run keeps its GPUs, and its record. */
  function remove(instanceId: string, deploymentId: string): void {
    if (removing.has(instanceId)) return;
    removing.set(instanceId, deploymentId);
    run(deploymentId, "Ending an instance", async () => {
      try {
        for (let failed = 0; !(await tryRemove(instanceId, deploymentId)); failed += 1) {
          await clock.sleep(Math.min(maxRetryRemoveMs, 1_000 * 2 ** failed), stopping.signal);
        }
      } catch (error) {
        if (!stopping.signal.aborted) throw error; // the next control goes on
      } finally {
        removing.delete(instanceId);
      }
    });
  }

  async function tryRemove(instanceId: string, deploymentId: string): Promise<boolean> {
    try {
      await driver.remove(instanceId, options.limits.stopGraceMs);
      await store.removeInstance(instanceId);
    } catch (error) {
      log("error", "an instance could not be ended; it is tried again", {
        ...{ deploymentId, instanceId, error: String(error) },
      });
      return false;
    }
    warmUps.forget(instanceId);
    room.release(instanceId);
    onFreed();
    return true;
  }

  async function drain(
    deploymentId: string,
    { instanceId, reason, inputs }: Extract<Action, { do: "drain" }>,
  ): Promise<void> {
    const known = (await store.instances(deploymentId)).find(({ id }) => id === instanceId);
    if (known === undefined) return;
    await store.putInstance({ ...known, intent: "drain", drainSinceMs: clock.now() });
    await tell(
      deploymentId,
      "instance_draining",
      `Instance ${instanceId} takes no new requests: ${reason}.`,
      { ...inputs },
    );
    poke(deploymentId);
  }

  /** What is ended without having exited, since it answers nothing, takes nothing more and counts as running no longer. */
  async function shut(deploymentId: string, instanceId: string): Promise<void> {
    const known = (await store.instances(deploymentId)).find(({ id }) => id === instanceId);
    if (known?.observed?.state !== "running") return;
    await store.putInstance({ ...known, intent: "drain", drainSinceMs: clock.now() });
  }

  async function revert(deployment: Deployment, cause: Failure): Promise<void> {
    const { wanted, fallback } = deployment.revisions;
    await record(deployment.id, ({ revisions }) =>
      // Another update may have been asked for since the decision: that one has not failed.
      revisions.wanted.id === wanted.id ? { revisions: revertUpdate(revisions, cause, clock.now()) } : {},
    );
    await tell(
      deployment.id,
      "update_reverted",
      `The new arguments of ${deployment.name} were taken back: ${cause.message}`,
      { cause: cause.code, revision: wanted.id, back_to: fallback?.id ?? null },
      cause.next,
    );
    poke(deployment.id);
  }

  async function act(deployment: Deployment, action: Action): Promise<void> {
    const { id } = deployment;
    switch (action.do) {
      case "resolve":
        return startJob(id, "resolve", (signal) => weights.resolve(deployment, signal));
      case "fetch": {
        const { resolved } = deployment;
        if (resolved === null) return;
        const onProgress = (now: DownloadProgress) => progress.set(id, now);
        return startJob(id, "fetch", (signal) => weights.fetch(deployment, resolved, onProgress, signal));
      }
      case "cancel":
        return jobs.get(id)?.abort.abort(new Error(action.reason));
      case "start":
        return await launch(deployment, action);
      case "drain":
        return await drain(id, action);
      case "remove":
        await tell(id, "instance_ending", `Instance ${action.instanceId} is ended: ${action.reason}.`, {});
        return remove(action.instanceId, id);
      case "record-exit":
        await countTry(id, action.failure, action.of);
        await shut(id, action.instanceId);
        return remove(action.instanceId, id);
      case "doubt":
        // An event only when it gives none: that is a failure with a sentence of its own.
        log("warn", `an instance is asked for a token, for ${action.reason}`, {
          ...action,
          deploymentId: id,
        });
        return await warmUps.begin(deployment, action.instanceId);
      case "warm":
        return await warmUps.begin(deployment, action.instanceId);
      case "finish-update":
        await record(id, ({ revisions }) =>
          revisions.wanted.id === deployment.revisions.wanted.id
            ? { revisions: finishUpdate(revisions) }
            : {},
        );
        await tell(id, "updated", `${deployment.name} has its new arguments: ${action.reason}.`, {
          revision: deployment.revisions.wanted.id,
        });
        return poke(id);
      case "revert-update":
        return await revert(deployment, action.failure);
      case "mark-run":
        return await record(id, ({ revisions }) => ({
          ...{ hasRun: true, revisions: proveRevision(revisions, action.revision) },
        }));
      case "clear-tries":
        return await record(id, () => ({ tries: noTries }));
      case "fail":
        await record(id, () => ({ failure: action.failure }));
        await tell(
          id,
          "failed",
          `${deployment.name} has failed: ${action.failure.message}`,
          { cause: action.failure.code },
          action.failure.next,
        );
        return poke(id);
    }
  }

  return {
    act,
    tell,
    isRemoving: (instanceId) => removing.has(instanceId),
    removeOrphan(instance) {
      if (removing.has(instance.id)) return;
      log("warn", "an instance that no deployment wants is ended", { instanceId: instance.id });
      remove(instance.id, instance.deploymentId);
    },
    underWay(deploymentId) {
      const kind = jobs.get(deploymentId)?.kind;
      return {
        resolve: kind === "resolve",
        fetch: kind === "fetch",
        removing: new Set(removing.keys()),
        warming: warmUps.underWay(),
      };
    },
    warmUps,
    progressOf: (deploymentId) => progress.get(deploymentId) ?? null,
    cancelAll() {
      stopping.abort();
      for (const job of jobs.values()) job.abort.abort(new Error("control is stopping"));
    },
    async settled() {
      while (background.size > 0) await Promise.all(background);
    },
  };
}

function internalFailure(what: string): Failure {
  return failure("internal", `${what} failed by a defect in Berth.`, `${failureCodes.internal.meaning}`);
}
