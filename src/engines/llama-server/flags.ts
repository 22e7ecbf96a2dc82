/**
 * The arguments of llama.cpp's server that a deployment may set. Pure. Left out on purpose: whatever names a file, an address,
 * another model or a key, and what Berth sets itself.
 */
import type { EngineArgs } from "../../core/deployment.ts";
import {
  type FlagsOutcome,
  type FlagTable,
  flagValue,
  readFlags,
  withoutFlag,
} from "../../core/engine-flags.ts";
import { refuseUnknownKnobs } from "../../core/standard-args.ts";

const cacheTypes = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"];
const onOffAuto = ["on", "off", "auto"];

const flags: FlagTable["flags"] = {
  "ctx-size": { kind: "integer", min: 16, max: 10_000_000 },
  parallel: { kind: "integer", min: 1, max: 256 },
  threads: { kind: "integer", min: 1, max: 256 },
  "threads-batch": { kind: "integer", min: 1, max: 256 },
  "batch-size": { kind: "integer", min: 32, max: 131_072 },
  "ubatch-size": { kind: "integer", min: 32, max: 131_072 },
  "flash-attn": { kind: "choice", choices: onOffAuto },
  "cache-type-k": { kind: "choice", choices: cacheTypes },
  "cache-type-v": { kind: "choice", choices: cacheTypes },
  "cache-prompt": { kind: "switch", negatable: true },
  "cache-reuse": { kind: "integer", min: 0, max: 1_000_000 },
  "cache-ram": { kind: "integer", min: 0, max: 1_048_576 },
  "kv-unified": { kind: "switch", negatable: true },
  "kv-offload": { kind: "switch", negatable: true },
  "swa-full": { kind: "switch" },
  "context-shift": { kind: "switch", negatable: true },
  "cont-batching": { kind: "switch", negatable: true },
  "gpu-layers": { kind: "integer", min: 0, max: 10_000 },
  "split-mode": { kind: "choice", choices: ["none", "layer", "row"] },
  "main-gpu": { kind: "integer", min: 0, max: 63 },
  "cpu-moe": { kind: "switch" },
  "n-cpu-moe": { kind: "integer", min: 0, max: 10_000 },
  repack: { kind: "switch", negatable: true },
  numa: { kind: "choice", choices: ["distribute", "isolate", "numactl"] },
  poll: { kind: "integer", min: 0, max: 100 },
  "rope-scaling": { kind: "choice", choices: ["none", "linear", "yarn"] },
  "rope-scale": { kind: "number", min: 0.01, max: 1000 },
  "rope-freq-base": { kind: "number", min: 0, max: 1e10 },
  "rope-freq-scale": { kind: "number", min: 0, max: 1000 },
  "yarn-orig-ctx": { kind: "integer", min: 0, max: 10_000_000 },
  "yarn-ext-factor": { kind: "number", min: -1, max: 1000 },
  "yarn-attn-factor": { kind: "number", min: -1, max: 1000 },
  "yarn-beta-slow": { kind: "number", min: -1, max: 1000 },
  "yarn-beta-fast": { kind: "number", min: -1, max: 1000 },
  predict: { kind: "integer", min: -1, max: 10_000_000 },
  seed: { kind: "integer", min: -1, max: 4_294_967_295 },
  temp: { kind: "number", min: 0, max: 100 },
  "top-k": { kind: "integer", min: 0, max: 1_000_000 },
  "top-p": { kind: "number", min: 0, max: 1 },
  "min-p": { kind: "number", min: 0, max: 1 },
  "repeat-penalty": { kind: "number", min: 0, max: 100 },
  "presence-penalty": { kind: "number", min: -100, max: 100 },
  "frequency-penalty": { kind: "number", min: -100, max: 100 },
  "reasoning-format": { kind: "choice", choices: ["none", "deepseek", "deepseek-legacy", "auto"] },
  "reasoning-budget": { kind: "integer", min: -1, max: 10_000_000 },
  "slot-prompt-similarity": { kind: "number", min: 0, max: 1 },
  warmup: { kind: "switch", negatable: true },
};

