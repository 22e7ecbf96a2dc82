/**
 * Carries out what `core/plan` decided. Short actions are awaited; long ones (resolving, fetching, ending a process)
 * run in the background, one of a kind per deployment, and poke the deployment when they end. A background action
 * writes its result only while the deployment still wants it. Every action leaves an event with its reason.
 */
import type { Deployment, ResolvedWeights, Tries } from "../core/deployment.ts";
import { noTries } from "../core/deployment.ts";
import { memoryOf } from "../core/engine-memory.ts";
import type { DeploymentEvent, DownloadProgress } from "../core/event.ts";
import { type Failure, FailureError, failure, failureCodes } from "../core/failure.ts";
import { fittingContext } from "../core/fit-deployment.ts";
import type { ObservedInstance } from "../core/instance.ts";
import type { Action, World } from "../core/plan.ts";
import { isLocal, plainName, quantizationOf } from "../core/repo.ts";
import { finishUpdate, revertUpdate } from "../core/revision.ts";
import type { Engine } from "../ports/engine.ts";
import type { HubOutcome, RepoListing } from "../ports/hub.ts";
import { estimateFit, explainRefusal, fitInput, readFacts } from "./model-facts.ts";
import type { ReconcilerOptions } from "./options.ts";
import type { Room } from "./room.ts";
import { createWarmUps, type WarmUps } from "./warm-up.ts";

export type Actor = {
  act(deployment: Deployment, action: Action): Promise<void>;
  underWay(deploymentId: string): World["underWay"];
  isRemoving(instanceId: string): boolean;
  readonly warmUps: WarmUps;
  /** Ends an instance that no record knows. */
  removeOrphan(instance: ObservedInstance): void;
  progressOf(deploymentId: string): DownloadProgress | null;
  /** Appends an event. */
  tell(
    deploymentId: string,
    code: string,
    text: string,
    inputs: DeploymentEvent["inputs"],
    next?: string,
  ): Promise<void>;
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
  const { store, hub, driver, clock, log } = options;
  const jobs = new Map<string, Job>();
  const progress = new Map<string, DownloadProgress>();
  /** Instances being removed, with their deployments. */
  const removing = new Map<string, string>();
  const background = new Set<Promise<void>>();
  const stopping = new AbortController();
  const warmUps = createWarmUps(options, run);

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

  async function resolve(deployment: Deployment, signal: AbortSignal): Promise<void> {
    const token = await options.hfToken(deployment);
    const listing = await hub.list(deployment.config.weights, token, signal);
    if (signal.aborted) return;
    if (!listing.ok) return await countTry(deployment.id, listing.failure);
    const chosen = chooseEngine(options.engines, deployment, listing.value);
    if (!chosen.ok) {
      const why = await explainRefusal(options, deployment, listing.value, chosen.failure, token, signal);
      if (!signal.aborted) await countTry(deployment.id, why);
      return;
    }
    const { files } = chosen.value;
    const read = await readFacts(options, deployment, { listing: listing.value, files }, token, signal);
    if (signal.aborted) return;
    const resolved = "facts" in read ? { ...chosen.value, facts: read.facts } : chosen.value;
    await record(deployment.id, () => ({ resolved, tries: noTries }));
    const bytes = resolved.files.reduce((sum, file) => sum + file.bytes, 0);
    const text = `${deployment.config.weights.repo} is at commit ${resolved.commit}; ${resolved.entryFile} is for the ${resolved.engine} engine.`;
    await tell(deployment.id, "resolved", text, {
      commit: resolved.commit,
      files: resolved.files.length,
      bytes,
    });
    const found = await estimateFit(options, { ...deployment, resolved }, read);
    if (found !== null) await tell(deployment.id, found.code, found.text, found.inputs);
  }

  async function fetchWeights(
    deployment: Deployment,
    resolved: ResolvedWeights,
    signal: AbortSignal,
  ): Promise<void> {
    const token = await options.hfToken(deployment);
    const startedAtMs = clock.now();
    const outcome = await hub.fetch(
      repoPath(deployment),
      resolved.commit,
      resolved.files,
      token,
      (now) => progress.set(deployment.id, now),
      signal,
    );
    if (signal.aborted) return;
    if (!outcome.ok) return await countTry(deployment.id, outcome.failure);
    const endedAtMs = clock.now();
    await record(deployment.id, () => ({ weightsReadyAtMs: endedAtMs, tries: noTries }));
    const seconds = ((endedAtMs - startedAtMs) / 1000).toFixed(1);
    const files = resolved.files.length === 1 ? "The file is" : `All ${resolved.files.length} files are`;
    const how = isLocal(deployment.config.weights.repo)
      ? "there and used from where it is"
      : `here and verified (${seconds} s)`;
    await tell(deployment.id, "weights_ready", `${files} ${how}.`, {});
  }

  async function start(
    deployment: Deployment,
    { placement, reason, inputs }: Extract<Action, { do: "start" }>,
  ): Promise<void> {
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
          isUnmeasured: input.measured === null,
          ...(fitting === null ? {} : { fittingContextTokens: fitting }),
          ...(modelTokens === null ? {} : { modelContextTokens: modelTokens }),
        },
      });
    } catch (error) {
      log("error", "an instance could not be started", { deploymentId: deployment.id, error: String(error) });
      await store.removeInstance(id);
      room.release(id);
      await countTry(deployment.id, startFailure(error), fallback === null ? "deployment" : "update");
    }
    poke(deployment.id);
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
        return startJob(id, "resolve", (signal) => resolve(deployment, signal));
      case "fetch": {
        const { resolved } = deployment;
        if (resolved !== null) startJob(id, "fetch", (signal) => fetchWeights(deployment, resolved, signal));
        return;
      }
      case "cancel":
        return jobs.get(id)?.abort.abort(new Error(action.reason));
      case "start":
        return await start(deployment, action);
      case "drain":
        return await drain(id, action);
      case "remove":
        await tell(id, "instance_ending", `Instance ${action.instanceId} is ended: ${action.reason}.`, {});
        return remove(action.instanceId, id);
      case "record-exit":
        await countTry(id, action.failure, action.of);
        return remove(action.instanceId, id);
      case "warm":
        return await warmUps.begin(deployment, action.instanceId);
      case "doubt":
        // An event only when it gives none: that is a failure with a sentence of its own.
        log("warn", `an instance is asked for a token, for ${action.reason}`, {
          ...action,
          deploymentId: id,
        });
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
        return await record(id, () => ({ hasRun: true }));
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

