/**
 * /v1/tokenize and /v1/detokenize in vLLM's shapes, and what other faces need to have tokens counted: an engine's own
 * /tokenize. Owns what of such a request an engine sees.
 */
import { z } from "zod";
import { HttpError, openAiError } from "../../schema/errors.ts";
import { isServedName } from "../models.ts";
import { unreadable } from "./engine-answer.ts";
import type { Asked, Face } from "./face.ts";
import { readFields, unsupportedHere } from "./read-fields.ts";
import { TranslatedReply, type Words } from "./translated-reply.ts";

const flag = z.boolean().nullish();

const tokenizeIn = z.looseObject({
  model: z.string(),
  prompt: z.string().nullish(),
  messages: z
    .array(z.looseObject({ role: z.string() }))
    .min(1)
    .nullish(),
  tools: z.array(z.looseObject({})).nullish(),
  add_special_tokens: flag,
  add_generation_prompt: flag,
  continue_final_message: flag,
  return_token_strs: flag,
});

const detokenizeIn = z.looseObject({
  model: z.string(),
  tokens: z.array(z.int().min(0)).max(1_000_000),
});

/** Fields that an engine sees; a chat template of the client's own is not among them. */
const passed = [
  "prompt",
  "messages",
  "tools",
  "add_special_tokens",
  "add_generation_prompt",
  "continue_final_message",
  "return_token_strs",
] as const;

export const tokenizeFace: Face = {
  name: "openai",
  read({ path, body }) {
    return path.endsWith("/detokenize") ? readDetokenize(body) : readTokenize(body);
  },
  errorBody: (error) => ({
    ...openAiError(error),
    ...(error.issues.length > 0 ? { detail: error.issues } : {}),
  }),
};

const words: Pick<Words, "whole" | "errorBody"> = {
  whole: (json) => json,
  errorBody: tokenizeFace.errorBody,
};

function readTokenize(body: Buffer): Asked {
  const asked = readFields(tokenizeIn, body);
  const hasPrompt = typeof asked.prompt === "string";
  if (hasPrompt === Array.isArray(asked.messages)) {
    throw new HttpError("invalid_input", "Send either prompt, a text, or messages, a conversation.", {
      param: "prompt",
    });
  }
  const given = Object.fromEntries(
    passed.flatMap((name) =>
      asked[name] === undefined || asked[name] === null ? [] : [[name, asked[name]]],
    ),
  );
  return askToTokenize("/tokenize", asked.model, given, words);
}

function readDetokenize(body: Buffer): Asked {
  const { model, tokens } = readFields(detokenizeIn, body);
  return askToTokenize("/detokenize", model, { tokens }, words);
}

/** Asks an engine to turn text into tokens or back. `fields` are for the engine; the model is put in. */
export function askToTokenize(
  enginePath: "/tokenize" | "/detokenize",
  selector: string,
  fields: Readonly<Record<string, unknown>>,
  say: Pick<Words, "whole" | "errorBody">,
): Asked {
  if (selector === "")
    throw new HttpError("invalid_input", "model: it must not be empty.", { param: "model" });
  return {
    selectors: [selector],
    enginePath,
    kind: "time",
    tier: "default",
    failFast: false,
    isStream: false,
    bodyFor(model, name) {
      const { abilities } = model;
      if (!abilities.tokenize) {
        throw new HttpError(
          "unsupported_parameter",
          `The engine of this model (${abilities.engine}) cannot say what its tokens are.`,
          { param: "model" },
        );
      }
      if (hasImages(fields.messages))
        throw unsupportedHere("messages", "holds images: they cannot be counted.");
      const served = isServedName(model, name) ? name : model.name;
      return Buffer.from(JSON.stringify({ ...fields, model: served }));
    },
    reply: (response) => new TranslatedReply(response, { ...noStream, ...say, whole: checked(say) }, false),
  };
}

const noStream: Omit<Words, "whole" | "errorBody"> = {
  piece: () => {
    throw unreadable();
  },
  last: () => {
    throw unreadable();
  },
  failed: () => "",
  waiting: "",
};

const tokenizeOut = z.union([z.looseObject({ count: z.number() }), z.looseObject({ prompt: z.string() })]);

function checked({ whole }: Pick<Words, "whole">): Words["whole"] {
  return (json, usage) => {
    if (!tokenizeOut.safeParse(json).success) throw unreadable();
    return whole(json, usage);
  };
}

function hasImages(messages: unknown): boolean {
  return (
    Array.isArray(messages) &&
    messages.some(
      ({ content }: { content?: unknown }) =>
        Array.isArray(content) && content.some((part: { type?: unknown } | null) => part?.type !== "text"),
    )
  );
}
