/**
 * The operations that the gateway answers itself, in the form of the API's own (api/operation.ts), so that one document
 * shows both. Owns their ids, which are DeepInfra's. Must not say how they are served.
 */
import type { z } from "zod";
import * as shapes from "./inference.ts";
import type { DocumentedOperation } from "./openapi.ts";

type Given = {
  readonly body?: z.ZodType;
  readonly query?: z.ZodType;
  readonly params?: z.ZodType;
  readonly answer: z.ZodType;
};

function gatewayOperation(
  method: DocumentedOperation["method"],
  path: string,
  id: string,
  summary: string,
  { body, query, params, answer }: Given,
  access: DocumentedOperation["access"] = "token",
): DocumentedOperation {
  const schemas = { body: body ?? null, query: query ?? null, params: params ?? null, answer };
  return { method, path, id, summary, access, status: 200, schemas };
}

/** Under `/v1` and, the same, under `/v1/openai`. */
const openAi = (["/v1", "/v1/openai"] as const).flatMap((base) => {
  const idOf = (name: string, method: string) =>
    `openai_${name}${base.replaceAll("/", "_")}_${name}_${method}`;
  return [
    gatewayOperation(
      "POST",
      `${base}/chat/completions`,
      idOf("chat_completions", "post"),
      "Chat, streamed or not.",
      {
        body: shapes.chatCompletionsIn,
        answer: shapes.chatCompletionOut,
      },
    ),
    gatewayOperation(
      "POST",
      `${base}/completions`,
      idOf("completions", "post"),
      "Text that goes on from a prompt.",
      {
        body: shapes.completionsIn,
        answer: shapes.completionOut,
      },
    ),
    gatewayOperation("POST", `${base}/embeddings`, idOf("embeddings", "post"), "Vectors of texts.", {
      body: shapes.embeddingsIn,
      answer: shapes.embeddingsOut,
    }),
    gatewayOperation(
      "POST",
      `${base}/responses`,
      `berth_responses${base.replaceAll("/", "_")}`,
      "OpenAI's responses; nothing is stored.",
      {
        body: shapes.responsesIn,
        answer: shapes.responsesOut,
      },
    ),
    gatewayOperation(
      "POST",
      `${base}/tokenize`,
      `berth_tokenize${base.replaceAll("/", "_")}`,
      "The tokens of a prompt or of messages.",
      {
        body: shapes.tokenizeIn,
        answer: shapes.tokenizeOut,
      },
    ),
    gatewayOperation(
      "POST",
      `${base}/detokenize`,
      `berth_detokenize${base.replaceAll("/", "_")}`,
      "The text of tokens.",
      {
        body: shapes.detokenizeIn,
        answer: shapes.detokenizeOut,
      },
    ),
    gatewayOperation(
      "GET",
      `${base}/models`,
      idOf("models", "get"),
      "Models that the token may call; without one, those for everyone.",
      { answer: shapes.openAiModelsOut },
      "public",
    ),
  ];
});

const anthropic = [
  gatewayOperation(
    "POST",
    "/anthropic/v1/messages",
    "anthropic_messages_anthropic_v1_messages_post",
    "Anthropic's messages, streamed or not.",
    { body: shapes.anthropicMessagesIn, answer: shapes.anthropicMessageOut },
  ),
  gatewayOperation(
    "POST",
    "/anthropic/v1/messages/count_tokens",
    "anthropic_messages_count_tokens_anthropic_v1_messages_count_tokens_post",
    "How many tokens messages have.",
    { body: shapes.anthropicTokenCountIn, answer: shapes.anthropicTokenCountOut },
  ),
];

const native = [
  gatewayOperation(
    "POST",
    "/v1/inference/deploy/:deploy_id",
    "inference_deploy_v1_inference_deploy__deploy_id__post",
    "DeepInfra's own form of inference, by deployment.",
    { params: shapes.nativeDeployPath, body: shapes.nativeIn, answer: shapes.nativeOut },
  ),
  gatewayOperation(
    "POST",
    "/v1/inference/:model_name",
    "inference_model_v1_inference__model_name__post",
    "The same by model.",
    {
      params: shapes.nativeModelPath,
      query: shapes.nativeQuery,
      body: shapes.nativeIn,
      answer: shapes.nativeOut,
    },
  ),
];

export const inferenceOperations: readonly DocumentedOperation[] = [...openAi, ...anthropic, ...native];
