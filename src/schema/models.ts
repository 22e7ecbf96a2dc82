/** The wire shapes of the model lists and pages, with DeepInfra's field names. A model is a deployment, or a catalogue entry. */
import { z } from "zod";

/** `cents_per_sec` is what an instance costs by time, beside what its tokens cost; the two are never added up. */
const pricing = z.object({
  type: z.literal("tokens"),
  cents_per_input_token: z.number(),
  cents_per_output_token: z.number(),
  /** What a cached input token costs in parts of a fresh one. */
  rate_per_input_token_cached: z.number().nullable(),
  short: z.string(),
  full: z.string(),
});

export const modelOut = z.object({
  model_name: z.string(),
  type: z.string(),
  reported_type: z.string(),
  description: z.string(),
  cover_img_url: z.string(),
  tags: z.array(z.string()),
  pricing,
  max_tokens: z.int().nullable(),
  replaced_by: z.null(),
  deprecated: z.null(),
  quantization: z.string().nullable(),
  mmlu: z.null(),
  expected: z.null(),
  private: z.int(),
  is_partner: z.literal(false),
  create_ts: z.int().nullable(),
});
export type ModelOut = z.output<typeof modelOut>;
export const modelListOut = z.array(modelOut);

/** What an owner says of a model. */
export const modelMetaIn = z.strictObject({
  description: z.string().max(4096).nullish(),
  github_url: z.string().max(1024).nullish(),
  paper_url: z.string().max(1024).nullish(),
  license_url: z.string().max(1024).nullish(),
  readme: z.string().max(65_536).nullish(),
  cover_img_url: z.string().max(65_536).nullish(),
  reported_type: z
    .enum([
      "automatic-speech-recognition",
      "image-classification",
      "question-answering",
      "token-classification",
      "text-to-image",
      "fill-mask",
      "zero-shot-image-classification",
      "text2text-generation",
      "text-generation",
      "text-classification",
      "object-detection",
      "embeddings",
      "dreambooth",
      "custom",
      "text-to-speech",
      "text-to-video",
      "rent-container",
      "reranker",
    ])
    .nullish(),
});
export type ModelMetaIn = z.output<typeof modelMetaIn>;

export const modelPublicityIn = z.object({ public: z.boolean() });

export const modelInfoOut = z.object({
  model_name: z.string(),
  type: z.string(),
  tags: z.array(z.string()),
  reported_type: z.string(),
  version: z.string(),
  description: z.string(),
  featured: z.boolean(),
  owner: z.boolean(),
  public: z.boolean(),
  curl_inv: z.string(),
  cmdline_inv: z.string(),
  txt_docs: z.string(),
  out_example: z.string(),
  out_docs: z.string(),
  mask_token: z.null(),
  pricing,
  schemas: z.array(z.never()),
  meta: z.record(z.string(), z.string()),
  max_tokens: z.int().nullable(),
  max_output_tokens: z.int().nullable(),
  quantization: z.string().nullable(),
  is_partner: z.literal(false),
  is_custom_deployable: z.boolean(),
});
export type ModelInfoOut = z.output<typeof modelInfoOut>;

export const modelVersionsOut = z.array(
  z.object({ model_name: z.string(), version: z.string(), uploaded_at: z.string() }),
);

export const modelPath = z.object({ model_name: z.string() });
export const modelPathByOwner = z.object({ owner: z.string(), name: z.string() });
export const modelVersionQuery = z.object({ version: z.string().nullish() });
export const modelDeleteQuery = z.object({ version: z.string() });

/** Answer of what has nothing to say. */
export const doneOut = z.object({});
