/**
 * Requests to /v1/responses in the chat form that engines speak: instructions and items become messages, functions become
 * tools. Owns what each kind of item becomes; what has no counterpart here, stored responses first of all, is refused by
 * its name. Pure.
 */
import { HttpError } from "../../schema/errors.ts";
import type { ResponsesIn, ResponsesItem } from "../../schema/responses.ts";
import { unsupportedHere } from "./read-fields.ts";

type Fields = Record<string, unknown>;
type ChatMessage = {
  role: string;
  content: unknown;
  reasoning_content?: string;
  tool_calls?: object[];
} & Fields;

/** Parameters that are called the same and mean the same. */
const passed = [
  "model",
  "stream",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "parallel_tool_calls",
  "user",
  "prompt_cache_key",
  "service_tier",
  "models",
  "fail_fast",
];

/** Refused where they ask for something: each needs a stored response, or a service behind the model. */
const refused: Readonly<Record<string, string>> = {
  previous_response_id:
    "names a stored response, and nothing is stored here: send the whole conversation as input.",
  conversation: "names a stored conversation, and nothing is stored here: send it as input.",
  prompt: "names a stored prompt, and nothing is stored here: send it as input.",
  background: "asks for an answer that is kept for later, and nothing is stored here.",
  max_tool_calls: "bounds built-in tools, of which there are none.",
};

/** Answers that are longer than the context are never cut by themselves. */
const neutral: Readonly<Record<string, readonly unknown[]>> = {
  background: [false],
  truncation: ["disabled"],
};

/** The body of a chat completion. */
export function responsesToChat(asked: ResponsesIn): Fields {
  for (const [name, what] of Object.entries(refused)) refuse(asked, name, what);
  refuse(asked, "truncation", "can be disabled only: a conversation is never cut.");
  const chat: Fields = {};
  for (const name of passed) {
    if (asked[name] !== undefined && asked[name] !== null) chat[name] = asked[name];
  }
  if (asked.max_output_tokens) chat.max_tokens = asked.max_output_tokens;
  if (asked.stream === true) chat.stream_options = { include_usage: true };
  chat.messages = [
    ...(asked.instructions ? [{ role: "system", content: asked.instructions }] : []),
    ...(typeof asked.input === "string" ? [{ role: "user", content: asked.input }] : toMessages(asked.input)),
  ];
  const tools = (asked.tools ?? []).map(toTool);
  if (tools.length > 0) {
    chat.tools = tools;
    if (asked.tool_choice) chat.tool_choice = toToolChoice(asked.tool_choice);
  }
  const format = toFormat(asked.text?.format);
  if (format !== null) chat.response_format = format;
  if (asked.reasoning?.effort) chat.reasoning_effort = asked.reasoning.effort;
  if (wantsLogprobs(asked)) {
    chat.logprobs = true;
    if (asked.top_logprobs) chat.top_logprobs = asked.top_logprobs;
  }
  return chat;
}

export function wantsLogprobs(asked: ResponsesIn): boolean {
  return (
    Number(asked.top_logprobs ?? 0) > 0 || (asked.include ?? []).includes("message.output_text.logprobs")
  );
}

function refuse(asked: Fields, name: string, what: string): void {
  const value = asked[name];
  if (value === undefined || value === null || neutral[name]?.includes(value) === true) return;
  throw unsupportedHere(name, what);
}

