/**
 * Reads catalogue files: `models.yaml` beside this, and one that an administrator may add. Owns the file's shape; a file
 * that is wrong names the entry and the field. Must not judge the models.
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { gpuTypes } from "../core/deployment.ts";
import type { Catalogue, CatalogueEntry } from "../core/known-models.ts";
import { kvCacheDtypes, quantizations } from "../core/standard-args.ts";

/** For example `2xH100-80GB`. */
const gpuConfig = z
  .string()
  .regex(/^[1-8]x/, "1x to 8x a GPU type")
  .transform((text) => ({ numGpus: Number(text[0]), gpu: text.slice(2) }))
  .pipe(z.object({ numGpus: z.int(), gpu: z.enum(gpuTypes) }));

const preset = z.strictObject({
  gpus: gpuConfig,
  /** Tells apart presets of the same GPUs. */
  label: z.string().default(""),
  engine: z.enum(["vllm", "embedded"]).default("vllm"),
  standard_args: z
    .strictObject({
      max_context_size: z.int().min(1).max(10_000_000),
      max_concurrent_requests: z.int().min(1).max(1024),
      max_images_per_prompt: z.int().min(0).max(1024),
      gpu_memory_fraction: z.number().min(0.5).max(0.97),
      max_prefill_tokens: z.int().min(512).max(131_072),
      kv_cache_dtype: z.enum(kvCacheDtypes),
      enable_prefix_caching: z.boolean(),
      quantization: z.enum(quantizations),
    })
    .partial()
    .default({}),
  extra_args: z.array(z.string()).default([]),
});

const entry = z.strictObject({
  name: z.string().min(1),
  title: z.string().min(1),
  /** Null where there are only weights for the CPU; absent where `name` is the repository. */
  repo: z.string().nullish(),
  gguf: z.string().optional(),
  task: z.enum(["text-generation", "embeddings"]).default("text-generation"),
  license: z.string().min(1),
  parameters: z.int().min(1),
  bits: z.number().min(1).max(32).default(16),
  context: z.int().min(1),
  /** Layers that keep keys and values, and the elements that each keeps for a token. */
  kv_layers: z.int().min(0),
  kv_width: z.int().min(0),
  source: z.string().min(1),
  vllm_args: z.array(z.string()).default([]),
  presets: z.array(preset).min(1),
});

const file = z.array(entry);

/** Entries of the later files come before those of the same name in earlier ones. */
export function readCatalogue(paths: readonly string[]): Catalogue {
  const byName = new Map<string, CatalogueEntry>();
  for (const path of paths) {
    for (const found of parseCatalogue(readFileSync(path, "utf8"), path)) {
      byName.set(found.name.toLowerCase(), found);
    }
  }
  return [...byName.values()];
}

/** @throws Error that names the file, the entry and the field */
export function parseCatalogue(text: string, path: string): Catalogue {
  const outcome = file.safeParse(parse(text));
  if (outcome.success) return outcome.data.map(toEntry);
  const [issue] = outcome.error.issues;
  throw new Error(`${path} is not a catalogue: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}.`);
}

function toEntry(raw: z.output<typeof entry>): CatalogueEntry {
  return {
    name: raw.name,
    title: raw.title,
    repo: raw.repo === undefined ? raw.name : raw.repo,
    ggufRepo: raw.gguf ?? null,
    task: raw.task,
    license: raw.license,
    parameters: raw.parameters,
    contextTokens: raw.context,
    bitsPerParameter: raw.bits,
    kvBytesPerToken: raw.kv_layers * raw.kv_width * 2,
    source: raw.source,
    presets: raw.presets.map((found) => toPreset(raw, found)),
  };
}

function toPreset(
  { name, vllm_args }: z.output<typeof entry>,
  raw: z.output<typeof preset>,
): CatalogueEntry["presets"][number] {
  const { gpu, numGpus } = raw.gpus;
  const { standard_args: given } = raw;
  const standardArgs = {
    maxContextSize: given.max_context_size,
    maxConcurrentRequests: given.max_concurrent_requests,
    maxImagesPerPrompt: given.max_images_per_prompt,
    gpuMemoryFraction: given.gpu_memory_fraction,
    maxPrefillTokens: given.max_prefill_tokens,
    kvCacheDtype: given.kv_cache_dtype,
    enablePrefixCaching: given.enable_prefix_caching,
    quantization: given.quantization,
  };
  const set = Object.entries(standardArgs).filter(([, value]) => value !== undefined);
  return {
    id: `${name}@${numGpus}x${gpu}${raw.label === "" ? "" : `#${raw.label.replaceAll(" ", "-")}`}`,
    gpu,
    numGpus,
    engine: raw.engine,
    args: {
      standardArgs: Object.fromEntries(set),
      extraArgs: raw.engine === "vllm" ? [...vllm_args, ...raw.extra_args] : raw.extra_args,
    },
    label: raw.label,
  };
}
