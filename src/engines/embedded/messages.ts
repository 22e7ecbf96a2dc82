/**
 * Reads the chat messages of a request into the form that chat templates expect: one text a message, tool calls with
 * parsed arguments. What the engine cannot take in (images, sound, files) is refused with the place where it stands. Pure.
 */
import { invalid, unsupported } from "./errors.ts";
import { type Body, isObject } from "./parameters.ts";
import type { ChatMessage } from "./template.ts";

const mostMessages = 10_000;
const roles = ["system", "developer", "user", "assistant", "tool"];
/** Further fields templates read. */
const passedOn = ["name", "tool_call_id", "reasoning_content"];

export function readMessages(body: Body): readonly ChatMessage[] {
  const { messages } = body;
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > mostMessages) {
    throw invalid("messages", `must be a list of 1 to ${mostMessages} messages.`);
  }
  return messages.map((message, index) => readMessage(message, `messages[${index}]`));
}

function readMessage(message: unknown, place: string): ChatMessage {
  if (!isObject(message)) throw invalid(place, "must be an object with role and content.");
  const { role, content, tool_calls: calls } = message;
  if (typeof role !== "string" || !roles.includes(role)) {
    throw invalid(`${place}.role`, `must be one of ${roles.join(", ")}.`);
  }
  const further = passedOn.filter((name) => typeof message[name] === "string");
  return {
    // Templates know the older name of the same role.
    role: role === "developer" ? "system" : role,
    content: readContent(content ?? "", `${place}.content`),
    ...Object.fromEntries(further.map((name) => [name, message[name]])),
    ...(Array.isArray(calls) && calls.length > 0
      ? { tool_calls: calls.map((call, index) => readCall(call, `${place}.tool_calls[${index}]`)) }
      : {}),
  };
}

function readContent(content: unknown, place: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw invalid(place, "must be a text or a list of parts.");
  const texts = content.map((part: unknown, index) => {
    if (!isObject(part)) throw invalid(`${place}[${index}]`, "must be an object with a type.");
    if (part.type === "text" && typeof part.text === "string") return part.text;
    const kind = typeof part.type === "string" ? part.type.slice(0, 40) : "unknown";
    throw unsupported(`${place}[${index}]`, `is of type ${kind}; this engine takes only text.`);
  });
  return texts.join("\n");
}

function readCall(call: unknown, place: string): unknown {
  if (!isObject(call) || !isObject(call.function) || typeof call.function.name !== "string") {
    throw invalid(place, "must be an object with function.name and function.arguments.");
  }
  const { name, arguments: given = "{}" } = call.function;
  return { id: call.id ?? null, type: "function", function: { name, arguments: parseArguments(given) } };
}

/** Templates write arguments as JSON themselves; text that is not JSON is passed on as it is. */
function parseArguments(given: unknown): unknown {
  if (typeof given !== "string") return given;
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}
