/**
 * What Anthropic's clients send to /anthropic/v1/messages and count_tokens, as far as Berth reads it. Numbers and flags
 * that mean the same in OpenAI's form are not looked at here: they are checked there. Unknown fields are let through,
 * unknown kinds of blocks too: what to say of them is the gateway's.
 */
import { z } from "zod";

/** `cache_control` and its like on any of these change no answer. */
const textBlock = z.looseObject({ type: z.literal("text"), text: z.string() });

const block = z.looseObject({ type: z.string() });

export const anthropicMessage = z.looseObject({
  role: z.enum(["user", "assistant", "system"]),
  content: z.union([z.string(), z.array(block)]),
});

const tool = z.looseObject({
  name: z.string(),
  type: z.string().nullish(),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()).nullish(),
});

const thinking = z.looseObject({
  /** An older form of DeepInfra's. */
  enabled: z.boolean().nullish(),
  type: z.enum(["enabled", "disabled", "adaptive"]).nullish(),
});

const shared = {
  model: z.string(),
  messages: z.array(anthropicMessage).min(1),
  system: z.union([z.string(), z.array(textBlock)]).nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: z
    .looseObject({
      type: z.enum(["auto", "any", "tool", "none"]),
      name: z.string().nullish(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .nullish(),
  thinking: thinking.nullish(),
};

export const anthropicMessagesIn = z.looseObject({
  ...shared,
  stop_sequences: z.array(z.string()).max(16).nullish(),
  metadata: z.looseObject({ user_id: z.string().nullish() }).nullish(),
  output_config: z.looseObject({ format: z.unknown().optional() }).nullish(),
  mcp_servers: z.array(z.unknown()).max(0).nullish(),
});

export const anthropicCountIn = z.looseObject(shared);

export type AnthropicMessagesIn = z.output<typeof anthropicMessagesIn>;
export type AnthropicCountIn = z.output<typeof anthropicCountIn>;
export type AnthropicMessage = z.output<typeof anthropicMessage>;

/** Blocks by their kind, for those that Berth understands. */
export const anthropicBlocks = {
  text: textBlock,
  image: z.looseObject({
    type: z.literal("image"),
    source: z.discriminatedUnion("type", [
      z.looseObject({ type: z.literal("base64"), media_type: z.string(), data: z.string() }),
      z.looseObject({ type: z.literal("url"), url: z.string() }),
    ]),
  }),
  document: z.looseObject({
    type: z.literal("document"),
    title: z.string().nullish(),
    context: z.string().nullish(),
    source: z.looseObject({ type: z.string(), data: z.string().nullish() }),
  }),
  tool_use: z.looseObject({
    type: z.literal("tool_use"),
    id: z.string(),
    name: z.string(),
    input: z.unknown().optional(),
  }),
  tool_result: z.looseObject({
    type: z.literal("tool_result"),
    tool_use_id: z.string(),
    content: z.union([z.string(), z.array(block)]).nullish(),
    is_error: z.boolean().nullish(),
  }),
  thinking: z.looseObject({ type: z.literal("thinking"), thinking: z.string() }),
  redacted_thinking: z.looseObject({ type: z.literal("redacted_thinking") }),
} as const;
