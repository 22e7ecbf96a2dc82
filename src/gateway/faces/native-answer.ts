/**
 * An engine's answer in the words of DeepInfra's native API: results with an account of what they took, or a stream of
 * tokens. Owns these words and the state of one stream; must not do I/O.
 */
import { z } from "zod";
import { costNanoUsd, type TokenPrices, type TokenUsage } from "../../core/usage.ts";
import type { HttpError } from "../../schema/errors.ts";
import { type EngineChoice, readAnswer, unreadable } from "./engine-answer.ts";
import type { NativeTask } from "./native-request.ts";
import { sseData } from "./sse-writer.ts";
import type { Words } from "./translated-reply.ts";

export type NativeHead = {
  readonly requestId: string;
  readonly prices: TokenPrices;
  readonly startedAtMs: number;
  now(): number;
};

const nanoUsd = 1_000_000_000;

/** `{"detail": …}`: a list where fields are at fault, else the sentence. */
export function nativeError(error: HttpError): unknown {
  return { detail: error.issues.length > 0 ? error.issues : { error: error.message } };
}

/** The answer to a request whose result is posted later. */
export function queuedAnswer(requestId: string): unknown {
  const unknownYet = { runtime_ms: 0, cost: 0, tokens_generated: null, tokens_input: null };
  return { request_id: requestId, inference_status: { status: "queued", ...unknownYet } };
}

/** What a webhook hears of a request that has failed. */
export function failedAnswer(head: NativeHead, error: HttpError): unknown {
  return { ...statusOf(head, "failed", null, 0), error: error.message };
}

function statusOf(head: NativeHead, status: string, usage: TokenUsage | null, cost: number): object {
  const { requestId, startedAtMs } = head;
  return {
    request_id: requestId,
    inference_status: {
      status,
      runtime_ms: Math.max(0, Math.round(head.now() - startedAtMs)),
      cost,
      tokens_generated: usage?.outputTokens ?? null,
      tokens_input: usage?.inputTokens ?? null,
    },
  };
}

const embeddingsOut = z.looseObject({
  data: z.array(z.looseObject({ index: z.number().int().nonnegative(), embedding: z.array(z.number()) })),
});

export function wholeEmbeddings(head: NativeHead, json: unknown, usage: TokenUsage): unknown {
  const outcome = embeddingsOut.safeParse(json);
  if (!outcome.success) throw unreadable();
  const embeddings = outcome.data.data
    .toSorted((a, b) => a.index - b.index)
    .map(({ embedding }) => embedding);
  const cost = costNanoUsd(usage, head.prices) / nanoUsd;
  return { embeddings, input_tokens: usage.inputTokens, ...statusOf(head, "succeeded", null, cost) };
}

export function wholeText(head: NativeHead, json: unknown, usage: TokenUsage): unknown {
  const { choices } = readAnswer(json);
  if (choices.length === 0) throw unreadable();
  const results = choices.toSorted((a, b) => a.index - b.index).map(({ text }) => ({ generated_text: text }));
  const cost = costNanoUsd(usage, head.prices) / nanoUsd;
  return {
    results,
    num_tokens: usage.outputTokens,
    num_input_tokens: usage.inputTokens,
    ...statusOf(head, "succeeded", usage, cost),
  };
}

export class NativeWords implements Words {
  readonly waiting = ": waiting\n\n";
  readonly errorBody = nativeError;
  readonly #head: NativeHead;
  readonly #task: NativeTask;
  #text = "";
  #finish: string | null = null;

  constructor(head: NativeHead, task: NativeTask) {
    this.#head = head;
    this.#task = task;
  }

  whole(json: unknown, usage: TokenUsage): unknown {
    return this.#task === "text"
      ? wholeText(this.#head, json, usage)
      : wholeEmbeddings(this.#head, json, usage);
  }

  piece(json: unknown): string {
    const [choice] = readAnswer(json).choices;
    if (choice === undefined) return "";
    this.#text += choice.text;
    this.#finish = choice.finish ?? this.#finish;
    return tokensOf(choice).map(tokenFrame).join("");
  }

  last(usage: TokenUsage): string {
    if (this.#finish === null) throw unreadable();
    const details = { finish_reason: this.#finish, generated_tokens: usage.outputTokens, seed: null };
    return sseData({
      token: { id: null, text: "", logprob: null, special: true },
      generated_text: this.#text,
      details,
      num_output_tokens: usage.outputTokens,
      num_input_tokens: usage.inputTokens,
      estimated_cost: costNanoUsd(usage, this.#head.prices) / nanoUsd,
    });
  }

  failed(error: HttpError): string {
    const isFault = error.status === 400 || error.status === 422;
    return sseData({ error_type: isFault ? "validation_error" : error.code, error_message: error.message });
  }
}

type Token = { readonly text: string; readonly logprob: number | null };

/** The chunk's tokens one by one where the engine names them and they are the text; else the text as one. */
function tokensOf({ text, tokens }: EngineChoice): readonly Token[] {
  if (tokens.length > 0 && tokens.map((token) => token.text).join("") === text) return tokens;
  if (text === "") return [];
  return [{ text, logprob: tokens.length === 1 ? (tokens[0]?.logprob ?? null) : null }];
}

/** Engines do not tell a token's id in OpenAI's form. */
function tokenFrame({ text, logprob }: Token): string {
  return sseData({ token: { id: null, text, logprob, special: false }, generated_text: null, details: null });
}
