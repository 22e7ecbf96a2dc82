/**
 * The arguments the embedded engine understands, as one table: those of `extra_args`, which come through the same door as every
 * engine's, and those that the API's standard knobs become. Pure.
 */
import type { EngineArgs } from "../../core/deployment.ts";
import { type FlagTable, flagValue, readFlags } from "../../core/engine-flags.ts";
import { refuseUnknownKnobs, type StandardArgs } from "../../core/standard-args.ts";

export type EngineArguments = {
  /** Tokens one request may take (prompt and answer); null: the model's own, as far as memory goes. */
  readonly contextTokens: number | null;
  /** Threads that compute; null: the installation's setting. */
  readonly threads: number | null;
  /** Prompt tokens computed in one step; null: as many as a step holds. */
  readonly prefillTokens: number | null;
  /** 0: each prompt is computed from its first token; null and 1: what it shares with an earlier one is not. */
  readonly prefixCaching: number | null;
};

type Outcome = { ok: true; value: EngineArguments } | { ok: false; reason: string };

const table: FlagTable = {
  engine: "embedded",
  flags: {
    "ctx-size": { kind: "integer", min: 16, max: 10_000_000 },
    threads: { kind: "integer", min: 1, max: 256 },
    "prefill-tokens": { kind: "integer", min: 8, max: 131_072 },
    "prefix-caching": { kind: "integer", min: 0, max: 1 },
  },
  short: { c: "ctx-size", t: "threads" },
};

/** Requests one instance can serve at once. */
export const mostSlots = 256;

/** The knobs that this engine has, with the values it takes. */
const knobs = {
  maxContextSize: true,
  maxConcurrentRequests: true,
  maxImagesPerPrompt: [0],
  maxPrefillTokens: true,
  kvCacheDtype: ["auto"],
  enablePrefixCaching: true,
} as const;

/** Null when the engine can do all of it, else one sentence that names the first it cannot. */
export function refuseEngineArgs({ standardArgs, extraArgs }: EngineArgs): string | null {
  const refusal = refuseUnknownKnobs(standardArgs, "embedded", knobs);
  if (refusal !== null) return refusal;
  if ((standardArgs.maxConcurrentRequests ?? 1) > mostSlots) {
    return `The embedded engine cannot do max_concurrent_requests ${standardArgs.maxConcurrentRequests}, only up to ${mostSlots}.`;
  }
  if ((standardArgs.maxContextSize ?? 16) < 16) {
    return `The embedded engine cannot do max_context_size ${standardArgs.maxContextSize}, only 16 and more.`;
  }
  const parsed = parseEngineArguments(extraArgs);
  return parsed.ok ? null : parsed.reason;
}

/** The knobs in this engine's own words; those that count slots are the launch file's. */
export function translateStandardArgs(args: StandardArgs): readonly string[] {
  const { maxContextSize, maxPrefillTokens, enablePrefixCaching } = args;
  return [
    ...(maxContextSize === undefined ? [] : ["--ctx-size", String(maxContextSize)]),
    ...(maxPrefillTokens === undefined ? [] : ["--prefill-tokens", String(maxPrefillTokens)]),
    ...(enablePrefixCaching === undefined ? [] : ["--prefix-caching", String(Number(enablePrefixCaching))]),
  ];
}

export function parseEngineArguments(extraArgs: readonly string[]): Outcome {
  const read = readFlags(extraArgs, table);
  if (!read.ok) return read;
  const number = (name: string) => {
    const value = flagValue(read.value, name);
    return value === null ? null : Number(value);
  };
  return {
    ok: true,
    value: {
      contextTokens: number("ctx-size"),
      threads: number("threads"),
      prefillTokens: number("prefill-tokens"),
      prefixCaching: number("prefix-caching"),
    },
  };
}
