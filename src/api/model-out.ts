/** Deployments and catalogue entries as the model pages show them. Pure. */

import { builtinAccount, type Deployment } from "../core/deployment.ts";
import type { InstanceRecord } from "../core/instance.ts";
import { type CatalogueEntry, weightBytes } from "../core/known-models.ts";
import { quantizationOf } from "../core/repo.ts";
import type { TokenPrices } from "../core/usage.ts";
import type { ModelInfoOut, ModelMetaIn, ModelOut } from "../schema/models.ts";

export type ModelPage = {
  readonly deployment: Deployment;
  /** This deployment's. */
  readonly instances: readonly InstanceRecord[];
  readonly meta: ModelMetaIn;
  readonly prices: TokenPrices;
};

export function toModelOut({ deployment, instances, meta, prices }: ModelPage): ModelOut {
  const task = taskOf(deployment);
  return {
    model_name: deployment.name,
    type: task,
    reported_type: meta.reported_type ?? task,
    description: meta.description ?? "",
    cover_img_url: meta.cover_img_url ?? "",
    tags: tagsOf(task),
    pricing: toPricing(prices),
    max_tokens: contextOf(instances),
    ...{ replaced_by: null, deprecated: null, mmlu: null, expected: null, is_partner: false },
    quantization: quantizationOf(deployment.config.weights.repo),
    private: deployment.isPublic ? 0 : 1,
    create_ts: Math.floor(deployment.createdAtMs / 1000),
  };
}

/** A model that can be deployed: what it costs then is the hardware's matter, not the token's. */
export function entryToModelOut(entry: CatalogueEntry): ModelOut {
  const gigabytes = (weightBytes(entry) / 1e9).toPrecision(3);
  return {
    model_name: entry.name,
    type: entry.task,
    reported_type: entry.task,
    description: `${entry.title}; ${gigabytes} GB, licence ${entry.license}.`,
    cover_img_url: "",
    tags: tagsOf(entry.task),
    pricing: toPricing({ inputUsd: 0, outputUsd: 0, cachedUsd: 0 }),
    max_tokens: entry.contextTokens,
    ...{ replaced_by: null, deprecated: null, mmlu: null, expected: null, is_partner: false },
    quantization: entry.bitsPerParameter === 16 ? null : `${entry.bitsPerParameter} bits`,
    private: 0,
    create_ts: null,
  };
}

export function toModelInfoOut(page: ModelPage, caller: string | null, baseUrl: string): ModelInfoOut {
  const { deployment, instances, meta } = page;
  const task = taskOf(deployment);
  const example = task === "embeddings" ? embeddingsExample : chatExample;
  const call = example(deployment.name);
  const body = JSON.stringify(call.body);
  const context = contextOf(instances);
  return {
    ...toModelOut(page),
    is_partner: false,
    version: deployment.resolved?.commit ?? "",
    featured: deployment.account === builtinAccount,
    owner: deployment.account === caller,
    public: deployment.isPublic,
    curl_inv: `curl ${baseUrl}${call.path} -H "Authorization: Bearer $TOKEN" -d ${quoteForShell(body)}`,
    cmdline_inv: call.command,
    txt_docs: `Call it with any OpenAI client at ${baseUrl}/v1/openai as the model ${deployment.name}, or as deploy_id:${deployment.id}.`,
    out_example: JSON.stringify(call.answer, null, 2),
    out_docs: "The answer has OpenAI's form; usage.estimated_cost is in US dollars.",
    mask_token: null,
    schemas: [],
    meta: Object.fromEntries(
      Object.entries(meta).flatMap(([name, value]) => (value ? [[name, String(value)] as const] : [])),
    ),
    max_output_tokens: context,
    is_custom_deployable: true,
  };
}

type Example = {
  readonly path: string;
  readonly body: unknown;
  readonly command: string;
  readonly answer: unknown;
};

const chatExample = (model: string): Example => ({
  path: "/v1/openai/chat/completions",
  body: { model, messages: [{ role: "user", content: "Hello!" }] },
  command: `berth chat ${model} "Hello!"`,
  answer: {
    id: "chatcmpl-1",
    object: "chat.completion",
    model,
    choices: [
      { index: 0, message: { role: "assistant", content: "Hello! How can I help?" }, finish_reason: "stop" },
    ],
    usage: { prompt_tokens: 9, completion_tokens: 7, total_tokens: 16, estimated_cost: 0 },
  },
});

const embeddingsExample = (model: string): Example => ({
  path: "/v1/openai/embeddings",
  body: { model, input: "Hello!" },
  command: `curl $BERTH_URL/v1/openai/embeddings -H "Authorization: Bearer $TOKEN" -d '{"model":"${model}","input":"Hello!"}'`,
  answer: {
    object: "list",
    model,
    data: [{ object: "embedding", index: 0, embedding: [0.1, -0.2] }],
    usage: { prompt_tokens: 3, total_tokens: 3, estimated_cost: 0 },
  },
});

/** A name has no quote; the texts here have none either, and another one would end the word. */
function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function taskOf({ resolved }: Deployment): string {
  return resolved?.task ?? "text-generation";
}

function tagsOf(task: string): string[] {
  return task === "embeddings" ? ["embeddings"] : ["chat"];
}

/** What the running instances take; null while none runs. */
function contextOf(instances: readonly InstanceRecord[]): number | null {
  const longest = Math.max(0, ...instances.map(({ observed }) => observed?.contextTokens ?? 0));
  return longest === 0 ? null : longest;
}

/** US dollars per million tokens as cents a token. */
function toPricing({ inputUsd, outputUsd, cachedUsd }: TokenPrices): ModelOut["pricing"] {
  const price = `$${inputUsd} in, $${outputUsd} out`;
  return {
    type: "tokens",
    cents_per_input_token: inputUsd / 1e4,
    cents_per_output_token: outputUsd / 1e4,
    rate_per_input_token_cached: inputUsd === 0 ? null : cachedUsd / inputUsd,
    short: price,
    full: `${price} per million tokens`,
  };
}
