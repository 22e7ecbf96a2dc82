/**
 * The OpenAI face: chat completions, completions and embeddings. It is the form that engines speak, so what comes goes on
 * as it came wherever that is safe. Owns what of a request an engine may see.
 */
import { HttpError, openAiError } from "../../schema/errors.ts";
import { isServedName } from "../models.ts";
import { readModelRequest } from "../request-body.ts";
import type { Asked, EnginePath, Face, FaceInput } from "./face.ts";
import { OpenAiReply } from "./openai-reply.ts";

const enginePaths: readonly EnginePath[] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];

export const openAiFace: Face = {
  name: "openai",
  read: readRequest,
  errorBody: openAiError,
};

function readRequest({ path, body }: FaceInput): Asked {
  const enginePath = enginePaths.find((known) => known === path.replace("/v1/openai/", "/v1/"));
  if (enginePath === undefined) throw new HttpError("not_found", "There is nothing at this path.");
  const asked = readModelRequest(body);
  return {
    selectors: [asked.selector],
    enginePath,
    kind: enginePath === "/v1/embeddings" ? "embeddings" : "llm",
    tier: "default",
    failFast: false,
    isStream: asked.fields.stream === true,
    bodyFor(model, selector) {
      const isKnownToEngine = isServedName(model, selector);
      if (isKnownToEngine && asked.isUnambiguous) return body;
      const name = isKnownToEngine ? selector : model.name;
      return Buffer.from(JSON.stringify({ ...asked.fields, model: name }));
    },
    reply: (response) => new OpenAiReply(response),
  };
}
