/** The facts of a model as they lie in a deployment's row, checked when they are read. Owns their shape in the store. */
import { z } from "zod";
import type { ModelFacts } from "../core/model-facts.ts";

const size = z.number().min(0);
const known = size.nullable();
const bytes = z.record(z.string(), size);
const parts = [
  "embedding",
  "output",
  "attention",
  "feedForward",
  "routedExperts",
  "encoder",
  "other",
] as const;

export const modelFacts: z.ZodType<ModelFacts> = z.strictObject({
  format: z.enum(["safetensors", "gguf", "pickle"]),
  architecture: z.string().nullable(),
  task: z.string(),
  parameters: known,
  weightBytes: size,
  bytesByDtype: bytes,
  bytesByPart: z.strictObject(Object.fromEntries(parts.map((part) => [part, size.exactOptional()]))),
  isCounted: z.boolean(),
  quantization: z.strictObject({ method: z.string(), bits: known }).nullable(),
  layers: known,
  layerKinds: z
    .strictObject({
      fullAttention: size,
      slidingAttention: size,
      recurrent: size,
      stateless: size,
      windowTokens: known,
      recurrentStateSize: known,
      fullHeads: z.strictObject({ kvHeads: size, headSize: size }).exactOptional(),
      compressedTokens: size.exactOptional(),
    })
    .nullable(),
  hiddenSize: known,
  intermediateSize: known,
  vocabularySize: known,
  contextTokens: known,
  heads: known,
  kvHeads: known,
  headSize: known,
  valueHeadSize: known,
  latentAttention: z
    .strictObject({
      kvRank: size,
      queryRank: known,
      ropeHeadSize: size,
      plainHeadSize: known,
      valueHeadSize: known,
    })
    .nullable(),
  experts: z.strictObject({ total: size, active: known, shared: size, intermediateSize: known }).nullable(),
  hasTiedEmbeddings: z.boolean(),
  hasChatTemplate: z.boolean(),
  adapter: z.strictObject({ base: z.string().nullable(), rank: known }).nullable(),
});
