/**
 * What a deployment's files say of the model, read before they are fetched, and what follows for memory, for its events.
 * Never the reason why a deployment fails: headers that cannot be read leave the facts out, and the engine finds out.
 */
import { explainAdapter, holdsAdapterAlone } from "../core/adapter.ts";
import type { Deployment, RepoFile } from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import type { Failure } from "../core/failure.ts";
import { describeFit, type FitInput, fitDeployment, measurementOf } from "../core/fit-deployment.ts";
import { readMeasurement } from "../core/fit-measured.ts";
import { nameHardware } from "../core/fit-search.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { HubOutcome, RepoListing } from "../ports/hub.ts";
import type { ReconcilerOptions } from "./options.ts";

/** Whatever an endpoint does, a deployment waits no longer for facts alone. */
const patienceMs = 30_000;

export type ReadFacts = { readonly facts: ModelFacts } | { readonly why: string };

export async function readFacts(
  { hub, log }: Pick<ReconcilerOptions, "hub" | "log">,
  { id, config }: Deployment,
  listed: { readonly listing: RepoListing; readonly files: readonly RepoFile[] },
  token: string | null,
  signal: AbortSignal,
): Promise<ReadFacts> {
  const impatience = AbortSignal.timeout(patienceMs);
  let outcome: HubOutcome<ModelFacts>;
  try {
    outcome = await hub.inspect(config.weights, token, AbortSignal.any([signal, impatience]), listed);
  } catch (error) {
    signal.throwIfAborted();
    if (!impatience.aborted) {
      log("error", "the headers of weights could not be read", { deploymentId: id, error: String(error) });
      return {
        why: "reading them failed by a defect in Berth; the log of the control process has the details",
      };
    }
    return { why: `they did not come within ${patienceMs / 1000} s` };
  }
  return outcome.ok ? { facts: outcome.value } : { why: outcome.failure.message.replace(/[.]$/, "") };
}

/** Why no engine loads the repository: of an adapter alone its configuration tells which model to deploy instead. */
export async function explainRefusal(
  options: Pick<ReconcilerOptions, "hub" | "log">,
  deployment: Deployment,
  listing: RepoListing,
  refusal: Failure,
  token: string | null,
  signal: AbortSignal,
): Promise<Failure> {
  if (refusal.code !== "no_loadable_weights" || !holdsAdapterAlone(listing.files)) return refusal;
  const read = await readFacts(options, deployment, { listing, files: [] }, token, signal);
  return explainAdapter(listing.repo, "facts" in read ? (read.facts.adapter?.base ?? null) : null);
}

/** What is told of the deployment's memory once its repository is resolved; null where there is nothing to say. */
export async function estimateFit(
  { driver, engines, store }: Pick<ReconcilerOptions, "driver" | "engines" | "store">,
  deployment: Deployment,
  read: ReadFacts,
): Promise<Pick<DeploymentEvent, "code" | "text" | "inputs"> | null> {
  const { config } = deployment;
  if ("why" in read) {
    const text = `Whether it fits is not known before it is loaded: the headers of ${config.weights.repo} could not be read, because ${read.why}.`;
    return { code: "fit_unknown", text, inputs: {} };
  }
  const found = fitDeployment(await fitInput({ driver, engines, store }, deployment));
  if (found === null) return null;
  const { verdict, neededBytes, memoryBytes, contextForAll, contextForOne } = found;
  const text = describeFit(found, nameHardware({ gpu: config.gpu, numGpus: found.gpus }));
  return { code: "fit", text, inputs: { verdict, neededBytes, memoryBytes, contextForAll, contextForOne } };
}

/** What is known for an estimate of the deployment's memory. */
export async function fitInput(
  { driver, engines, store }: Pick<ReconcilerOptions, "driver" | "engines" | "store">,
  deployment: Deployment,
): Promise<FitInput> {
  const engine = engines.get(deployment.resolved?.engine ?? "");
  const key = measurementOf(deployment);
  return {
    deployment,
    nodes: await driver.capacity(),
    engineRunsOn: engine?.runsOn ?? null,
    engineMemory: engine?.memory ?? null,
    measured: key === null ? null : readMeasurement(await store.note(key)),
  };
}
