/**
 * The Anthropic face: /anthropic/v1/messages and its count_tokens. A request becomes a chat completion that the OpenAI
 * face reads and checks like any other, the answer becomes Anthropic's message. Owns which path is which, and that
 * errors name what Anthropic's clients know.
 */
import type { RouteModel } from "../../core/routing.ts";
import { anthropicCountIn, anthropicMessagesIn } from "../../schema/anthropic.ts";
import { HttpError } from "../../schema/errors.ts";
import { AnthropicWords, anthropicError } from "./anthropic-answer.ts";
import { toChat, toCounted, wantsThinking } from "./anthropic-request.ts";
import type { Asked, Face, FaceInput } from "./face.ts";
import { openAiFace } from "./openai.ts";
import { readFields } from "./read-fields.ts";
import { askToTokenize } from "./tokenize.ts";
import { TranslatedReply, type Words } from "./translated-reply.ts";

export const anthropicFace: Face = {
  name: "anthropic",
  read(input) {
    try {
      return input.path.endsWith("/count_tokens") ? readCount(input) : readMessages(input);
    } catch (error) {
      throw asAnthropic(error);
    }
  },
  errorBody: anthropicError,
};

function readMessages(input: FaceInput): Asked {
  const asked = readFields(anthropicMessagesIn, input.body);
  const body = Buffer.from(JSON.stringify(toChat(asked)));
  const chat = openAiFace.read({ ...input, path: "/v1/chat/completions", body });
  return {
    ...chat,
    bodyFor(model, selector) {
      if (wantsThinking(asked)) refuseThinking(model);
      return chat.bodyFor(model, selector);
    },
    reply(response, { selector, requestId }) {
      response.setHeader("request-id", requestId);
      const words = new AnthropicWords({ model: selector, requestId });
      return new TranslatedReply(response, words, chat.isStream);
    },
  };
}

function refuseThinking({ abilities }: RouteModel): void {
  if (abilities.reasoning) return;
  throw new HttpError(
    "unsupported_parameter",
    `The engine of this model (${abilities.engine}) cannot think apart from the answer: thinking.`,
    { param: "thinking" },
  );
}

function readCount(input: FaceInput): Asked {
  const asked = readFields(anthropicCountIn, input.body);
  const words: Pick<Words, "whole" | "errorBody"> = {
    whole: (json) => ({ input_tokens: (json as { count: number }).count }),
    errorBody: anthropicError,
  };
  return askToTokenize("/tokenize", asked.model, { ...toCounted(asked), add_generation_prompt: true }, words);
}

/** Anthropic has no 422: an input that is wrong is a 400. */
function asAnthropic(error: unknown): unknown {
  if (!(error instanceof HttpError) || error.code !== "invalid_input") return error;
  const { message, param, issues } = error;
  return new HttpError("bad_request", message, { issues, ...(param === null ? {} : { param }) });
}
