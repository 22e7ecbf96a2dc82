/**
 * Text completions in OpenAI's shape: a prompt that is text or tokens, no chat template. Owns how answers become
 * completion choices and stream chunks.
 */
import { randomUUID } from "node:crypto";
import { type AnswerEnd, generateAnswer, type LogprobEntry } from "./answer.ts";
import { readConstraint } from "./constraints.ts";
import { invalid, unsupported } from "./errors.ts";
import {
  type Body,
  type GenerationOptions,
  isToken,
  readFlag,
  readGenerationOptions,
  readWhole,
  refuseParameters,
} from "./parameters.ts";
import {
  type Caller,
  checkPromptLength,
  checkTextLength,
  type EventSink,
  randomSeed,
  readContinuation,
  readModelName,
  requireBatcher,
  type Service,
  type Usage,
  usageOf,
  withBos,
} from "./service.ts";

/** Tokens a completion has at most when the request does not say, as with OpenAI. */
const defaultMaxTokens = 16;

export async function answerCompletion(
  service: Service,
  body: Body,
  caller: Caller,
  openStream: () => EventSink,
): Promise<unknown> {
  refuseParameters(body);
  const model = readModelName(service, body);
  const batcher = requireBatcher(service);
  const options = readGenerationOptions(
    body,
    service.model.vocabulary.size,
    randomSeed,
    service.model.samplingDefaults,
  );
  if (body.tools !== undefined && body.tools !== null)
    throw unsupported("tools", "are for chat completions.");
  const { grammar } = readConstraint(body);
  const topLogprobs = readWhole(body, "logprobs", 0, 20);
  const prompt = readPrompt(service, body);
  const begun = readContinuation(service, body, options);
  checkPromptLength([...prompt.tokens, ...begun], batcher.contextTokens, "prompt");
  const isEchoed = readFlag(body, "echo") ?? false;
  if (isEchoed && topLogprobs !== null) throw unsupported("echo", "cannot be combined with logprobs.");
  const output = new CompletionOutput(
    { id: `cmpl-${randomUUID().replaceAll("-", "")}`, created: Math.floor(Date.now() / 1000), model },
    options,
    topLogprobs !== null,
    options.isStream ? openStream : null,
  );
  let [completionTokens, cachedTokens] = [0, 0];
  for (let choice = 0; choice < options.choices; choice++) {
    if (isEchoed && begun.length === 0) await output.piece(choice, prompt.text, []);
    const end = await generateAnswer(batcher, service.model, {
      prompt: prompt.tokens,
      begun,
      scope: caller.scope,
      signal: caller.signal,
      sampling: options.samplerSettings(choice, prompt.tokens, batcher.contextTokens),
      grammar,
      grammarParam: "response_format",
      topLogprobs,
      maxTokens: options.maxTokens ?? defaultMaxTokens,
      stops: options.stops,
      stopTokens: options.stopTokens,
      ignoreEnd: options.ignoreEnd,
      onPiece(text, logprobs) {
        const written = output.piece(choice, text, logprobs);
        return written === undefined ? "more" : written.then(() => "more" as const);
      },
    });
    completionTokens += end.completionTokens;
    if (choice === 0) cachedTokens = end.cachedTokens;
    const usage = usageOf(prompt.tokens.length, completionTokens, cachedTokens);
    await output.finish(choice, end, choice === options.choices - 1, usage);
  }
  return options.isStream ? null : output.response();
}

