/**
 * Two older ways to deploy that clients still use. They name a model alone: its name in the account, the hardware and the
 * bounds are chosen here, and the rest is `POST /deploy/llm`'s.
 */
import { findEntry } from "../core/known-models.ts";
import { deployIdOut, deployLlmIn, deployModelIn, hfModelIn } from "../schema/deploy.ts";
import type { Caller } from "./auth.ts";
import { draftDeployment } from "./create-llm.ts";
import { createDeployment } from "./deployments.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { suggestName } from "./presets.ts";
import { InputError } from "./refusal.ts";

export function legacyOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/v1/deploy",
      id: "deploy_create_v1_deploy_post",
      summary: "Deploys a model by its name alone; an older form of POST /deploy/llm",
      body: deployModelIn,
      answer: deployIdOut,
      handle: async ({ caller, body }) =>
        await createNamed(deps, caller, body.model_name, body.version ?? null),
    }),
    operation({
      method: "POST",
      path: "/deploy/hf",
      id: "deploy_create_hf_deploy_hf__post",
      summary: "Deploys a Hugging Face repository by its name alone; an older form of POST /deploy/llm",
      body: hfModelIn,
      answer: deployIdOut,
      handle: async ({ caller, body }) => await createNamed(deps, caller, body.model_name, null),
    }),
  ];
}

/** On "other", which every installation has; what the catalogue knows goes by its entry. */
async function createNamed(
  deps: ApiDeps,
  caller: Caller,
  model: string,
  version: string | null,
): Promise<{ deploy_id: string }> {
  const entry = version === null ? findEntry(deps.catalogue, model) : null;
  const body = deployLlmIn.parse({
    // One model, one deployment: asking twice is 409, as clients of this form expect.
    model_name: suggestName(model, caller.account, new Set()),
    gpu: "other",
    ...(entry === null ? { hf: { repo: model, revision: version } } : { base_model: entry.name }),
  });
  const draft = draftDeployment(body, {
    account: caller.account,
    quotaGpus: deps.limits.quotaGpus,
    catalogue: deps.catalogue,
    containerImages: deps.containerImages,
    refuseArgs: deps.refuseArgs,
  });
  if (!draft.ok) {
    // The client sent neither of the fields that the issue would name.
    throw new InputError(draft.issues.map((issue) => ({ ...issue, loc: ["body", "model_name"] })));
  }
  const { deploy_id } = await createDeployment(deps, caller, draft.value);
  return { deploy_id };
}
