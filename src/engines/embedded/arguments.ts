/**
 * The arguments the embedded engine understands, as one table: those of `extra_args`, and those that the API's standard
 * knobs become. Pure. Everything that is not in the table is refused by name: an argument that is silently dropped would
 * be a promise that is not kept.
 */
import type { EngineArgs } from "../../core/deployment.ts";
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

const table = {
  "--ctx-size": { field: "contextTokens", min: 16, max: 10_000_000 },
  "--threads": { field: "threads", min: 1, max: 256 },
  "--prefill-tokens": { field: "prefillTokens", min: 8, max: 131_072 },
  "--prefix-caching": { field: "prefixCaching", min: 0, max: 1 },
} as const;

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

/** Accepts `--name N` and `--name=N`; the last of a repeated argument counts. */
export function parseEngineArguments(extraArgs: readonly string[]): Outcome {
  const value: { -readonly [Field in keyof EngineArguments]: number | null } = {
    contextTokens: null,
    threads: null,
    prefillTokens: null,
    prefixCaching: null,
  };
  for (let at = 0; at < extraArgs.length; at++) {
    const [name = "", inline] = (extraArgs[at] ?? "").split("=", 2);
    const known = Object.hasOwn(table, name) ? table[name as keyof typeof table] : null;
    if (known === null) {
      const allowed = Object.keys(table).join(", ");
      return {
        ok: false,
        reason: `The embedded engine has no argument ${printable(name)}; it takes ${allowed}.`,
      };
    }
    const given = inline ?? extraArgs[++at] ?? "";
    const number = /^\d{1,9}$/.test(given) ? Number(given) : Number.NaN;
    if (!(number >= known.min && number <= known.max)) {
      return { ok: false, reason: `${name} takes a whole number from ${known.min} to ${known.max}.` };
    }
    value[known.field] = number;
  }
  return { ok: true, value };
}

/** What was given, short and on one line, as it goes into a sentence. */
function printable(name: string): string {
  return JSON.stringify(name.slice(0, 60));
}
