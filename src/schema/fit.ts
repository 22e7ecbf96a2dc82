/** The wire shapes of `GET /v1/berth/fit`, Berth's own: whether a model fits, before anything is fetched. */
import { z } from "zod";
import { gpuNames } from "./deploy.ts";
import { laxInt } from "./lax.ts";

const bytes = z.number().int().min(0);
const tokens = z.int().min(0);

export const fitQuery = z.object({
  /** `owner/name` or `file:///path`, optionally followed by `:QUANTIZATION`. */
  source: z.string().min(1).max(1100),
  revision: z.string().max(200).optional(),
  /** What an instance is to have; without it, what would do is listed alone. */
  gpu: z.enum(gpuNames).optional(),
  num_gpus: laxInt(z.int().min(1).max(8)).default(1),
  max_batch_size: laxInt(z.int().min(1).max(1024)).default(96),
  /** Tokens one request may take; without it, as many as the model does. */
  context: laxInt(z.int().min(1).max(10_000_000)).optional(),
  kv_cache_dtype: z.enum(["auto", "fp8"]).optional(),
});

export const fitLineOut = z.object({
  what: z.enum(["weights", "cache", "activations", "graphs", "runtime", "reserve"]),
  bytes,
  text: z.string(),
});

export const configurationOut = z.object({
  gpu: z.enum(gpuNames),
  /** 0: the CPU. */
  num_gpus: z.int().min(0),
  /** A machine here has it. */
  here: z.boolean(),
  /** `shorter`: it runs, but not `max_batch_size` requests of `context` at the same time. */
  verdict: z.enum(["fits", "shorter", "does_not_fit"]),
  max_batch_size: z.int(),
  context: tokens,
  /** Tokens that each of `max_batch_size` requests can have at the same time. */
  context_for_all: tokens,
  /** Tokens that one request can have while it is alone. */
  context_for_one: tokens,
  /** On one GPU, or the machine. */
  needed_bytes: bytes,
  memory_bytes: bytes,
  lines: z.array(fitLineOut),
  usd_per_hour: z.number(),
  /** The answer in a sentence. */
  text: z.string(),
});
export type ConfigurationOut = z.output<typeof configurationOut>;

export const fitOut = z.object({
  source: z.string(),
  commit: z.string(),
  /** The engine that would load it; null: none is installed that can. */
  engine: z.string().nullable(),
  model: z.object({
    architecture: z.string().nullable(),
    parameters: z.number().nullable(),
    weight_bytes: bytes,
    quantization: z.string().nullable(),
    context: z.number().nullable(),
  }),
  /** Null where no GPU was named, or too little is known of the model. */
  asked: configurationOut.nullable(),
  /** The fewest GPUs of each type that hold the model and a whole request; what is here first. */
  configurations: z.array(configurationOut),
});
export type FitOut = z.output<typeof fitOut>;
