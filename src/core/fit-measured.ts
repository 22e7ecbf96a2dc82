/**
 * What an engine reported of its memory once it had loaded a model, and how that corrects the next estimate for the same
 * weights, engine and GPUs. Pure. What was measured counts more than what was computed, but only within reason: a report
 * that is far from the sum is more likely misread than the sum is wrong.
 */

/** Bytes on the fullest GPU, or of the process on the CPU; null where the engine does not say. */
export type MeasuredMemory = {
  readonly weightBytes: number | null;
  /** The peak beside weights and cache while the longest step ran, CUDA context and graphs with it. */
  readonly workBytes: number | null;
  /** Tokens that the cache holds and the bytes it takes. */
  readonly cacheBytes: number | null;
  readonly cacheTokens: number | null;
};

/** A report is believed from a third to three times the estimate. */
const believedFactor = 3;

export type Estimate = { readonly weightBytes: number; readonly workBytes: number };

/** The estimate with what was measured in place of what was computed. */
export function correct(estimate: Estimate, measured: MeasuredMemory | null): Estimate {
  if (measured === null) return estimate;
  return {
    weightBytes: believe(measured.weightBytes, estimate.weightBytes),
    workBytes: believe(measured.workBytes, estimate.workBytes),
  };
}

function believe(measured: number | null, estimated: number): number {
  if (measured === null || !Number.isFinite(measured) || measured <= 0) return estimated;
  const isNear = measured <= estimated * believedFactor && measured >= estimated / believedFactor;
  return isNear ? Math.ceil(measured) : estimated;
}

/** Under which name a measurement is remembered: it holds for these weights, this engine and these GPUs alone. */
export function measurementKey(of: {
  readonly commit: string;
  readonly entryFile: string;
  readonly engine: string;
  readonly gpu: string;
  readonly numGpus: number;
}): string {
  return ["memory", of.engine, `${of.numGpus}x${of.gpu}`, of.commit, printable(of.entryFile)].join(" ");
}

/** A path of a repository may hold what a database does not take in a key. */
function printable(path: string): string {
  const spell = (character: string) => `%${character.codePointAt(0)?.toString(16) ?? ""}`;
  return [...path].map((one) => (/^[\w./-]$/.test(one) ? one : spell(one))).join("");
}

const fields = ["weightBytes", "workBytes", "cacheBytes", "cacheTokens"] as const;

/** Reads what `JSON.stringify` wrote; null where it is something else. */
export function readMeasurement(text: string | null): MeasuredMemory | null {
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // A note that somebody edited is as good as none.
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const found = value as Record<string, unknown>;
  const number = (name: (typeof fields)[number]) => {
    const one = found[name];
    return typeof one === "number" && Number.isFinite(one) && one > 0 ? one : null;
  };
  return {
    weightBytes: number("weightBytes"),
    workBytes: number("workBytes"),
    cacheBytes: number("cacheBytes"),
    cacheTokens: number("cacheTokens"),
  };
}
