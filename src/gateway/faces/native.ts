/**
 * The native face: /v1/inference/{model} and /v1/inference/deploy/{id}, JSON or a form. A request becomes a text completion
 * or embeddings that the OpenAI face reads and checks like any other. Owns what the path names, and answers that are
 * posted to a webhook.
 */
import { HttpError } from "../../schema/errors.ts";
import type { Asked, Delivery, Face, FaceInput } from "./face.ts";
import { failedAnswer, NativeWords, nativeError, queuedAnswer } from "./native-answer.ts";
import { type NativeTask, readNative } from "./native-request.ts";
import { openAiFace } from "./openai.ts";
import { unsupportedHere } from "./read-fields.ts";
import { TranslatedReply } from "./translated-reply.ts";

export const nativeFace: Face = { name: "native", read: readRequest, errorBody: nativeError };

const paths = { text: "/v1/completions", embeddings: "/v1/embeddings" } as const;

function readRequest(input: FaceInput): Asked {
  const { path, query, headers, body, requestId } = input;
  const {
    task,
    body: fields,
    webhook,
  } = readNative(selectorOf(path, query), headers["content-type"] ?? "", body);
  const read = (more: object) =>
    openAiFace.read({
      ...input,
      path: paths[task],
      body: Buffer.from(JSON.stringify({ ...fields, ...more })),
    });
  const plain = read({});
  const { isStream } = plain;
  if (isStream && fields.n !== undefined && Number(fields.n) > 1) {
    throw unsupportedHere("num_responses", "must be 1 in a stream.");
  }
  if (isStream && webhook !== null) throw unsupportedHere("webhook", "cannot be combined with stream.");
  // The tokens of a stream have log probabilities where the engine gives them.
  const detailed = isStream ? read({ stream_options: { include_usage: true }, logprobs: 0 }) : plain;
  const usual = isStream ? read({ stream_options: { include_usage: true } }) : plain;
  return {
    ...plain,
    bodyFor: (model, selector) => (model.abilities.logprobs ? detailed : usual).bodyFor(model, selector),
    reply: (response, about) => new TranslatedReply(response, new NativeWords(about, task), isStream),
    ...(webhook === null ? {} : { delivery: deliveryTo(webhook, task, requestId) }),
  };
}

function deliveryTo(url: string, task: NativeTask, requestId: string): Delivery {
  return {
    url,
    queued: queuedAnswer(requestId),
    answer: (about, json, usage) => new NativeWords(about, task).whole(json, usage),
    failure: failedAnswer,
  };
}

/** What the path names, as a selector. `?version=` picks one of a model's versions. */
function selectorOf(path: string, query: URLSearchParams): string {
  const name = decode(path.slice("/v1/inference/".length));
  const id = /^deploy\/([^/]+)$/.exec(name)?.[1];
  if (id !== undefined) return `deploy_id:${id}`;
  const version = query.get("version") ?? "";
  return version === "" ? name : `${name}:${version}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new HttpError(
      "bad_request",
      "The model's name in the path is not percent-encoded as it should be.",
    );
  }
}
