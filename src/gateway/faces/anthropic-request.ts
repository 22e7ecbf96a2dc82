/**
 * Anthropic's messages in the OpenAI form that engines speak: one flat list with tool calls beside the text and tool
 * results as messages of their own. Owns what each kind of block becomes; what has no counterpart is refused by its
 * place, never left out. Pure.
 */
import {
  type AnthropicCountIn,
  type AnthropicMessage,
  type AnthropicMessagesIn,
  anthropicBlocks,
} from "../../schema/anthropic.ts";
import { HttpError } from "../../schema/errors.ts";
import { checkInput, describeIssues } from "../../schema/validation.ts";
import { unsupportedHere } from "./read-fields.ts";

type ChatMessage = Record<string, unknown> & { readonly role: string };
type Fields = Record<string, unknown>;

/** Fields whose name and meaning are the same in both forms. */
const passed = ["model", "stream", "max_tokens", "temperature", "top_p", "top_k", "service_tier"];

/** The body of a chat completion; fields that Berth does not know are left out. */
export function toChat(asked: AnthropicMessagesIn): Fields {
  const chat: Fields = {};
  for (const name of passed) {
    if (asked[name] !== undefined && asked[name] !== null) chat[name] = asked[name];
  }
  const { stop_sequences: stop, metadata, output_config: output } = asked;
  Object.assign(chat, toCounted(asked));
  if (asked.stream === true) chat.stream_options = { include_usage: true };
  if (stop && stop.length > 0) chat.stop = stop;
  if (metadata?.user_id) chat.user = metadata.user_id;
  const choice = asked.tool_choice;
  if (choice && (asked.tools?.length ?? 0) > 0) {
    chat.tool_choice = toToolChoice(choice);
    if (choice.disable_parallel_tool_use === true) chat.parallel_tool_calls = false;
  }
  if (output?.format) chat.response_format = toFormat(output.format);
  if (asked.thinking) {
    const isOff = asked.thinking.type === "disabled" || asked.thinking.enabled === false;
    if (isOff) chat.reasoning = { enabled: false };
    else if (wantsThinking(asked)) chat.reasoning = { enabled: true };
  }
  return chat;
}

/** Thinking was asked for, rather than left to the model. */
export function wantsThinking({ thinking }: AnthropicMessagesIn): boolean {
  if (!thinking) return false;
  return thinking.type === "enabled" || (!thinking.type && thinking.enabled !== false);
}

/** What counts for the length of the prompt. */
export function toCounted(asked: AnthropicCountIn): Fields {
  const system = systemText(asked.system);
  const messages = asked.messages.flatMap((message, at) => toMessages(message, `messages[${at}]`));
  const tools = (asked.tools ?? []).map(toTool);
  return {
    messages: system === "" ? messages : [{ role: "system", content: system }, ...messages],
    ...(tools.length > 0 ? { tools } : {}),
  };
}

function systemText(system: AnthropicCountIn["system"]): string {
  if (!system) return "";
  return typeof system === "string" ? system : system.map(({ text }) => text).join("\n");
}

function toMessages({ role, content }: AnthropicMessage, place: string): ChatMessage[] {
  if (typeof content === "string") return [{ role, content }];
  return role === "assistant" ? [toAssistant(content, place)] : toUser(role, content, place);
}

type Blocks = Exclude<AnthropicMessage["content"], string>;