/** Calls and reasoning belong to the assistant's message they stand beside. */
function toMessages(items: readonly ResponsesItem[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  let reasoning = "";
  for (const [at, item] of items.entries()) {
    const place = `input[${at}]`;
    const type = item.type ?? "message";
    if (type === "reasoning") {
      reasoning += textOf(item.content ?? item.summary, `${place}.content`);
      continue;
    }
    if (type === "function_call") {
      const message = openAssistant(messages, reasoning);
      message.tool_calls = [...(message.tool_calls ?? []), toCall(item, place)];
    } else if (type === "function_call_output") {
      const content = textOf(item.output, `${place}.output`);
      messages.push({ role: "tool", tool_call_id: required(item.call_id, `${place}.call_id`), content });
    } else if (type === "message") messages.push(toMessage(item, place, reasoning));
    else throw unsupportedHere(place, `is of type ${type.slice(0, 40)}, which Berth does not know.`);
    reasoning = "";
  }
  return messages;
}

function openAssistant(messages: ChatMessage[], reasoning: string): ChatMessage {
  const last = messages.at(-1);
  if (last?.role === "assistant" && reasoning === "") return last;
  const opened: ChatMessage = { role: "assistant", content: null };
  if (reasoning !== "") opened.reasoning_content = reasoning;
  messages.push(opened);
  return opened;
}

function toCall({ call_id, name, arguments: given }: ResponsesItem, place: string): object {
  return {
    id: required(call_id, `${place}.call_id`),
    type: "function",
    function: { name: required(name, `${place}.name`), arguments: given ?? "{}" },
  };
}

function toMessage({ role, content }: ResponsesItem, place: string, reasoning: string): ChatMessage {
  const known = required(role, `${place}.role`);
  const said = {
    role: known === "developer" ? "system" : known,
    content: toContent(content, `${place}.content`),
  };
  return reasoning === "" || known !== "assistant" ? said : { ...said, reasoning_content: reasoning };
}

type Content = ResponsesItem["content"];

/** One text where there are only texts: every engine and template takes that. */
function toContent(content: Content, place: string): unknown {
  if (Array.isArray(content) && content.some(({ type }) => type === "input_image")) {
    return content.map((part, at) => toPart(part, `${place}[${at}]`));
  }
  return textOf(content, place);
}

type Part = Exclude<Content, string | null | undefined>[number];

function toPart(part: Part, place: string): object {
  if (part.type !== "input_image") return { type: "text", text: textOf([part], place) };
  if (typeof part.image_url !== "string") {
    throw unsupportedHere(place, "is a stored file, and nothing is stored here: send image_url.");
  }
  return { type: "image_url", image_url: { url: part.image_url } };
}

const textParts = new Set(["input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal"]);

function textOf(content: Content, place: string): string {
  if (typeof content === "string") return content;
  const texts = (content ?? []).map((part, at) => {
    if (textParts.has(part.type)) return part.text ?? part.refusal ?? "";
    throw unsupportedHere(
      `${place}[${at}]`,
      `is of type ${part.type.slice(0, 40)}; only text is taken there.`,
    );
  });
  return texts.join("\n");
}

function required(value: string | null | undefined, place: string): string {
  if (value) return value;
  throw new HttpError("invalid_input", `${place}: Field required.`, { param: place });
}

function toTool(tool: NonNullable<ResponsesIn["tools"]>[number], at: number): object {
  if (tool.type !== "function") {
    throw unsupportedHere(
      `tools[${at}]`,
      `is of type ${tool.type.slice(0, 40)}; only functions are possible.`,
    );
  }
  const { description, parameters, strict } = tool;
  return {
    type: "function",
    function: {
      name: required(tool.name, `tools[${at}].name`),
      ...(description ? { description } : {}),
      ...(parameters ? { parameters } : {}),
      ...(typeof strict === "boolean" ? { strict } : {}),
    },
  };
}

function toToolChoice(choice: NonNullable<ResponsesIn["tool_choice"]>): unknown {
  if (typeof choice === "string") return choice;
  if (choice.type !== "function") throw unsupportedHere("tool_choice", "can name a function only.");
  return { type: "function", function: { name: required(choice.name, "tool_choice.name") } };
}

type Format = NonNullable<NonNullable<ResponsesIn["text"]>["format"]>;

function toFormat(format: Format | null | undefined): unknown {
  if (!format || format.type === "text") return null;
  if (format.type !== "json_schema") return format;
  const { name, schema, description, strict } = format;
  const given = {
    ...(description ? { description } : {}),
    ...(typeof strict === "boolean" ? { strict } : {}),
  };
  return { type: "json_schema", json_schema: { name: name ?? "answer", schema: schema ?? {}, ...given } };
}
