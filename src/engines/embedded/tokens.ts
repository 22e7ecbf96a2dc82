/**
 * `/tokenize` and `/detokenize` in vLLM's shapes: what a prompt or a conversation is in tokens, and back. Nothing is
 * generated, so no slot is taken.
 */
import { buildPrompt } from "./chat.ts";
import { readConstraint } from "./constraints.ts";
import { invalid } from "./errors.ts";
import { type Body, isToken, readFlag } from "./parameters.ts";
import { checkTextLength, readModelName, type Service, withBos } from "./service.ts";

/** Who counts may want to know by how much a prompt is too long; but a text of any length would hold up everyone else. */
const mostContexts = 8;
const mostTokens = 1_000_000;

export async function answerTokenize(service: Service, body: Body): Promise<unknown> {
  readModelName(service, body);
  const tokens = readTokens(service, body);
  const { vocabulary } = service.model;
  const wantsTexts = readFlag(body, "return_token_strs") ?? false;
  return {
    count: tokens.length,
    max_model_len: service.capacity.contextTokens,
    tokens,
    token_strs: wantsTexts ? tokens.map((token) => textOf(vocabulary.bytesOf(token))) : null,
  };
}

export async function answerDetokenize(service: Service, body: Body): Promise<unknown> {
  readModelName(service, body);
  const { vocabulary } = service.model;
  const { tokens } = body;
  if (!Array.isArray(tokens) || tokens.length > mostTokens) {
    throw invalid("tokens", `must be a list of at most ${mostTokens} token ids.`);
  }
  if (!tokens.every((token) => isToken(token, vocabulary.size))) {
    throw invalid("tokens", `must be whole numbers below ${vocabulary.size}.`);
  }
  return { prompt: textOf(Buffer.concat((tokens as number[]).map((token) => vocabulary.bytesOf(token)))) };
}

function readTokens(service: Service, body: Body): readonly number[] {
  const { model, capacity } = service;
  const limit = capacity.contextTokens * mostContexts;
  if (body.messages !== undefined && body.messages !== null) {
    return buildPrompt(service, body, readConstraint(body).tools, limit);
  }
  const { prompt } = body;
  if (typeof prompt !== "string") throw invalid("prompt", "must be a text; or send messages.");
  checkTextLength(model, prompt, limit, "prompt");
  const tokens = model.tokenize(prompt, false);
  return (readFlag(body, "add_special_tokens") ?? true) ? withBos(model, tokens) : tokens;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
