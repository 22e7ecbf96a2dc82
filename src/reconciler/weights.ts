/**
 * Brings a deployment's weights here: the repository is resolved to a commit, an engine and its files, then the files are fetched.
 * Each writes its result as a fact, or a try that failed. Which is due is `core/plan`'s to say.
 */
import { type Deployment, noTries, type ResolvedWeights } from "../core/deployment.ts";
import { orderEngines } from "../core/engine-order.ts";
import type { DownloadProgress } from "../core/event.ts";
import { failure } from "../core/failure.ts";
import { isLocal, plainName, quantizationOf } from "../core/repo.ts";
import type { Engine } from "../ports/engine.ts";
import type { HubOutcome, RepoListing } from "../ports/hub.ts";
import type { Facts } from "./facts.ts";
import { estimateFit, readFacts } from "./model-facts.ts";
import type { ReconcilerOptions } from "./options.ts";

export function createWeights(options: ReconcilerOptions, { record, tell, countTry }: Facts) {
  const { hub, clock } = options;

  async function resolve(deployment: Deployment, signal: AbortSignal): Promise<void> {
    const token = await options.hfToken(deployment);
    const listing = await hub.list(deployment.config.weights, token, signal);
    if (signal.aborted) return;
    if (!listing.ok) return await countTry(deployment.id, listing.failure);
    const chosen = chooseEngine(options.engines, deployment, listing.value);
    if (!chosen.ok) return await countTry(deployment.id, chosen.failure);
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

  async function fetch(
    deployment: Deployment,
    resolved: ResolvedWeights,
    onProgress: (now: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const token = await options.hfToken(deployment);
    const startedAtMs = clock.now();
    const outcome = await hub.fetch(
      repoPath(deployment),
      resolved.commit,
      resolved.files,
      token,
      onProgress,
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

  return { resolve, fetch };
}

/** The first engine in order that can load the repository and takes the arguments; else the failure of the last one asked. */
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
  for (const engine of orderEngines([...engines.values()], deployment)) {
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

/** The name that the hub knows it by, without the quantization. */
export function repoPath({ config }: Deployment): string {
  const name = plainName(config.weights.repo);
  if (name === null) throw new Error(`the stored repository name ${config.weights.repo} is malformed`);
  return name;
}