const short = {
  c: "ctx-size",
  np: "parallel",
  t: "threads",
  tb: "threads-batch",
  b: "batch-size",
  ub: "ubatch-size",
  fa: "flash-attn",
  ctk: "cache-type-k",
  ctv: "cache-type-v",
  kvu: "kv-unified",
  ngl: "gpu-layers",
  sm: "split-mode",
  mg: "main-gpu",
  cmoe: "cpu-moe",
  ncmoe: "n-cpu-moe",
  n: "predict",
  s: "seed",
  sps: "slot-prompt-similarity",
};

/** The knobs that it has, with the values it takes. */
const knobs = {
  maxContextSize: true,
  maxConcurrentRequests: true,
  maxImagesPerPrompt: [0],
  maxPrefillTokens: true,
  kvCacheDtype: ["auto"],
  enablePrefixCaching: true,
} as const;

export const mostSlots = 256;

/** @param known names that the installed version has; null where that is not known */
export function readLlamaServerFlags(
  args: readonly string[],
  known: ReadonlySet<string> | null,
): FlagsOutcome {
  return readFlags(args, { engine: "llama-server", flags, short, known });
}

/** Null when it can do all of it, else one sentence that names the first it cannot. */
export function refuseLlamaServerArgs(
  { standardArgs, extraArgs }: EngineArgs,
  known: ReadonlySet<string> | null,
): string | null {
  const refusal = refuseUnknownKnobs(standardArgs, "llama-server", knobs);
  if (refusal !== null) return refusal;
  if ((standardArgs.maxConcurrentRequests ?? 1) > mostSlots) {
    return `The llama-server engine cannot do max_concurrent_requests ${standardArgs.maxConcurrentRequests}, only up to ${mostSlots}.`;
  }
  if ((standardArgs.maxContextSize ?? 16) < 16) {
    return `The llama-server engine cannot do max_context_size ${standardArgs.maxContextSize}, only 16 and more.`;
  }
  const read = readLlamaServerFlags(extraArgs, known);
  return read.ok ? null : read.reason;
}

/** Tokens that one request may have where nothing says more: the server divides its context by its slots. */
const usualContextTokens = 4096;

export type LlamaServerPlan = {
  readonly slots: number;
  /** Of one request. */
  readonly contextTokens: number;
  /** What is left, in the server's own words. */
  readonly args: readonly string[];
};

/**
 * What the arguments come to. `--ctx-size` is what one request may have, as with every engine of Berth; the server's own counts all
 * slots together.
 * @param modelTokens the model's own context, and `fittingTokens` what of it has room; absent where it is not known
 */
export function planLlamaServer(
  { standardArgs, extraArgs }: EngineArgs,
  of: {
    readonly maxBatchSize: number;
    readonly modelTokens: number | undefined;
    readonly fittingTokens: number | undefined;
    readonly threads: number;
    readonly known: ReadonlySet<string> | null;
  },
): LlamaServerPlan {
  const read = readLlamaServerFlags(extraArgs, of.known);
  if (!read.ok) throw new Error(read.reason);
  const own = (name: string) => {
    const value = flagValue(read.value, name);
    return value === null ? undefined : Number(value);
  };
  const slots = own("parallel") ?? standardArgs.maxConcurrentRequests ?? of.maxBatchSize;
  const contextTokens =
    own("ctx-size") ??
    standardArgs.maxContextSize ??
    of.fittingTokens ??
    of.modelTokens ??
    usualContextTokens;
  const { maxPrefillTokens, enablePrefixCaching } = standardArgs;
  const has = (name: string) => read.value.includes(`--${name}`);
  const rest = withoutFlag(withoutFlag(read.value, "parallel"), "ctx-size");
  return {
    slots,
    contextTokens,
    args: [
      ...(of.threads === 0 || has("threads") ? [] : ["--threads", String(of.threads)]),
      ...(maxPrefillTokens === undefined || has("batch-size")
        ? []
        : ["--batch-size", String(maxPrefillTokens)]),
      ...(enablePrefixCaching === false && !has("cache-prompt") ? ["--no-cache-prompt"] : []),
      ...rest,
    ],
  };
}
