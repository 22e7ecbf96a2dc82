/**
 * The Responses face: POST /v1/responses. A request becomes a chat completion that the OpenAI face reads and checks like
 * any other, the answer becomes a response of output items. Nothing is stored, so a response can never be asked for again.
 */

import { HttpError } from "../../schema/errors.ts";
import { responsesIn } from "../../schema/responses.ts";
import type { Asked, Face, FaceInput } from "./face.ts";
import { openAiFace } from "./openai.ts";
import { readFields } from "./read-fields.ts";
import { ResponsesWords } from "./responses-answer.ts";
import { responsesToChat } from "./responses-request.ts";
import { TranslatedReply } from "./translated-reply.ts";

export const responsesFace: Face = { name: "responses", read: readRequest, errorBody: openAiFace.errorBody };

function readRequest(input: FaceInput): Asked {
  const asked = readFields(responsesIn, input.body);
  const body = Buffer.from(JSON.stringify(responsesToChat(asked)));
  const chat = openAiFace.read({ ...input, path: "/v1/chat/completions", body });
  return {
    ...chat,
    reply(response, { selector, requestId, startedAtMs }) {
      const words = new ResponsesWords({ asked, model: selector, requestId, startedAtMs });
      return new TranslatedReply(response, words, chat.isStream);
    },
  };
}

/** What every question for a stored response is answered. */
export function noStoredResponse(): HttpError {
  return new HttpError("not_found", "There is no such response: responses are not stored here.");
}
