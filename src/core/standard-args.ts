/**
 * The engine knobs of the API that mean the same with every engine, as plain values with their ranges. Owns the ranges and
 * the wire's names for sentences; how a knob becomes an engine's own argument is that engine's matter. Pure.
 */

export const kvCacheDtypes = ["auto", "fp8"] as const;
export const quantizations = [
  "fp8",
  "awq",
  "gptq",
  "awq_marlin",
  "gptq_marlin",
  "compressed-tensors",
  "bitsandbytes",
] as const;

/** A knob that is absent is the engine's own choice. */
export type StandardArgs = {
  /** Tokens one request may take, prompt and answer. */
  readonly maxContextSize?: number;
  /** Requests one instance serves at once; comes before `max_batch_size`. */
  readonly maxConcurrentRequests?: number;
  readonly maxImagesPerPrompt?: number;
  /** Share of a GPU's memory that the engine takes. */
  readonly gpuMemoryFraction?: number;
  /** Prompt tokens computed in one step. */
  readonly maxPrefillTokens?: number;
  readonly kvCacheDtype?: (typeof kvCacheDtypes)[number];
  readonly enablePrefixCaching?: boolean;
  readonly quantization?: (typeof quantizations)[number];
};

export type StandardArg = keyof StandardArgs;

type Knob = {
  /** Name on the wire. */
  readonly wire: string;
  readonly kind: "integer" | "number" | "boolean" | "choice";
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  readonly text: string;
};

export const standardKnobs: Readonly<Record<StandardArg, Knob>> = {
  maxContextSize: {
    wire: "max_context_size",
    kind: "integer",
    min: 1,
    max: 10_000_000,
    text: "Tokens one request may take, prompt and answer together.",
  },
  maxConcurrentRequests: {
    wire: "max_concurrent_requests",
    kind: "integer",
    min: 1,
    max: 1024,
    text: "Requests one instance serves at once; comes before max_batch_size.",
  },
  maxImagesPerPrompt: {
    wire: "max_images_per_prompt",
    kind: "integer",
    min: 0,
    max: 1024,
    text: "Images one prompt may hold.",
  },
  gpuMemoryFraction: {
    wire: "gpu_memory_fraction",
    kind: "number",
    min: 0.5,
    max: 0.97,
    text: "Share of each GPU's memory that the engine takes.",
  },
  maxPrefillTokens: {
    wire: "max_prefill_tokens",
    kind: "integer",
    min: 512,
    max: 131_072,
    text: "Prompt tokens computed in one step.",
  },
  kvCacheDtype: {
    wire: "kv_cache_dtype",
    kind: "choice",
    choices: kvCacheDtypes,
    text: "How the context is kept in memory.",
  },
  enablePrefixCaching: {
    wire: "enable_prefix_caching",
    kind: "boolean",
    text: "Whether the common beginning of prompts is computed once.",
  },
  quantization: {
    wire: "quantization",
    kind: "choice",
    choices: quantizations,
    text: "How the weights are quantized.",
  },
};

/** True when both say the same of every knob. */
export function sameStandardArgs(a: StandardArgs, b: StandardArgs): boolean {
  return (Object.keys(standardKnobs) as StandardArg[]).every((knob) => a[knob] === b[knob]);
}

/**
 * Null when the engine has every knob that is set, else one sentence that names the first it has not and the engine.
 * @param known what the engine has: true, or the values it can be set to
 */
export function refuseUnknownKnobs(
  args: StandardArgs,
  engine: string,
  known: Readonly<Partial<Record<StandardArg, true | readonly unknown[]>>>,
): string | null {
  for (const knob of Object.keys(standardKnobs) as StandardArg[]) {
    const value = args[knob];
    const allowed = known[knob];
    if (value === undefined || allowed === true) continue;
    const { wire } = standardKnobs[knob];
    if (allowed === undefined) return `The ${engine} engine has no ${wire}.`;
    if (allowed.includes(value)) continue;
    return `The ${engine} engine cannot do ${wire} ${String(value)}, only ${allowed.map(String).join(", ")}.`;
  }
  return null;
}