/** The first engine that can load the repository and takes the arguments; else the failure of the last one asked. */
export function chooseEngine(
  engines: ReadonlyMap<string, Engine>,
  deployment: Deployment,
  listing: RepoListing,
): HubOutcome<ResolvedWeights> {
  const { weights, containerImage } = deployment.config;
  const quantization = quantizationOf(weights.repo);
  let last = failure(
    "no_loadable_weights",
    "No engine is installed.",
    "See GET /deploy/llm/gpu_availability.",
  );
  if (containerImage !== null) {
    const sentence = "This installation runs engines as processes of the machine, not in container images.";
    return {
      ok: false,
      failure: failure("bad_engine_args", sentence, "Deploy again without container_image."),
    };
  }
  for (const engine of engines.values()) {
    const choice = engine.chooseFiles(listing, quantization);
    if (!choice.ok) {
      last = choice.failure;
      continue;
    }
    const refusal = engine.refuseArgs(deployment.revisions.wanted.args);
    if (refusal === null)
      return { ok: true, value: { ...choice.value, commit: listing.commit, engine: engine.name } };
    last = failure("bad_engine_args", refusal, "Deploy again without it.");
  }
  return { ok: false, failure: last };
}

/** Every name an engine answers to, the full one first. */
export function servedNames({ id, name, account }: Deployment): readonly string[] {
  return [name, name.slice(account.length + 1), `deploy_id:${id}`];
}

/** The name that the hub knows it by, without the quantization. */
function repoPath({ config }: Deployment): string {
  const name = plainName(config.weights.repo);
  if (name === null) throw new Error(`the stored repository name ${config.weights.repo} is malformed`);
  return name;
}

function internalFailure(what: string): Failure {
  return failure("internal", `${what} failed by a defect in Berth.`, `${failureCodes.internal.meaning}`);
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
