/**
 * What OpenAI's clients send to /v1/responses, as far as Berth reads it. Numbers and flags that mean the same in a chat
 * completion are not looked at here: they are checked there. Kinds of items, parts and tools are open: what to say of
 * unknown ones is the gateway's.
 */
import { z } from "zod";

const part = z.looseObject({ type: z.string(), text: z.string().nullish(), refusal: z.string().nullish() });

export const responsesItem = z.looseObject({
  type: z.string().nullish(),
  role: z.enum(["user", "assistant", "system", "developer"]).nullish(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  call_id: z.string().nullish(),
  name: z.string().nullish(),
  arguments: z.string().nullish(),
  output: z.union([z.string(), z.array(part)]).nullish(),
  summary: z.array(part).nullish(),
});

const tool = z.looseObject({
  type: z.string(),
  name: z.string().nullish(),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

export const responsesIn = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), z.array(responsesItem).min(1)]),
  instructions: z.string().nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: z
    .union([z.string(), z.looseObject({ type: z.string(), name: z.string().nullish() })])
    .nullish(),
  text: z
    .looseObject({
      format: z
        .looseObject({
          type: z.string(),
          name: z.string().nullish(),
          schema: z.record(z.string(), z.unknown()).nullish(),
        })
        .nullish(),
    })
    .nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish() }).nullish(),
  include: z.array(z.string()).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

export type ResponsesIn = z.output<typeof responsesIn>;
export type ResponsesItem = z.output<typeof responsesItem>;
