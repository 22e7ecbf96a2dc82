/**
 * Inference as the OpenAPI document shows it: the operations that the gateway answers, with the shapes of their bodies and
 * answers. For people and client generators: what is checked, and in which words, is each face's own (gateway/faces), and a
 * test keeps the parameters here equal to those. Must not be used to parse requests.
 */
import { z } from "zod";

const role = z.enum(["system", "developer", "user", "assistant", "tool"]);
const message = z.looseObject({
  role,
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]).nullish(),
});
const tool = z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) });
const responseFormat = z.union([
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  z.object({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({ name: z.string(), schema: z.looseObject({}) }),
  }),
  z.object({ type: z.literal("regex"), regex: z.string() }),
]);
const serviceTier = z.enum(["default", "priority", "flex", "auto", "standard_only"]);

/** What chat and completions share. */
const sampling = {
  stream: z.boolean().default(false),
  stream_options: z
    .object({ include_usage: z.boolean().default(true), continuous_usage_stats: z.boolean().default(false) })
    .nullish(),
  temperature: z.number().min(0).max(2).default(1),
  top_p: z.number().gt(0).max(1).default(1),
  min_p: z.number().min(0).max(1).default(0),
  top_k: z.int().min(0).max(999).default(0).describe("0 means off"),
  n: z.int().min(1).max(4).default(1),
  presence_penalty: z.number().min(-2).max(2).default(0),
  frequency_penalty: z.number().min(-2).max(2).default(0),
  repetition_penalty: z.number().min(0.01).max(5).default(1),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  seed: z.number().nullish(),
  response_format: responseFormat.nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
  user: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  service_tier: serviceTier.nullish(),
  models: z
    .array(z.string())
    .min(1)
    .max(4)
    .nullish()
    .describe("models to try in this order when the one before cannot serve"),
  fail_fast: z.boolean().nullish().describe("true: 429 at once rather than wait for a slot"),
  stop_token_ids: z.array(z.int()).nullish(),
  ignore_eos: z.boolean().nullish(),
};

const modelName = z.string().describe("`account/name`, `name`, or `deploy_id:<id>`");

export const chatCompletionsIn = z.object({
  model: modelName,
  messages: z.array(message).min(1),
  max_tokens: z.int().min(0).max(10_000_000).nullish(),
  ...sampling,
  tools: z.array(tool).nullish(),
  tool_choice: z.union([z.enum(["none", "auto", "required"]), z.looseObject({})]).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
  reasoning: z.looseObject({}).nullish(),
  chat_template_kwargs: z.looseObject({}).nullish(),
  continue_final_message: z.boolean().nullish(),
});

export const completionsIn = z.object({
  model: modelName,
  prompt: z.union([z.string(), z.array(z.int()), z.array(z.string())]),
  max_tokens: z.int().min(1).max(10_000_000).nullish(),
  ...sampling,
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
});

export const embeddingsIn = z.object({
  model: modelName,
  input: z.union([z.string(), z.array(z.string()).max(1024)]),
  encoding_format: z.enum(["float", "base64"]).default("float"),
  dimensions: z.int().min(32).nullish(),
  service_tier: serviceTier.nullish(),
});

export const usageShape = z.looseObject({
  prompt_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens: z.int().optional(),
  prompt_tokens_details: z.looseObject({ cached_tokens: z.int() }).nullish(),
  estimated_cost: z.number().optional().describe("US dollars"),
});

export const chatCompletionOut = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.looseObject({
      index: z.int(),
      message: z.looseObject({ role: z.literal("assistant"), content: z.string().nullable() }),
      finish_reason: z.string().nullable(),
    }),
  ),
  usage: usageShape,
});

export const completionOut = z.looseObject({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.looseObject({ index: z.int(), text: z.string(), finish_reason: z.string().nullable() })),
  usage: usageShape,
});

