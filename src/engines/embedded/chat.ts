/**
 * Chat completions in OpenAI's shape with DeepInfra's defaults. Owns how answers become messages and stream chunks; the
 * answers of a request with `n` are generated one after the other in one slot, which then shares their prompt.
 */
import { randomUUID } from "node:crypto";
import { generateAnswer, type LogprobEntry } from "./answer.ts";
import { type Constraint, readConstraint } from "./constraints.ts";
import { invalid, RequestError } from "./errors.ts";
import { readMessages } from "./messages.ts";
import {
  type Body,
  type GenerationOptions,
  isObject,
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
import { type AnswerPart, type ToolCall, ToolCallReader } from "./toolcalls.ts";

/** Why an answer ended; `stop_reason` is the stop string that was met, as vLLM has it. */
type ChoiceEnd = {
  readonly finish_reason: "stop" | "length" | "tool_calls";
  readonly stop_reason: string | null;
};

/** Takes what answers consist of: as stream chunks or collected into one response. */
type ChatOutput = {
  part(
    choice: number,
    part: AnswerPart,
    logprobs: readonly LogprobEntry[],
    soFar: Usage,
  ): undefined | Promise<void>;
  finish(choice: number, end: ChoiceEnd, isLast: boolean, usage: Usage): undefined | Promise<void>;
};

/** Answers a chat request; `openStream` is called with the first event, so that refusals are still plain errors. */
export async function answerChat(
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
  const constraint = readConstraint(body);
  if (constraint.grammar !== null && options.ignoreEnd) {
    throw invalid("ignore_eos", "cannot be combined with a format that ends the answer.");
  }
  const topLogprobs = readTopLogprobs(body);
  const prompt = buildPrompt(service, body, constraint.tools, batcher.contextTokens);
  const begun = readContinuation(service, body, options);
  checkPromptLength([...prompt, ...begun], batcher.contextTokens, "messages");
  const head = {
    id: `chatcmpl-${randomUUID().replaceAll("-", "")}`,
    created: Math.floor(Date.now() / 1000),
    model,
  };
  const stream = options.isStream
    ? new ChatStream(head, options.usage, topLogprobs !== null, openStream)
    : null;
  const collected = stream === null ? new ChatResponse(head, topLogprobs !== null) : null;
  const output: ChatOutput = stream ?? (collected as ChatOutput);
  await generateChoices(service, { prompt, begun, options, constraint, topLogprobs, caller, output });
  return collected === null ? null : collected.response();
}

type ChoicesRequest = {
  readonly prompt: readonly number[];
  readonly begun: readonly number[];
  readonly options: GenerationOptions;
  readonly constraint: Constraint;
  readonly topLogprobs: number | null;
  readonly caller: Caller;
  readonly output: ChatOutput;
};

async function generateChoices(service: Service, request: ChoicesRequest): Promise<void> {
  const { prompt, begun, options, constraint, topLogprobs, caller, output } = request;
  const batcher = requireBatcher(service);
  let [completionTokens, cachedTokens] = [0, 0];
  for (let choice = 0; choice < options.choices; choice++) {
    const reader = constraint.tools.length > 0 ? new ToolCallReader() : null;
    const soFar = () => usageOf(prompt.length, completionTokens, cachedTokens);
    const hand = async (parts: readonly AnswerPart[], logprobs: readonly LogprobEntry[]) => {
      for (const [index, part] of parts.entries()) {
        await output.part(choice, part, index === 0 ? logprobs : [], soFar());
      }
    };
    const end = await generateAnswer(batcher, service.model, {
      prompt,
      begun,
      scope: caller.scope,
      signal: caller.signal,
      sampling: options.samplerSettings(choice, prompt, batcher.contextTokens),
      grammar: constraint.grammar,
      grammarParam: constraint.tools.length > 0 ? "tools" : "response_format",
      topLogprobs,
      maxTokens: options.maxTokens,
      stops: options.stops,
      stopTokens: options.stopTokens,
      ignoreEnd: options.ignoreEnd,
      onPiece(text, logprobs) {
        if (reader === null) {
          const written = output.part(choice, { text }, logprobs, soFar());
          return written === undefined ? "more" : written.then(() => "more" as const);
        }
        const parts = reader.push(text);
        const isEnough = constraint.mostCalls !== null && reader.calls >= constraint.mostCalls;
        const shown = parts.length === 0 && logprobs.length > 0 ? [{ text: "" }] : parts;
        return hand(shown, logprobs).then(() => (isEnough ? "end" : "more"));
      },
    });
    if (reader !== null) await hand(reader.end(), []);
    completionTokens += end.completionTokens;
    if (choice === 0) cachedTokens = end.cachedTokens;
    const finish = reader !== null && reader.calls > 0 ? "tool_calls" : end.finish;
    const choiceEnd: ChoiceEnd = { finish_reason: finish, stop_reason: end.stop };
    await output.finish(choice, choiceEnd, choice === options.choices - 1, soFar());
  }
}

/** The conversation as the model reads it. Throws RequestError when it has more than `limitTokens` for sure. */
export function buildPrompt(
  service: Service,
  body: Body,
  tools: readonly unknown[],
  limitTokens: number,
): readonly number[] {
  const { template, model } = service;
  if (template === null) {
    throw new RequestError(
      "bad_request",
      "This model has no chat template; use /v1/completions with a prompt.",
      "messages",
    );
  }
  const messages = readMessages(body);
  const last = messages.at(-1);
  const mayContinue = readFlag(body, "continue_final_message") ?? true;
  const pieces = template.render({
    messages,
    tools,
    variables: readTemplateVariables(body),
    isContinuation:
      mayContinue && last?.role === "assistant" && last.tool_calls === undefined && last.content !== "",
  });
  checkTextLength(model, pieces.join(""), limitTokens, "messages");
  return withBos(
    model,
    pieces.flatMap((piece, index) => model.tokenize(piece, index > 0)),
  );
}

/** Wishes about reasoning are the template's to fulfil. */
function readTemplateVariables(body: Body): Record<string, unknown> {
  const variables = body.chat_template_kwargs ?? {};
  if (!isObject(variables)) throw invalid("chat_template_kwargs", "must be an object.");
  const { reasoning } = body;
  const wish = isObject(reasoning) ? reasoning : {};
  const effort = body.reasoning_effort ?? wish.effort ?? null;
  return {
    ...variables,
    ...(typeof wish.enabled === "boolean" ? { enable_thinking: wish.enabled } : {}),
    ...(effort === null ? {} : { reasoning_effort: effort }),
  };
}

/** Null: no logprobs. */
function readTopLogprobs(body: Body): number | null {
  const top = readWhole(body, "top_logprobs", 0, 20);
  const isWanted = readFlag(body, "logprobs") ?? false;
  if (!isWanted && top !== null && top > 0) throw invalid("top_logprobs", "needs logprobs to be true.");
  return isWanted ? (top ?? 0) : null;
}

type Head = { readonly id: string; readonly created: number; readonly model: string };

class ChatStream implements ChatOutput {
  readonly #head: Head;
  readonly #usage: GenerationOptions["usage"];
  readonly #hasLogprobs: boolean;
  readonly #open: () => EventSink;
  #sink: EventSink | null = null;
  #choice = -1;
  #calls = 0;

  constructor(head: Head, usage: GenerationOptions["usage"], hasLogprobs: boolean, open: () => EventSink) {
    this.#head = head;
    this.#usage = usage;
    this.#hasLogprobs = hasLogprobs;
    this.#open = open;
  }

  part(choice: number, part: AnswerPart, logprobs: readonly LogprobEntry[], soFar: Usage) {
    const delta =
      "call" in part
        ? { tool_calls: [{ index: this.#calls++, ...describeCall(part.call) }] }
        : { content: part.text };
    return this.#write(choice, delta, null, logprobs, soFar, false);
  }

  finish(choice: number, end: ChoiceEnd, isLast: boolean, usage: Usage) {
    const written = this.#write(choice, {}, end, [], usage, isLast);
    this.#calls = 0;
    return written;
  }

  #write(
    choice: number,
    delta: object,
    end: ChoiceEnd | null,
    logprobs: readonly LogprobEntry[],
    usage: Usage,
    isLast: boolean,
  ): undefined | Promise<void> {
    this.#sink ??= this.#open();
    if (this.#choice !== choice) {
      this.#choice = choice;
      // The write that follows waits for room.
      void this.#sink.write(this.#chunk(choice, { role: "assistant", content: "" }, null, null, null));
    }
    const isCounted = this.#usage === "always" || (this.#usage === "end" && isLast);
    const given = this.#hasLogprobs && end === null ? { content: logprobs.map(describeLogprob) } : null;
    return this.#sink.write(this.#chunk(choice, delta, end, given, isCounted ? usage : null));
  }

  #chunk(
    index: number,
    delta: object,
    end: ChoiceEnd | null,
    logprobs: object | null,
    usage: Usage | null,
  ): object {
    return {
      ...this.#head,
      object: "chat.completion.chunk",
      choices: [{ index, delta, logprobs, ...(end ?? { finish_reason: null }) }],
      ...(usage === null ? {} : { usage }),
    };
  }
}

type CollectedChoice = { text: string; calls: ToolCall[]; logprobs: LogprobEntry[]; end: ChoiceEnd };

class ChatResponse implements ChatOutput {
  readonly #head: Head;
  readonly #hasLogprobs: boolean;
  readonly #choices: CollectedChoice[] = [];
  #usage: Usage | null = null;

  constructor(head: Head, hasLogprobs: boolean) {
    this.#head = head;
    this.#hasLogprobs = hasLogprobs;
  }

  part(choice: number, part: AnswerPart, logprobs: readonly LogprobEntry[]): undefined {
    const answer = this.#answer(choice);
    if ("call" in part) answer.calls.push(part.call);
    else answer.text += part.text;
    answer.logprobs.push(...logprobs);
  }

  finish(choice: number, end: ChoiceEnd, _isLast: boolean, usage: Usage): undefined {
    this.#answer(choice).end = end;
    this.#usage = usage;
  }

  response(): object {
    return {
      ...this.#head,
      object: "chat.completion",
      choices: this.#choices.map((answer, index) => ({
        index,
        message: {
          role: "assistant",
          content: answer.text === "" && answer.calls.length > 0 ? null : answer.text,
          ...(answer.calls.length === 0 ? {} : { tool_calls: answer.calls.map(describeCall) }),
        },
        logprobs: this.#hasLogprobs ? { content: answer.logprobs.map(describeLogprob) } : null,
        ...answer.end,
      })),
      usage: this.#usage,
    };
  }

  #answer(choice: number): CollectedChoice {
    const known = this.#choices[choice];
    if (known !== undefined) return known;
    const end: ChoiceEnd = { finish_reason: "stop", stop_reason: null };
    const answer: CollectedChoice = { text: "", calls: [], logprobs: [], end };
    this.#choices[choice] = answer;
    return answer;
  }
}

function describeCall(call: ToolCall): object {
  return {
    id: `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`,
    type: "function",
    function: { name: call.name, arguments: call.argumentsText },
  };
}

function describeLogprob(entry: LogprobEntry): object {
  const { token, logprob, bytes, top } = entry;
  return { token, logprob, bytes, top_logprobs: top };
}
