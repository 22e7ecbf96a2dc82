/**
 * An engine's answer in OpenAI's form, read for the faces that say it in other words: chat and text completions, whole
 * and in stream chunks, and an engine's own errors. One view of them all, so that each face only chooses words. Pure.
 * What an engine leaves out has a neutral value; what makes no sense is an HttpError.
 */
import { z } from "zod";
import type { TokenUsage } from "../../core/usage.ts";
import { HttpError, type HttpErrorCode, httpErrors } from "../../schema/errors.ts";

/** A tool call or, in a stream, a piece of one: the first piece has the id and the name. */
export type CallPiece = {
  readonly index: number;
  readonly id: string | null;
  readonly name: string | null;
  /** JSON text, or a piece of it. */
  readonly argumentsText: string;
};

/** A token with its log probability, as text completions have it. */
export type TokenLogprob = { readonly text: string; readonly logprob: number | null };

export type EngineChoice = {
  readonly index: number;
  readonly text: string;
  /** Reasoning apart from the answer. */
  readonly reasoning: string;
  readonly refusal: string;
  readonly calls: readonly CallPiece[];
  readonly tokens: readonly TokenLogprob[];
  /** Entries of a chat's logprobs as the engine wrote them. */
  readonly logprobs: readonly unknown[];
  /** Null while the answer goes on. */
  readonly finish: string | null;
  /** The stop sequence that ended the answer, where the engine says so. */
  readonly stopText: string | null;
};

export type EngineAnswer = {
  readonly choices: readonly EngineChoice[];
  readonly usage: TokenUsage | null;
  /** Of the output, tokens of reasoning. */
  readonly reasoningTokens: number;
};

const count = z.number().int().nonnegative().catch(0);
const text = z.string().nullish();

const usageOut = z.looseObject({
  prompt_tokens: count,
  completion_tokens: count,
  prompt_tokens_details: z.looseObject({ cached_tokens: count }).nullish().catch(null),
  completion_tokens_details: z.looseObject({ reasoning_tokens: count }).nullish().catch(null),
});

const message = z.looseObject({
  content: text,
  reasoning_content: text,
  reasoning: text,
  refusal: text,
  tool_calls: z
    .array(
      z.looseObject({
        index: z.number().int().nonnegative().optional(),
        id: text,
        function: z.looseObject({ name: text, arguments: text }).nullish(),
      }),
    )
    .nullish(),
});

const logprobs = z.looseObject({
  content: z.array(z.unknown()).nullish(),
  tokens: z.array(z.string()).nullish(),
  token_logprobs: z.array(z.number().nullable()).nullish(),
});

const answer = z.looseObject({
  choices: z.array(
    z.looseObject({
      index: z.number().int().nonnegative().catch(0),
      delta: message.nullish(),
      message: message.nullish(),
      text,
      logprobs: logprobs.nullish().catch(null),
      finish_reason: text,
      stop_reason: z.unknown().optional(),
    }),
  ),
  usage: usageOut.nullish().catch(null),
});

/** @param json a completion or a chunk of one. Throws HttpError when it is neither. */
export function readAnswer(json: unknown): EngineAnswer {
  const outcome = answer.safeParse(json);
  if (!outcome.success) throw unreadable();
  const { choices, usage } = outcome.data;
  return {
    choices: choices.map(readChoice),
    usage: readUsage({ usage }),
    reasoningTokens: usage?.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}

function readChoice(choice: z.output<typeof answer>["choices"][number]): EngineChoice {
  const said = choice.delta ?? choice.message ?? null;
  const tokenLogprobs = choice.logprobs?.token_logprobs ?? [];
  return {
    index: choice.index,
    text: choice.text ?? said?.content ?? "",
    reasoning: said?.reasoning_content ?? said?.reasoning ?? "",
    refusal: said?.refusal ?? "",
    calls: (said?.tool_calls ?? []).map((call, at) => ({
      index: call.index ?? at,
      id: call.id ?? null,
      name: call.function?.name ?? null,
      argumentsText: call.function?.arguments ?? "",
    })),
    tokens: (choice.logprobs?.tokens ?? []).map((token, at) => ({
      text: token,
      logprob: tokenLogprobs[at] ?? null,
    })),
    logprobs: choice.logprobs?.content ?? [],
    finish: choice.finish_reason ?? null,
    stopText: typeof choice.stop_reason === "string" ? choice.stop_reason : null,
  };
}

/** The tokens that any answer of an engine says it used; null when it says nothing. */
export function readUsage(json: unknown): TokenUsage | null {
  const outcome = z.looseObject({ usage: usageOut }).safeParse(json);
  if (!outcome.success) return null;
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = outcome.data.usage;
  return {
    inputTokens: prompt_tokens,
    outputTokens: completion_tokens,
    cachedTokens: prompt_tokens_details?.cached_tokens ?? 0,
  };
}

const errorOut = z.looseObject({
  error: z.union([
    z.looseObject({ message: z.string(), code: z.unknown().optional(), param: text.catch(null) }),
    z.string().transform((said) => ({ message: said, code: null, param: null })),
  ]),
});

/** vLLM before 0.10 has its errors without the envelope. */
const bareError = z.looseObject({ object: z.literal("error"), message: z.string(), param: text.catch(null) });

/**
 * The engine's error as one of Berth's own, so that each face can put it into its envelope; null when this is none.
 * @param status of the engine's answer; in a stream 500 stands for an error without one
 */
export function readEngineError(json: unknown, status: number): HttpError | null {
  const outcome = errorOut.safeParse(json);
  const bare = outcome.success ? null : bareError.safeParse(json);
  if (!outcome.success && bare?.success !== true) return null;
  const said = outcome.success ? outcome.data.error : { ...bare?.data, code: null };
  const { message: sentence = "", code, param } = said;
  const known = typeof code === "string" && Object.hasOwn(httpErrors, code) ? (code as HttpErrorCode) : null;
  return new HttpError(known ?? codeOf(status), sentence, param ? { param } : {});
}

function codeOf(status: number): HttpErrorCode {
  const codes: Readonly<Record<number, HttpErrorCode>> = {
    404: "not_found",
    413: "body_too_large",
    422: "invalid_input",
    429: "queue_full",
    503: "model_not_ready",
    504: "timeout",
  };
  return codes[status] ?? (status >= 400 && status < 500 ? "bad_request" : "engine_failed");
}

export function unreadable(): HttpError {
  return new HttpError(
    "engine_failed",
    "The engine answered something that cannot be understood. Try again.",
  );
}
