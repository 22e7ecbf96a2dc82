/**
 * Brings a deployment's weights here: the repository is resolved to a commit, an engine and its files, then the files are fetched.
 * Each writes its result as a fact, or a try that failed. Which is due is `core/plan`'s to say.
 */
import { type Deployment, noTries, type ResolvedWeights } from "../core/deployment.ts";
import { orderEngines } from "../core/engine-order.ts";
import type { DownloadProgress } from "../core/event.ts";
import { type Failure, failure } from "../core/failure.ts";
import { isLocal, plainName, quantizationOf } from "../core/repo.ts";
import type { Engine } from "../ports/engine.ts";
import type { HubOutcome, RepoListing } from "../ports/hub.ts";
import type { Facts } from "./facts.ts";
import { estimateFit, explainRefusal, readFacts } from "./model-facts.ts";
import type { ReconcilerOptions } from "./options.ts";

export function createWeights(options: ReconcilerOptions, { record, tell, countTry }: Facts) {
  const { hub, clock, log } = options;

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

  async function fetch(
    deployment: Deployment,
    resolved: ResolvedWeights,
    onProgress: (now: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    // First, since it is smaller than most weights, and without it they would be of no use.
    const imageFailure = await fetchImage(deployment, resolved, onProgress, signal);
    if (signal.aborted) return;
    if (imageFailure !== null) return await countTry(deployment.id, imageFailure);
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

  /** The container image that the engine is in, where it is in one. Null when it is here, else why not. */
  async function fetchImage(
    { id, config }: Deployment,
    { engine, files }: ResolvedWeights,
    onProgress: (now: DownloadProgress) => void,
    signal: AbortSignal,
  ): Promise<Failure | null> {
    const image = config.containerImage ?? options.engines.get(engine)?.image;
    if (image === undefined) return null;
    const bytesTotal = files.reduce((sum, { bytes }) => sum + bytes, 0);
    const startedAtMs = clock.now();
    const told: Promise<void>[] = [];
    const onLayers = ({ done, all }: { done: number; all: number }) => {
      if (told.length === 0) told.push(tellFetching(id, image));
      const layers = all === 0 ? "" : `: ${done} of ${all} layers`;
      onProgress({ bytesDone: 0, bytesTotal, bytesPerS: 0, currentFiles: [`image ${image}${layers}`] });
    };
    let outcome: Failure | null;
    try {
      outcome = await options.driver.fetchImage(image, onLayers, signal);
    } finally {
      await Promise.all(told);
    }
    if (outcome !== null || told.length === 0) return outcome;
    const seconds = ((clock.now() - startedAtMs) / 1000).toFixed(1);
    await tell(id, "image_ready", `The container image ${image} is here (${seconds} s).`, { image });
    return null;
  }

  /** Never rejects: nobody waits for it before the image is here. */
  async function tellFetching(id: string, image: string): Promise<void> {
    await tell(id, "image_fetching", `The container image ${image} is fetched.`, { image }).catch((error) =>
      log("error", "an event could not be stored", { deploymentId: id, error: String(error) }),
    );
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
  const fitting = [...engines.values()].filter(
    (engine) => containerImage === null || engine.takesImages === true,
  );
  if (containerImage !== null && fitting.length === 0) {
    const sentence = "This installation runs engines as processes of the machine, not in container images.";
    const next = "Deploy again without container_image, or have an administrator install Docker or Podman.";
    return { ok: false, failure: failure("bad_engine_args", sentence, next) };
  }
  for (const engine of orderEngines(fitting, deployment)) {
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
