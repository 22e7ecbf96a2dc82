/**
 * An engine's answer in Anthropic's words: one message of content blocks, whole or as a stream in which blocks start,
 * grow and stop one after the other. Owns these words and the state of one stream; must not do I/O.
 */
import type { TokenUsage } from "../../core/usage.ts";
import type { HttpError } from "../../schema/errors.ts";
import { type CallPiece, type EngineChoice, readAnswer, unreadable } from "./engine-answer.ts";
import { sseEvent } from "./sse-writer.ts";
import type { Words } from "./translated-reply.ts";

export type AnthropicHead = {
  /** The model as the client named it. */
  readonly model: string;
  readonly requestId: string;
};

const errorTypes: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

export function anthropicError(error: HttpError, requestId: string): unknown {
  const type = errorTypes[error.status] ?? (error.status < 500 ? "invalid_request_error" : "api_error");
  return { type: "error", error: { type, message: error.message }, request_id: requestId };
}

/** The tokens as Anthropic counts them: what came from a cache is not among the input. */
function usageOf({ inputTokens, outputTokens, cachedTokens }: TokenUsage): object {
  return {
    input_tokens: Math.max(0, inputTokens - cachedTokens),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: outputTokens,
  };
}

function stopReason(choice: EngineChoice, hasCalls: boolean): string {
  if (hasCalls || choice.finish === "tool_calls") return "tool_use";
  if (choice.finish === "length") return "max_tokens";
  if (choice.finish === "content_filter") return "refusal";
  return choice.stopText === null ? "end_turn" : "stop_sequence";
}

function messageOf({ model, requestId }: AnthropicHead): object {
  return { id: `msg_${requestId.replace(/[^A-Za-z0-9]/g, "")}`, type: "message", role: "assistant", model };
}

/** The whole answer as one message. */
function wholeMessage(head: AnthropicHead, json: unknown, usage: TokenUsage): unknown {
  const [choice] = readAnswer(json).choices;
  if (choice === undefined) throw unreadable();
  const content: object[] = [];
  if (choice.reasoning !== "") content.push({ type: "thinking", thinking: choice.reasoning, signature: "" });
  const text = choice.text + choice.refusal;
  if (text !== "") content.push({ type: "text", text, citations: null });
  for (const { id, name, argumentsText } of choice.calls) {
    content.push({ type: "tool_use", id: id ?? "", name: name ?? "", input: parseInput(argumentsText) });
  }
  return {
    ...messageOf(head),
    content,
    stop_reason: stopReason(choice, choice.calls.length > 0),
    stop_sequence: choice.stopText,
    usage: usageOf(usage),
  };
}

/** Arguments that are no JSON object are the model's fault; the client sees them as they are. */
function parseInput(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text === "" ? "{}" : text);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // said below
  }
  return { arguments: text };
}

export class AnthropicWords implements Words {
  readonly waiting = sseEvent("ping", { type: "ping" });
  readonly errorBody = anthropicError;
  readonly #head: AnthropicHead;
  #hasStarted = false;
  /** What the open block holds; null when none is open. */
  #open: string | null = null;
  #blocks = 0;
  #hasCalls = false;
  #end: EngineChoice | null = null;

  constructor(head: AnthropicHead) {
    this.#head = head;
  }

  whole(json: unknown, usage: TokenUsage): unknown {
    return wholeMessage(this.#head, json, usage);
  }

  piece(json: unknown): string {
    const [choice] = readAnswer(json).choices;
    if (choice === undefined) return "";
    let events = this.#start();
    if (choice.reasoning !== "") {
      events += this.#enter("thinking", { type: "thinking", thinking: "", signature: "" });
      events += this.#delta({ type: "thinking_delta", thinking: choice.reasoning });
    }
    const text = choice.text + choice.refusal;
    if (text !== "") {
      events += this.#enter("text", { type: "text", text: "" });
      events += this.#delta({ type: "text_delta", text });
    }
    for (const call of choice.calls) events += this.#call(call);
    if (choice.finish !== null) this.#end = choice;
    return events;
  }

  last(usage: TokenUsage): string {
    const end = this.#end;
    if (end === null) throw unreadable();
    const delta = { stop_reason: stopReason(end, this.#hasCalls), stop_sequence: end.stopText };
    return (
      this.#start() +
      this.#leave() +
      sseEvent("message_delta", { type: "message_delta", delta, usage: usageOf(usage) }) +
      sseEvent("message_stop", { type: "message_stop" })
    );
  }

  failed(error: HttpError): string {
    return sseEvent("error", anthropicError(error, this.#head.requestId));
  }

  #start(): string {
    if (this.#hasStarted) return "";
    this.#hasStarted = true;
    const usage = usageOf({ inputTokens: 0, outputTokens: 0, cachedTokens: 0 });
    const begun = { content: [], stop_reason: null, stop_sequence: null, usage };
    return sseEvent("message_start", {
      type: "message_start",
      message: { ...messageOf(this.#head), ...begun },
    });
  }

  #call({ index, id, name, argumentsText }: CallPiece): string {
    this.#hasCalls = true;
    const block = { type: "tool_use", id: id ?? `toolu_${index}`, name: name ?? "", input: {} };
    const entered = this.#enter(`call ${index}`, block);
    return argumentsText === ""
      ? entered
      : entered + this.#delta({ type: "input_json_delta", partial_json: argumentsText });
  }

  /** Closes the open block and starts this one, unless it is open already. */
  #enter(what: string, block: object): string {
    if (this.#open === what) return "";
    const left = this.#leave();
    this.#open = what;
    const start = { type: "content_block_start", index: this.#blocks, content_block: block };
    return left + sseEvent("content_block_start", start);
  }

  #leave(): string {
    if (this.#open === null) return "";
    this.#open = null;
    const index = this.#blocks;
    this.#blocks += 1;
    return sseEvent("content_block_stop", { type: "content_block_stop", index });
  }

  #delta(delta: object): string {
    return sseEvent("content_block_delta", { type: "content_block_delta", index: this.#blocks, delta });
  }
}
