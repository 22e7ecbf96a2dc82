/**
 * What an answer must look like: reads `response_format`, `tools` and `tool_choice` and turns them into a grammar where
 * the format is promised. A promise that cannot be kept is refused by name. Pure.
 */

import { RegexError } from "../../core/regex.ts";
import { invalid, RequestError, unsupported } from "./errors.ts";
import { addSchema, grammarText, jsonObjectGrammar, literal, schemaToGbnf } from "./gbnf.ts";
import { SchemaError } from "./gbnf-keywords.ts";
import { addRegex } from "./gbnf-regex.ts";
import { type Body, isObject, readFlag } from "./parameters.ts";

const mostTools = 256;

type Tool = { readonly name: string; readonly parameters: Body; readonly isStrict: boolean };

export type Constraint = {
  /** Tools to show to the model, as the client sent them; empty when it must not call any. */
  readonly tools: readonly unknown[];
  /** GBNF for the whole answer, null for free text. */
  readonly grammar: string | null;
  /** An answer ends after this many calls; null: as many as the model makes. */
  readonly mostCalls: number | null;
};

export function readConstraint(body: Body): Constraint {
  const format = readResponseFormat(body);
  const tools = readTools(body);
  const choice = body.tool_choice ?? "auto";
  const mostCalls = (readFlag(body, "parallel_tool_calls") ?? true) ? null : 1;
  if (tools.length === 0) {
    if (choice !== "auto" && choice !== "none") throw invalid("tool_choice", "needs tools.");
    return { tools: [], grammar: format, mostCalls: null };
  }
  if (choice === "none") return { tools: [], grammar: format, mostCalls: null };
  if (format !== null) {
    throw unsupported("response_format", "cannot be combined with tools that may be called.");
  }
  const shown = body.tools as readonly unknown[];
  if (choice === "auto") return { tools: shown, grammar: toolsGrammar(tools, "auto"), mostCalls };
  const callable = choice === "required" ? tools : [namedTool(tools, choice)];
  const isOne = choice !== "required" || mostCalls === 1;
  return {
    tools: shown,
    grammar: toolsGrammar(callable, isOne ? "one" : "several"),
    mostCalls: isOne ? 1 : null,
  };
}

/** A grammar, or null for free text. */
function readResponseFormat(body: Body): string | null {
  const format = body.response_format ?? null;
  if (format === null) return null;
  if (!isObject(format)) throw invalid("response_format", "must be an object with a type.");
  if (format.type === "text") return null;
  if (format.type === "json_object") return jsonObjectGrammar;
  if (format.type === "regex") return readRegex(format.regex);
  if (format.type !== "json_schema") {
    throw unsupported(
      "response_format",
      `of type ${printable(format.type)} is not supported; use json_schema or regex.`,
    );
  }
  const { schema } = isObject(format.json_schema) ? format.json_schema : {};
  if (!isObject(schema)) throw invalid("response_format", "of type json_schema needs json_schema.schema.");
  try {
    return schemaToGbnf(schema);
  } catch (error) {
    if (error instanceof SchemaError) {
      throw new RequestError("unsupported_parameter", error.message, "response_format");
    }
    throw error;
  }
}

/** The whole answer matches the expression. */
function readRegex(source: unknown): string {
  if (typeof source !== "string" || source === "") {
    throw invalid("response_format", "of type regex needs regex, a text that is not empty.");
  }
  try {
    const rules = new Map<string, string>();
    return grammarText(addRegex(source, rules), rules);
  } catch (error) {
    if (error instanceof RegexError)
      throw unsupported("response_format", `has a regex that ${error.message}`);
    if (error instanceof SchemaError) throw unsupported("response_format", "has a regex that is too large.");
    throw error;
  }
}

function readTools(body: Body): readonly Tool[] {
  const tools = body.tools ?? [];
  if (!Array.isArray(tools) || tools.length > mostTools) {
    throw invalid("tools", `must be a list of at most ${mostTools} tools.`);
  }
  return tools.map((tool: unknown, index) => {
    const place = `tools[${index}]`;
    if (!isObject(tool) || !isObject(tool.function)) {
      throw invalid(place, "must be an object with type function and a function.");
    }
    if (tool.type !== "function") throw unsupported(`${place}.type`, "can only be function.");
    const { name, parameters = {}, strict } = tool.function;
    if (typeof name !== "string" || !/^[\w.:-]{1,128}$/.test(name)) {
      throw invalid(`${place}.function.name`, "must be 1 to 128 letters, digits or one of _ - . :");
    }
    if (!isObject(parameters)) throw invalid(`${place}.function.parameters`, "must be a JSON schema.");
    return { name, parameters, isStrict: strict === true };
  });
}

function namedTool(tools: readonly Tool[], choice: unknown): Tool {
  const named = isObject(choice) && isObject(choice.function) ? choice.function.name : null;
  const tool = tools.find(({ name }) => name === named);
  if (tool !== undefined) return tool;
  throw invalid("tool_choice", "must be none, auto, required or name one of the tools.");
}

function toolsGrammar(tools: readonly Tool[], amount: "one" | "several" | "auto"): string {
  try {
    return callsGrammar(tools, amount);
  } catch (error) {
    if (error instanceof SchemaError) throw new RequestError("unsupported_parameter", error.message, "tools");
    throw error;
  }
}

/**
 * Calls in Hermes style: exactly one, several, or ("auto") as many as the model likes with free text around them. Only the
 * given tools can be called, and arguments follow their schemas; where a schema cannot be enforced, they are any object.
 */
function callsGrammar(tools: readonly Tool[], amount: "one" | "several" | "auto"): string {
  let rules = new Map<string, string>();
  const calls = tools.map((tool) => {
    const extended = new Map(rules);
    let argument = "object";
    try {
      argument = addSchema({ type: "object", ...tool.parameters }, extended);
      rules = extended;
    } catch (error) {
      if (!(error instanceof SchemaError) || tool.isStrict) throw error;
    }
    const start = literal(`${callStart.slice(-1)}\n{"name": ${JSON.stringify(tool.name)}, "arguments": `);
    return `${start} ${argument} ${literal("}\n</tool_call>")}`;
  });
  rules.set("call", calls.join(" | "));
  const whole = `${literal(callStart.slice(0, -1))} call`;
  if (amount === "one") return grammarText(whole, rules);
  if (amount === "several") return grammarText(`${whole} ("\\n" ${whole}){0,15}`, rules);
  for (const [name, body] of freeTextRules()) rules.set(name, body);
  return grammarText("text-0", rules);
}

const callStart = "<tool_call>";

/**
 * Text in which every `<tool_call>` is followed by a call: one rule for each beginning of it, `text-n` being what may
 * come after n of its characters. The last character belongs to the rule `call`.
 */
function freeTextRules(): [string, string][] {
  return Array.from({ length: callStart.length }, (_, met) => {
    const next = callStart[met] ?? "";
    const following = met === callStart.length - 1 ? "call text-0" : `${literal(next)} text-${met + 1}`;
    // "<" begins anew wherever it stands; it occurs only at the beginning.
    const anew = met === 0 ? [] : [`"<" text-1`];
    return [`text-${met}`, ["", `[^<${met === 0 ? "" : next}] text-0`, ...anew, following].join(" | ")];
  });
}

function printable(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 40) : "unknown";
}
