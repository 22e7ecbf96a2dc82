/**
 * One answer: turns the batcher's tokens into text that is cut only between characters, at stop strings and at the token
 * limit, and says why it ended. Owns these rules for every face; knows nothing of HTTP.
 */
import type { Batcher, TokenStep } from "./batcher.ts";
import { type Begun, notBegun, SeenText } from "./begun.ts";
import { RequestError, unsupported } from "./errors.ts";
import type { Model } from "./native.ts";
import { GrammarError, type SamplerSettings } from "./samplers.ts";
import { StopCutter } from "./stops.ts";

/** A token with its logprob and the likeliest alternatives, as clients get it. */
export type LogprobEntry = {
  readonly token: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly {
    readonly token: string;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
};

export type AnswerRequest = {
  readonly prompt: readonly number[];
  /** The beginning of the answer, generated earlier and elsewhere: it counts, but is not handed over again. */
  readonly begun: Begun;
  readonly scope: string;
  readonly sampling: SamplerSettings;
  readonly grammar: string | null;
  /** The request's field that the grammar comes from. */
  readonly grammarParam: string;
  readonly topLogprobs: number | null;
  /** Null: as many as the context has left. */
  readonly maxTokens: number | null;
  readonly stops: readonly string[];
  readonly stopTokens: ReadonlySet<number>;
  readonly ignoreEnd: boolean;
  readonly signal: AbortSignal;
  /** Gets each piece of text, never an empty one without logprobs; "end" ends the answer as a stop string would. */
  onPiece(text: string, logprobs: readonly LogprobEntry[]): "more" | "end" | Promise<"more" | "end">;
};

export type AnswerEnd = {
  readonly finish: "stop" | "length";
  /** The stop string that ended it, null when none did. */
  readonly stop: string | null;
  readonly completionTokens: number;
  readonly cachedTokens: number;
};

/** Longest beginning of an answer that is written anew, in tokens: it takes as long as it did the first time. */
const maxRewrittenTokens = 2048;

/** Generates one answer. Throws RequestError when no slot is free, the signal's reason when cancelled. */
export async function generateAnswer(
  batcher: Batcher,
  model: Model,
  request: AnswerRequest,
): Promise<AnswerEnd> {
  const { begun, sampling, topLogprobs } = request;
  const isCertain = sampling.temperature === 0 && topLogprobs === null;
  if (begun.text !== "" && isCertain && begun.tokens.length <= maxRewrittenTokens) {
    // Only the same tokens, computed in the same steps, lead to the very numbers of the first time, and so to the same
    // answer where two words are nearly as likely. A text tells neither, so that its beginning is written once more.
    const rewritten = await generate(batcher, model, { ...request, begun: notBegun }, begun.text);
    if (rewritten !== null) return rewritten;
  }
  const end = await generate(batcher, model, request, "");
  if (end === null) throw new Error("an answer without a text to repeat cannot come out otherwise");
  return end;
}

/** Null when the answer does not begin with `seen`, which its reader has already. */
async function generate(
  batcher: Batcher,
  model: Model,
  request: AnswerRequest,
  seen: string,
): Promise<AnswerEnd | null> {
  const text = new AnswerText(model, request, seen);
  const { tokens: begun } = request.begun;
  if (request.maxTokens !== null && begun.length >= request.maxTokens) {
    return { finish: "length", stop: null, completionTokens: text.tokens, cachedTokens: 0 };
  }
  const job = batcher.generate({
    prompt: [...request.prompt, ...begun],
    scope: request.scope,
    sampling: request.sampling,
    grammar: request.grammar,
    topLogprobs: request.topLogprobs,
    signal: request.signal,
    isLast: (token) => text.isLast(token),
    onToken: (step) => text.take(step),
  });
  const end = await job.catch((error: unknown) => {
    if (!(error instanceof GrammarError)) throw error;
    throw unsupported(
      request.grammarParam,
      "has a schema that is too large for the embedded engine: lower its lengths and numbers of items.",
    );
  });
  if (end === null) {
    throw new RequestError("model_not_ready", "All slots of this instance are busy; try again shortly.");
  }
  if (end.reason === "full") await text.finishFull();
  if (text.isOther) return null;
  return {
    finish: text.finish ?? "stop",
    stop: text.stop,
    completionTokens: text.tokens,
    cachedTokens: Math.min(end.cachedTokens, request.prompt.length),
  };
}

class AnswerText {
  finish: AnswerEnd["finish"] | null = null;
  stop: string | null = null;
  tokens: number;
  /** It has come out otherwise than its reader has seen it begin. */
  isOther = false;
  readonly #seen: SeenText;
  readonly #model: Model;
  readonly #request: AnswerRequest;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #cutter: StopCutter;
  /** Entries whose text was not shown yet, with the place where it starts. */
  #entries: { start: number; entry: LogprobEntry }[] = [];
  #decodedLength = 0;
  #shownLength = 0;

  constructor(model: Model, request: AnswerRequest, seen: string) {
    this.#model = model;
    this.#request = request;
    this.#seen = new SeenText(seen);
    this.tokens = request.begun.tokens.length;
    this.#cutter = new StopCutter(request.stops);
  }

  /** Of the next token: whether it ends the answer whatever its text is. */
  isLast(token: number): boolean {
    const { maxTokens } = this.#request;
    return this.#isEnd(token) || (maxTokens !== null && this.tokens + 1 >= maxTokens);
  }

  #isEnd(token: number): boolean {
    const { stopTokens, ignoreEnd } = this.#request;
    return stopTokens.has(token) || (!ignoreEnd && this.#model.isEnd(token));
  }

  take(step: TokenStep): "more" | "end" | Promise<"more" | "end"> {
    const { maxTokens } = this.#request;
    this.tokens++;
    if (this.#isEnd(step.token)) {
      return this.#end("stop", this.#cutter.end(), true);
    }
    // A character that is not complete yet stays in the decoder; if the answer ends there, it is left out.
    const decoded = this.#decoder.decode(this.#model.vocabulary.bytesOf(step.token), { stream: true });
    if (step.logprobs !== null) {
      this.#entries.push({ start: this.#decodedLength, entry: this.#describe(step.token, step.logprobs) });
    }
    this.#decodedLength += decoded.length;
    const { text, met } = this.#cutter.push(decoded);
    this.stop = met;
    if (met !== null) return this.#end("stop", text, false);
    if (maxTokens !== null && this.tokens >= maxTokens) {
      return this.#end("length", text + this.#cutter.end(), true);
    }
    return this.#show(text, false);
  }

  /** The context is full: what was held back belongs to the answer. */
  async finishFull(): Promise<void> {
    await this.#end("length", this.#cutter.end(), true);
  }

  #end(finish: AnswerEnd["finish"], text: string, isAllShown: boolean): "end" | Promise<"end"> {
    this.finish = finish;
    const shown = this.#show(text, isAllShown);
    this.isOther ||= !this.#seen.isOver;
    return shown instanceof Promise ? shown.then(() => "end" as const) : "end";
  }

  /** `isAllShown`: no text was cut off, so that tokens without text of their own are reported, too. */
  #show(text: string, isAllShown: boolean): "more" | "end" | Promise<"more" | "end"> {
    this.#shownLength += text.length;
    const isShown = (start: number) => isAllShown || start < this.#shownLength;
    const entries = this.#entries.filter(({ start }) => isShown(start)).map(({ entry }) => entry);
    this.#entries = this.#entries.filter(({ start }) => !isShown(start));
    const fresh = this.#seen.take(text);
    if (fresh === null) {
      this.isOther = true;
      return "end";
    }
    if (fresh === "" && entries.length === 0) return "more";
    return this.#request.onPiece(fresh, entries);
  }

  #describe(token: number, logprobs: NonNullable<TokenStep["logprobs"]>): LogprobEntry {
    return {
      ...this.#name(token),
      logprob: logprobs.chosen,
      top: logprobs.top.map((entry) => ({ ...this.#name(entry.token), logprob: entry.logprob })),
    };
  }

  #name(token: number): { token: string; bytes: readonly number[] } {
    const bytes = this.#model.vocabulary.bytesOf(token);
    return { token: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), bytes: [...bytes] };
  }
}
