/**
 * The arguments of vLLM that a deployment may set, and what the API's knobs are in its words. Pure. Left out on purpose:
 * whatever names a file, an address, code, another model or a key, and what Berth sets itself. LoRA and sleep mode would
 * come here once their requests have a way in.
 */
import type { EngineArgs } from "../../core/deployment.ts";
import {
  type FlagsOutcome,
  type FlagTable,
  flagValue,
  readFlags,
  withoutFlag,
} from "../../core/engine-flags.ts";
import { kvCacheDtypes, quantizations, refuseUnknownKnobs } from "../../core/standard-args.ts";

const onOff = { kind: "switch", negatable: true } as const;

const flags: FlagTable["flags"] = {
  "max-model-len": { kind: "integer", min: 16, max: 10_000_000 },
  "max-num-seqs": { kind: "integer", min: 1, max: 1024 },
  "max-num-batched-tokens": { kind: "integer", min: 16, max: 1_048_576 },
  "gpu-memory-utilization": { kind: "number", min: 0.05, max: 0.98 },
  dtype: { kind: "choice", choices: ["auto", "half", "float16", "bfloat16", "float", "float32"] },
  quantization: {
    kind: "choice",
    choices: [...quantizations, "modelopt", "modelopt_fp4", "mxfp4", "experts_int8", "gguf"],
  },
  "kv-cache-dtype": { kind: "choice", choices: [...kvCacheDtypes, "fp8_e4m3", "fp8_e5m2", "bfloat16"] },
  "calculate-kv-scales": onOff,
  "enable-prefix-caching": onOff,
  "enable-chunked-prefill": onOff,
  "enforce-eager": onOff,
  "async-scheduling": onOff,
  "enable-expert-parallel": onOff,
  "disable-custom-all-reduce": onOff,
  "disable-sliding-window": onOff,
  "enable-auto-tool-choice": onOff,
  "tool-call-parser": { kind: "name" },
  "reasoning-parser": { kind: "name" },
  "attention-backend": { kind: "name" },
  "scheduling-policy": { kind: "choice", choices: ["fcfs", "priority"] },
  "block-size": { kind: "choice", choices: ["1", "8", "16", "32", "64", "128", "256"] },
  "cpu-offload-gb": { kind: "number", min: 0, max: 4096 },
  "swap-space": { kind: "number", min: 0, max: 4096 },
  seed: { kind: "integer", min: 0, max: 4_294_967_295 },
  "max-logprobs": { kind: "integer", min: 0, max: 100 },
  "stream-interval": { kind: "integer", min: 1, max: 1000 },
  "max-num-partial-prefills": { kind: "integer", min: 1, max: 1024 },
  "max-long-partial-prefills": { kind: "integer", min: 1, max: 1024 },
  "long-prefill-token-threshold": { kind: "integer", min: 0, max: 10_000_000 },
  "decode-context-parallel-size": { kind: "integer", min: 1, max: 64 },
  "limit-mm-per-prompt": { kind: "counts", keys: ["image", "video", "audio"] },
};

const knobs = {
  maxContextSize: true,
  maxConcurrentRequests: true,
  maxImagesPerPrompt: true,
  gpuMemoryFraction: true,
  maxPrefillTokens: true,
  kvCacheDtype: true,
  enablePrefixCaching: true,
  quantization: true,
} as const;

export function readVllmFlags(args: readonly string[]): FlagsOutcome {
  return readFlags(args, { engine: "vllm", flags, short: { q: "quantization" } });
}

/** Null when it can do all of it, else one sentence that names the first it cannot. */
export function refuseVllmArgs({ standardArgs, extraArgs }: EngineArgs): string | null {
  const refusal = refuseUnknownKnobs(standardArgs, "vllm", knobs);
  if (refusal !== null) return refusal;
  if ((standardArgs.maxContextSize ?? 16) < 16) {
    return `The vllm engine cannot do max_context_size ${standardArgs.maxContextSize}, only 16 and more.`;
  }
  const read = readVllmFlags(extraArgs);
  return read.ok ? null : read.reason;
}

export type VllmPlan = { readonly slots: number; readonly args: readonly string[] };

/** What the arguments come to; those of the engine's own win over knobs. */
export function planVllm(
  { standardArgs, extraArgs }: EngineArgs,
  of: {
    readonly maxBatchSize: number;
    readonly fittingTokens: number | undefined;
    readonly gpus: number;
  },
): VllmPlan {
  const read = readVllmFlags(extraArgs);
  if (!read.ok) throw new Error(read.reason);
  const own = flagValue(read.value, "max-num-seqs");
  const slots = own === null ? (standardArgs.maxConcurrentRequests ?? of.maxBatchSize) : Number(own);
  const { maxPrefillTokens, gpuMemoryFraction, kvCacheDtype, quantization, maxImagesPerPrompt } =
    standardArgs;
  const knob = (name: string, value: string | number | undefined) =>
    value === undefined || read.value.includes(`--${name}`) ? [] : [`--${name}`, String(value)];
  const caching = standardArgs.enablePrefixCaching;
  const isCachingSaid = read.value.some((arg) => /^--(no-)?enable-prefix-caching$/.test(arg));
  return {
    slots,
    args: [
      ...["--max-num-seqs", String(slots)],
      ...(of.gpus > 1 ? ["--tensor-parallel-size", String(of.gpus)] : []),
      ...knob("max-model-len", standardArgs.maxContextSize ?? of.fittingTokens),
      ...knob("max-num-batched-tokens", maxPrefillTokens),
      ...knob("gpu-memory-utilization", gpuMemoryFraction),
      ...knob("kv-cache-dtype", kvCacheDtype),
      ...knob("quantization", quantization),
      ...knob(
        "limit-mm-per-prompt",
        maxImagesPerPrompt === undefined ? undefined : JSON.stringify({ image: maxImagesPerPrompt }),
      ),
      ...(caching === undefined || isCachingSaid ? [] : [`--${caching ? "" : "no-"}enable-prefix-caching`]),
      ...withoutFlag(read.value, "max-num-seqs"),
    ],
  };
}
