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
      "GET",
      `${base}/models`,
      idOf("models", "get"),
      "Models that the token may call; without one, those for everyone.",
      { answer: shapes.openAiModelsOut },
      "public",
    ),
  ];
});

export const inferenceOperations: readonly DocumentedOperation[] = openAi;