function toAssistant(blocks: Blocks, place: string): ChatMessage {
  let [text, reasoning] = ["", ""];
  const calls: unknown[] = [];
  for (const [at, given] of blocks.entries()) {
    const where = `${place}.content[${at}]`;
    const block = readBlock(given, where);
    if (block.type === "text") text += block.text;
    else if (block.type === "thinking") reasoning += block.thinking;
    else if (block.type === "tool_use") {
      const call = { name: block.name, arguments: JSON.stringify(block.input ?? {}) };
      calls.push({ id: block.id, type: "function", function: call });
    } else if (block.type !== "redacted_thinking") throw misplaced(where, block.type, "assistant");
  }
  return {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

/** Results of tools come first: they answer the calls of the message before. */
function toUser(role: string, blocks: Blocks, place: string): ChatMessage[] {
  const results: ChatMessage[] = [];
  const parts: Part[] = [];
  for (const [at, given] of blocks.entries()) {
    const where = `${place}.content[${at}]`;
    const block = readBlock(given, where);
    if (block.type === "tool_result") {
      const text = resultText(block.content, where);
      const content = block.is_error === true ? `Error: ${text}` : text;
      results.push({ role: "tool", tool_call_id: block.tool_use_id, content });
    } else parts.push(toPart(block, where));
  }
  if (parts.length === 0 && results.length > 0) return results;
  return [...results, { role, content: joinParts(parts) }];
}

type Part =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; image_url: object };

function toPart(block: Block, place: string): Part {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text };
    case "image": {
      const { source } = block;
      const url = source.type === "url" ? source.url : `data:${source.media_type};base64,${source.data}`;
      return { type: "image_url", image_url: { url } };
    }
    case "document": {
      const { source, title, context } = block;
      if (source.type !== "text") {
        throw unsupportedHere(place, `is a document of type ${source.type}; only text documents are taken.`);
      }
      const text = [title, context, source.data].filter((one) => one).join("\n");
      return { type: "text", text };
    }
    default:
      throw misplaced(place, block.type, "user");
  }
}

/** One text where there are only texts: every engine and template takes that. */
function joinParts(parts: readonly Part[]): unknown {
  const texts = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  return texts.length === parts.length ? texts.join("\n") : parts;
}

function resultText(content: string | Blocks | null | undefined, place: string): string {
  if (typeof content === "string") return content;
  const texts = (content ?? []).map((given, at) => {
    const where = `${place}.content[${at}]`;
    const part = toPart(readBlock(given, where), where);
    if (part.type === "text") return part.text;
    throw unsupportedHere(where, "is an image in a tool result; only text is taken there.");
  });
  return texts.join("\n");
}

type Block = {
  [K in keyof typeof anthropicBlocks]: (typeof anthropicBlocks)[K]["_output"];
}[keyof typeof anthropicBlocks];

function readBlock(given: Blocks[number], place: string): Block {
  if (!Object.hasOwn(anthropicBlocks, given.type)) {
    throw unsupportedHere(place, `is a block of type ${given.type.slice(0, 40)}, which Berth does not know.`);
  }
  const checked = checkInput<Block>(anthropicBlocks[given.type as Block["type"]], given, "body");
  if (checked.ok) return checked.value;
  throw new HttpError("invalid_input", `${place}: ${describeIssues(checked.issues)}.`, { param: place });
}

function misplaced(place: string, type: string, role: string): HttpError {
  return new HttpError(
    "invalid_input",
    `${place}: a ${type} block cannot stand in a message of the ${role}.`,
    {
      param: place,
    },
  );
}

function toTool(tool: NonNullable<AnthropicCountIn["tools"]>[number], at: number): unknown {
  if (tool.type && tool.type !== "custom") {
    throw unsupportedHere(
      `tools[${at}]`,
      `is of type ${tool.type.slice(0, 40)}; only tools of your own are possible.`,
    );
  }
  const { name, description, input_schema: parameters } = tool;
  const said = {
    name,
    ...(description ? { description } : {}),
    parameters: parameters ?? { type: "object" },
  };
  return {
    type: "function",
    function: typeof tool.strict === "boolean" ? { ...said, strict: tool.strict } : said,
  };
}

function toToolChoice({ type, name }: NonNullable<AnthropicCountIn["tool_choice"]>): unknown {
  switch (type) {
    case "any":
      return "required";
    case "tool":
      if (!name)
        throw new HttpError("invalid_input", "tool_choice.name: Field required.", { param: "tool_choice" });
      return { type: "function", function: { name } };
    default:
      return type;
  }
}

function toFormat(format: unknown): unknown {
  const { type, schema } = format as { type?: unknown; schema?: unknown };
  if (type !== "json_schema") throw unsupportedHere("output_config.format", "can be json_schema only.");
  return { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
}
