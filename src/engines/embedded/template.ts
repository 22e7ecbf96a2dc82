/**
 * From chat messages to prompt tokens: renders the model's own Jinja template and tokenizes the result so that only the
 * template can write control tokens. Text of a user that spells one (`<|im_end|>`) is broken by a marker before rendering
 * and put together again from ordinary tokens afterwards: it stays text, and nobody can forge a turn of the conversation.
 */
import { createContext, Script } from "node:vm";
import { Template } from "@huggingface/jinja";
import { RequestError } from "./errors.ts";

/** A Unicode noncharacter, which no text that is meant for exchange contains; one that comes in is replaced. */
const marker = "\uFDD0";
const longestTemplate = 1_000_000;
/** Templates come with the model, from strangers: one that loops must not stop the server. */
const longestRenderMs = 2000;
/** Times that a rendering is begun anew because it had no turn. */
const maxStarved = 10;

export type ChatMessage = Readonly<Record<string, unknown>> & {
  readonly role: string;
  readonly content: string;
};

export type PromptRequest = {
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly unknown[];
  /** Further variables for the template (`chat_template_kwargs`). */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The last message is the beginning of the answer rather than a turn of its own. */
  readonly isContinuation: boolean;
};

export type ChatTemplate = {
  /** Pieces of prompt text; control tokens count within each, never across two. Throws RequestError. */
  render(request: PromptRequest): readonly string[];
};

export function createChatTemplate(
  source: string,
  tokens: { bosText: string; eosText: string; controlTexts: readonly string[] },
  longestMs = longestRenderMs,
): ChatTemplate {
  if (source.length > longestTemplate) throw new Error("The model's chat template is too long.");
  const template = new Template(source);
  const guard = createGuard(tokens.controlTexts);
  const renderText = (request: PromptRequest, hasPrompt: boolean, tools: readonly unknown[]) =>
    runBounded(
      () =>
        template.render({
          ...(guardAll(request.variables, guard) as Record<string, unknown>),
          messages: guardAll(request.messages, guard),
          tools: tools.length === 0 ? null : guardAll(tools, guard),
          documents: null,
          add_generation_prompt: hasPrompt,
          bos_token: tokens.bosText,
          eos_token: tokens.eosText,
        }),
      longestMs,
    );
  return {
    render(request) {
      const text = renderText(request, !request.isContinuation, request.tools);
      if (request.tools.length > 0) checkTools(text, renderText(request, !request.isContinuation, []));
      return (request.isContinuation ? cutAfterLast(text, request.messages, guard) : text).split(marker);
    },
  };
}

/** Cuts a text inside every control text that it spells, so that the pieces are tokenized as ordinary text. */
export function splitAtControls(controlTexts: readonly string[]): (text: string) => readonly string[] {
  const guard = createGuard(controlTexts);
  return (text) => guard(text).split(marker);
}

/** Breaks every control text in a string after its first character. */
function createGuard(controlTexts: readonly string[]): (text: string) => string {
  const escaped = [...controlTexts]
    .sort((a, b) => b.length - a.length)
    .map((text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  const pattern = escaped.length === 0 ? null : new RegExp(escaped.join("|"), "gu");
  return (text) => {
    const clean = text.replaceAll(marker, "\uFFFD");
    if (pattern === null) return clean;
    return clean.replace(pattern, (found) => {
      const first = [...found][0] ?? "";
      return first + marker + found.slice(first.length);
    });
  };
}

/** Applies the guard to every string inside a JSON value, object keys too. */
function guardAll(value: unknown, guard: (text: string) => string): unknown {
  if (typeof value === "string") return guard(value);
  if (Array.isArray(value)) return value.map((item) => guardAll(item, guard));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [guard(key), guardAll(item, guard)]));
}

/** A continued answer ends with its text: what the template puts behind the last message is cut off again. */
function cutAfterLast(
  text: string,
  messages: readonly ChatMessage[],
  guard: (text: string) => string,
): string {
  const last = guard(messages.at(-1)?.content ?? "");
  for (const content of [last, last.trim()]) {
    const at = content === "" ? -1 : text.lastIndexOf(content);
    if (at !== -1) return text.slice(0, at + content.length);
  }
  throw new RequestError(
    "bad_request",
    "The last assistant message cannot be continued: the model's chat template does not keep its text.",
    "messages",
  );
}

function checkTools(withTools: string, withoutTools: string): void {
  if (withTools === withoutTools) {
    throw new RequestError(
      "unsupported_parameter",
      "`tools` cannot be used with this model: its chat template does not show them to it.",
      "tools",
    );
  }
  if (!withTools.includes("<tool_call>")) {
    throw new RequestError(
      "unsupported_parameter",
      "`tools` cannot be used with this model: the embedded engine reads only calls written as <tool_call>.",
      "tools",
    );
  }
}

const sandbox = createContext({ run: (): unknown => null });
const callRun = new Script("run()");

/**
 * Runs a synchronous function with a time limit; `node:vm` is used for its watchdog alone, not for isolation. The watchdog
 * goes by the clock, also while the process is stopped or starved: what had no turn in its time is run again.
 */
function runBounded(render: () => string, longestMs: number): string {
  let text = "";
  sandbox.run = () => {
    text = render();
  };
  for (let left = maxStarved; ; left -= 1) {
    const before = process.threadCpuUsage();
    try {
      callRun.runInContext(sandbox, { timeout: longestMs });
      return text;
    } catch (error) {
      const isOver = (error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
      const { user, system } = process.threadCpuUsage(before);
      const hadItsTime = (user + system) / 1000 >= longestMs / 2;
      if (isOver && !hadItsTime && left > 0) continue;
      const said = error instanceof Error ? error.message.slice(0, 300) : "unknown reason";
      const reason = isOver ? `it took longer than ${longestMs / 1000} s` : said;
      throw new RequestError(
        "bad_request",
        `The model's chat template refused the messages: ${reason}`,
        "messages",
      );
    }
  }
}
