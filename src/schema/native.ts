/**
 * What clients send to DeepInfra's native inference paths, as far as Berth reads it: `input` for text, `inputs` for
 * embeddings, `queries` and `documents` for ranking. Parameters that are called the same in OpenAI's form are not looked
 * at here: they are checked there.
 */
import { z } from "zod";
import { laxInt } from "./lax.ts";

export const nativeTextIn = z.looseObject({
  input: z.string(),
  max_new_tokens: laxInt(z.number().int().min(1).max(1_000_000)).nullish(),
  num_responses: laxInt(z.number().int().min(1).max(4)).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  webhook: z.string().nullish(),
});

export const nativeEmbeddingsIn = z.looseObject({
  inputs: z.union([z.string(), z.array(z.string()).min(1).max(1024)]),
  webhook: z.string().nullish(),
});

export type NativeTextIn = z.output<typeof nativeTextIn>;
export type NativeEmbeddingsIn = z.output<typeof nativeEmbeddingsIn>;
