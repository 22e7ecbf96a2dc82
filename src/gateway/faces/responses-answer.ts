/**
 * An engine's answer as a response of OpenAI's Responses API: output items, whole or as a stream of numbered events in
 * which items begin, grow and end. Owns these words and the state of one stream; must not do I/O.
 */
import type { TokenUsage } from "../../core/usage.ts";
import type { HttpError } from "../../schema/errors.ts";
import { httpErrors, openAiError } from "../../schema/errors.ts";
import type { ResponsesIn } from "../../schema/responses.ts";
import { type CallPiece, type EngineChoice, readAnswer, unreadable } from "./engine-answer.ts";
import type { ErrorBody } from "./face.ts";
import { OpenItem, type OutputItem } from "./responses-item.ts";
import { sseEvent } from "./sse-writer.ts";
import type { Words } from "./translated-reply.ts";

export type ResponseAbout = {
  readonly asked: ResponsesIn;
  /** The model as the client named it. */
  readonly model: string;
  readonly requestId: string;
  readonly startedAtMs: number;
};

export const responsesError: ErrorBody = (error) => openAiError(error);

const incompleteReasons: Readonly<Record<string, string>> = {
  length: "max_output_tokens",
  content_filter: "content_filter",
};

export class ResponsesWords implements Words {
  readonly waiting = ": waiting\n\n";
  readonly errorBody = responsesError;
  readonly #about: ResponseAbout;
  readonly #tail: string;
  #sequence = 0;
  #hasStarted = false;
  #items: OutputItem[] = [];
  #open: OpenItem | null = null;
  #finish: string | null = null;
  #reasoningTokens = 0;

  constructor(about: ResponseAbout) {
    this.#about = about;
    this.#tail = about.requestId.replace(/[^A-Za-z0-9]/g, "");
  }

  whole(json: unknown, usage: TokenUsage): unknown {
    this.#take(json);
    if (this.#finish === null) throw unreadable();
    this.#close();
    return this.#response(this.#statusAtEnd(), usage);
  }

  piece(json: unknown): string {
    return this.#start() + this.#take(json);
  }

  last(usage: TokenUsage): string {
    if (this.#finish === null) throw unreadable();
    const events = this.#start() + this.#close();
    const status = this.#statusAtEnd();
    return events + this.#event(`response.${status}`, { response: this.#response(status, usage) });
  }

  failed(error: HttpError): string {
    const { message, code, param } = openAiError(error).error;
    const said = { code, message, param };
    const { type } = httpErrors[error.code];
    // Clients of the official SDK read `error`, as in a chat's stream; others the fields beside it.
    return this.#event("error", { ...said, error: { type, ...said } });
  }

  /** Adds what a chunk, or a whole answer, holds; the events say so. */
  #take(json: unknown): string {
    const { choices, reasoningTokens } = readAnswer(json);
    this.#reasoningTokens = reasoningTokens || this.#reasoningTokens;
    const [choice] = choices;
    if (choice === undefined) return "";
    const { reasoning, text, refusal, calls, finish } = choice;
    let events = "";
    if (reasoning !== "") events += this.#enter("reasoning", "rs") + this.#add(reasoning, []);
    if (text !== "" || choice.logprobs.length > 0) events += this.#addText(choice);
    if (refusal !== "") events += this.#enter("refusal", "msg") + this.#add(refusal, []);
    for (const call of calls) events += this.#addCall(call);
    this.#finish = finish ?? this.#finish;
    return events;
  }

  #addText({ text, logprobs }: EngineChoice): string {
    return this.#enter("text", "msg") + this.#add(text, logprobs);
  }

  #addCall({ index, id, name, argumentsText }: CallPiece): string {
    const call = { callId: id ?? `call_${this.#tail}_${index}`, name: name ?? "" };
    return this.#enter(`call ${index}`, "fc", call) + this.#add(argumentsText, []);
  }

  #add(text: string, logprobs: readonly unknown[]): string {
    return this.#say(this.#open?.add(text, logprobs) ?? []);
  }

  /** Ends the open item and begins this one, unless it is open already. */
  #enter(what: string, prefix: string, call: { callId: string; name: string } | null = null): string {
    if (this.#open?.what === what) return "";
    const closed = this.#close();
    const at = this.#items.length;
    this.#open = new OpenItem({ what, id: `${prefix}_${this.#tail}_${at}`, outputIndex: at, call });
    return closed + this.#say(this.#open.begin());
  }

  #close(): string {
    const open = this.#open;
    if (open === null) return "";
    this.#open = null;
    const isCut = this.#finish !== null && Object.hasOwn(incompleteReasons, this.#finish);
    const { events, item } = open.end(isCut ? "incomplete" : "completed");
    this.#items = [...this.#items, item];
    return this.#say(events);
  }

  #start(): string {
    if (this.#hasStarted) return "";
    this.#hasStarted = true;
    return (
      this.#event("response.created", { response: this.#response("in_progress", null) }) +
      this.#event("response.in_progress", { response: this.#response("in_progress", null) })
    );
  }

  #say(events: readonly (readonly [name: string, fields: object])[]): string {
    return events.map(([name, fields]) => this.#event(name, fields)).join("");
  }

  #event(type: string, fields: object): string {
    const event = { type, sequence_number: this.#sequence, ...fields };
    this.#sequence += 1;
    return sseEvent(type, event);
  }

  #statusAtEnd(): "completed" | "incomplete" {
    return Object.hasOwn(incompleteReasons, this.#finish ?? "") ? "incomplete" : "completed";
  }

  #response(status: string, usage: TokenUsage | null): unknown {
    const { asked, model, startedAtMs } = this.#about;
    const reason = incompleteReasons[this.#finish ?? ""];
    return {
      id: `resp_${this.#tail}`,
      object: "response",
      created_at: Math.floor(startedAtMs / 1000),
      status,
      background: false,
      error: null,
      incomplete_details: status === "incomplete" ? { reason } : null,
      instructions: asked.instructions ?? null,
      max_output_tokens: asked.max_output_tokens ?? null,
      model,
      output: this.#items,
      parallel_tool_calls: asked.parallel_tool_calls ?? true,
      previous_response_id: null,
      reasoning: { effort: asked.reasoning?.effort ?? null, summary: null },
      service_tier: asked.service_tier ?? "default",
      store: false,
      temperature: asked.temperature ?? 1,
      text: asked.text ?? { format: { type: "text" } },
      tool_choice: asked.tool_choice ?? "auto",
      tools: asked.tools ?? [],
      top_logprobs: asked.top_logprobs ?? 0,
      top_p: asked.top_p ?? 1,
      truncation: "disabled",
      usage: usage === null ? null : this.#usage(usage),
      user: asked.user ?? null,
      metadata: asked.metadata ?? {},
    };
  }

  #usage({ inputTokens, outputTokens, cachedTokens }: TokenUsage): object {
    return {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: this.#reasoningTokens },
      total_tokens: inputTokens + outputTokens,
    };
  }
}