export const embeddingsOut = z.looseObject({
  object: z.literal("list"),
  model: z.string(),
  data: z.array(
    z.looseObject({
      object: z.literal("embedding"),
      index: z.int(),
      embedding: z.union([z.array(z.number()), z.string()]),
    }),
  ),
  usage: usageShape,
});

export const openAiModelOut = z.looseObject({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  root: z.string(),
  parent: z.null(),
  metadata: z.looseObject({}).nullish(),
});
export const openAiModelsOut = z.object({ object: z.literal("list"), data: z.array(openAiModelOut) });

export const anthropicMessagesIn = z.object({
  model: modelName,
  messages: z.array(z.looseObject({ role: z.enum(["user", "assistant"]) })),
  max_tokens: z.int().nullish(),
  system: z
    .union([z.string(), z.array(z.looseObject({ type: z.literal("text"), text: z.string() }))])
    .nullish(),
  stop_sequences: z.array(z.string()).nullish(),
  stream: z.boolean().nullish(),
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
  top_k: z.int().nullish(),
  metadata: z.looseObject({}).nullish(),
  tools: z.array(z.looseObject({ name: z.string() })).nullish(),
  tool_choice: z.looseObject({}).nullish(),
  thinking: z.looseObject({}).nullish(),
});
export const anthropicMessageOut = z.looseObject({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: z.string(),
  content: z.array(z.looseObject({ type: z.string() })),
  stop_reason: z.string().nullable(),
  usage: z.looseObject({ input_tokens: z.int(), output_tokens: z.int() }),
});
export const anthropicTokenCountIn = anthropicMessagesIn.pick({
  model: true,
  messages: true,
  system: true,
  tools: true,
});
export const anthropicTokenCountOut = z.looseObject({ input_tokens: z.int() });

export const nativeIn = z
  .looseObject({
    input: z.string().optional().describe("text: a prompt in the model's own template"),
    inputs: z.array(z.string()).optional().describe("embeddings"),
    stream: z.boolean().default(false),
    max_new_tokens: z.int().min(1).nullish(),
    temperature: z.number().min(0).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    top_k: z.int().min(0).nullish(),
    repetition_penalty: z.number().nullish(),
    stop: z.array(z.string()).nullish(),
    num_responses: z.int().min(1).nullish(),
    response_format: responseFormat.nullish(),
    presence_penalty: z.number().nullish(),
    frequency_penalty: z.number().nullish(),
    webhook: z.string().nullish(),
  })
  .describe("JSON, or the same fields as multipart/form-data");
export const nativeOut = z.looseObject({
  request_id: z.string().nullish(),
  inference_status: z.looseObject({ status: z.string() }).nullish(),
  results: z.array(z.looseObject({ generated_text: z.string() })).optional(),
  embeddings: z.array(z.array(z.number())).optional(),
});
export const nativeModelPath = z.object({ model_name: z.string() });
export const nativeDeployPath = z.object({ deploy_id: z.string() });
export const nativeQuery = z.object({ version: z.string().optional() });

export const responsesIn = z.looseObject({
  model: modelName,
  input: z.union([z.string(), z.array(z.looseObject({}))]),
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  max_output_tokens: z.int().nullish(),
  temperature: z.number().nullish(),
  tools: z.array(z.looseObject({})).nullish(),
});
export const responsesOut = z.looseObject({ id: z.string(), object: z.literal("response") });

export const tokenizeIn = z.looseObject({
  model: modelName,
  prompt: z.string().optional(),
  messages: z.array(message).optional(),
  return_token_strs: z.boolean().nullish(),
});
export const tokenizeOut = z.looseObject({
  count: z.int(),
  max_model_len: z.int(),
  tokens: z.array(z.int()),
  token_strs: z.array(z.string()).nullish(),
});
export const detokenizeIn = z.looseObject({ model: modelName, tokens: z.array(z.int()) });
export const detokenizeOut = z.looseObject({ prompt: z.string() });
