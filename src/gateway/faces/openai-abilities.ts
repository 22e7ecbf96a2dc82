/**
 * Holds what a request asks against what an engine can do. Owns the sentence that says which parameter no engine of this
 * kind honours; must not know how bodies are read. Pure.
 */
import type { Abilities } from "../../core/abilities.ts";
import { HttpError } from "../../schema/errors.ts";
import type { EnginePath } from "./face.ts";

/** What of a request only some engines can do; each is the parameter that asks for it, null when none does. */
export type Needs = {
  readonly tools: string | null;
  readonly format: "json_object" | "json_schema" | "regex" | null;
  readonly logprobs: string | null;
  readonly choices: number;
  readonly media: string | null;
  readonly reasoning: string | null;
};

export const noNeeds: Needs = {
  tools: null,
  format: null,
  logprobs: null,
  choices: 1,
  media: null,
  reasoning: null,
};

const pathAbility = {
  "/v1/chat/completions": ["chat", "chat completions"],
  "/v1/completions": ["completions", "completions"],
  "/v1/embeddings": ["embeddings", "embeddings"],
  "/tokenize": ["tokenize", "tokenizing"],
  "/detokenize": ["tokenize", "detokenizing"],
} as const;

const formatAbility = { json_object: "jsonObject", json_schema: "jsonSchema", regex: "regex" } as const;

/** Throws HttpError `unsupported_parameter` for the first need that the engine does not meet. */
export function refuseUnmet(abilities: Abilities, path: EnginePath, needs: Needs): void {
  const { engine } = abilities;
  const refuse = (param: string, what: string) => {
    throw new HttpError(
      "unsupported_parameter",
      `The engine of this model (${engine}) cannot do ${what}: ${param}.`,
      {
        param,
      },
    );
  };
  const [ability, what] = pathAbility[path];
  if (!abilities[ability]) refuse("model", what);
  if (needs.tools !== null && !abilities.tools) refuse(needs.tools, "function calling");
  if (needs.format !== null && !abilities[formatAbility[needs.format]]) {
    refuse("response_format", `${needs.format} output`);
  }
  if (needs.logprobs !== null && !abilities.logprobs) refuse(needs.logprobs, "log probabilities");
  if (needs.choices > abilities.maxChoices) refuse("n", `more than ${abilities.maxChoices} choices`);
  if (needs.media !== null && !abilities.images) refuse(needs.media, "images, sound or files");
  if (needs.reasoning !== null && !abilities.reasoning)
    refuse(needs.reasoning, "reasoning apart from the answer");
}
