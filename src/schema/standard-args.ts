/**
 * The API's typed engine knobs on the wire: checked at submission, no other keys, each null or absent for the engine's own
 * choice. Ranges equal the core's; a test compares them.
 */
import { z } from "zod";
import { laxInt } from "./lax.ts";
import { fractionMessage } from "./validation.ts";

export const standardArgsIn = z
  .strictObject({
    max_context_size: laxInt(z.int().min(1).max(10_000_000)).nullish(),
    max_concurrent_requests: laxInt(z.int().min(1).max(1024)).nullish(),
    max_images_per_prompt: laxInt(z.int().min(0).max(1024)).nullish(),
    gpu_memory_fraction: z.number(fractionMessage).min(0.5).max(0.97).nullish(),
    max_prefill_tokens: laxInt(z.int().min(512).max(131_072)).nullish(),
    kv_cache_dtype: z.enum(["auto", "fp8"]).nullish(),
    enable_prefix_caching: z.boolean().nullish(),
    quantization: z
      .enum(["fp8", "awq", "gptq", "awq_marlin", "gptq_marlin", "compressed-tensors", "bitsandbytes"])
      .nullish(),
  })
  .meta({ id: "StandardArgs" });
export type StandardArgsIn = z.output<typeof standardArgsIn>;

/** Only knobs that are set. */
export const standardArgsOut = z.object({
  max_context_size: z.int().optional(),
  max_concurrent_requests: z.int().optional(),
  max_images_per_prompt: z.int().optional(),
  gpu_memory_fraction: z.number().optional(),
  max_prefill_tokens: z.int().optional(),
  kv_cache_dtype: z.string().optional(),
  enable_prefix_caching: z.boolean().optional(),
  quantization: z.string().optional(),
});
export type StandardArgsOut = z.output<typeof standardArgsOut>;