/** Text (its control tokens count: a raw prompt is the caller's own to write), a list of tokens, or a list of one of these. */
function readPrompt(service: Service, body: Body): { text: string; tokens: readonly number[] } {
  const { model } = service;
  const given = body.prompt;
  const prompt: unknown =
    Array.isArray(given) && given.length === 1 && !isToken(given[0], Infinity) ? given[0] : given;
  if (typeof prompt === "string") {
    checkTextLength(model, prompt, requireBatcher(service).contextTokens, "prompt");
    const tokens = withBos(model, model.tokenize(prompt, false));
    if (tokens.length === 0) throw invalid("prompt", "must not be empty.");
    return { text: prompt, tokens };
  }
  if (
    Array.isArray(prompt) &&
    prompt.length > 0 &&
    prompt.every((id) => isToken(id, model.vocabulary.size))
  ) {
    const tokens = prompt as number[];
    const bytes = Buffer.concat(tokens.map((token) => model.vocabulary.bytesOf(token)));
    return { text: bytes.toString("utf8"), tokens };
  }
  if (Array.isArray(prompt) && prompt.length > 1 && !isToken(prompt[0], Infinity)) {
    throw unsupported("prompt", "can be one prompt at a time with the embedded engine.");
  }
  throw invalid("prompt", `must be a text or a list of token ids below ${model.vocabulary.size}.`);
}

type Choice = { text: string; logprobs: { start: number; entry: LogprobEntry }[]; end: object };

class CompletionOutput {
  readonly #head: object;
  readonly #options: GenerationOptions;
  readonly #hasLogprobs: boolean;
  readonly #open: (() => EventSink) | null;
  #sink: EventSink | null = null;
  readonly #choices: Choice[] = [];
  #usage: Usage | null = null;

  constructor(
    head: object,
    options: GenerationOptions,
    hasLogprobs: boolean,
    open: (() => EventSink) | null,
  ) {
    this.#head = head;
    this.#options = options;
    this.#hasLogprobs = hasLogprobs;
    this.#open = open;
  }

  piece(index: number, text: string, entries: readonly LogprobEntry[]): undefined | Promise<void> {
    const choice = this.#choice(index);
    let start = choice.text.length;
    const logprobs = entries.map((entry) => {
      const placed = { start, entry };
      start += entry.token.length;
      return placed;
    });
    choice.text += text;
    if (this.#open === null) {
      choice.logprobs.push(...logprobs);
      return undefined;
    }
    return this.#write({ index, text, logprobs: this.#describe(logprobs), finish_reason: null }, null);
  }

  finish(
    index: number,
    { finish, stop }: Pick<AnswerEnd, "finish" | "stop">,
    isLast: boolean,
    usage: Usage,
  ): undefined | Promise<void> {
    const end = { finish_reason: finish, stop_reason: stop };
    this.#choice(index).end = end;
    this.#usage = usage;
    if (this.#open === null) return undefined;
    const isCounted = this.#options.usage === "always" || (this.#options.usage === "end" && isLast);
    return this.#write({ index, text: "", logprobs: null, ...end }, isCounted ? usage : null);
  }

  response(): object {
    const choices = this.#choices.map(({ text, logprobs, end }, index) => ({
      index,
      text,
      logprobs: this.#describe(logprobs),
      ...end,
    }));
    return { ...this.#head, object: "text_completion", choices, usage: this.#usage };
  }

  #write(choice: object, usage: Usage | null): undefined | Promise<void> {
    this.#sink ??= this.#open?.() ?? null;
    return this.#sink?.write({
      ...this.#head,
      object: "text_completion",
      choices: [choice],
      ...(usage === null ? {} : { usage }),
    });
  }

  #choice(index: number): Choice {
    const choice = this.#choices[index] ?? { text: "", logprobs: [], end: { finish_reason: null } };
    this.#choices[index] = choice;
    return choice;
  }

  #describe(entries: Choice["logprobs"]): object | null {
    if (!this.#hasLogprobs) return null;
    return {
      tokens: entries.map(({ entry }) => entry.token),
      token_logprobs: entries.map(({ entry }) => entry.logprob),
      top_logprobs: entries.map(({ entry }) =>
        Object.fromEntries(entry.top.map(({ token, logprob }) => [token, logprob])),
      ),
      text_offset: entries.map(({ start }) => start),
    };
  }
}
