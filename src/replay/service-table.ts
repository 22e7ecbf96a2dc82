/**
 * What was measured of a model on a type of GPU: how long a prompt takes, and how long each token takes for so many requests
 * at once. Data and where it is from; computes nothing.
 *
 * The tables are medians of the measurements that the authors of Splitwise (Patel et al., ISCA 2024) published with their
 * simulator: github.com/Mutinifni/splitwise-sim, data/perf_model.csv of commit 8f99e7d (MIT): Llama 2 70B in 16 bits on the
 * GPUs of DGX-A100 and DGX-H100, prompts of one request, tokens after a prompt of 512. Their row of 64 requests on two GPUs is
 * left out: it took less time than that of 32, so it cannot have been 64.
 */
import type { GpuType } from "../core/deployment.ts";

/** Pairs of an amount and milliseconds, in ascending order of the amount. */
export type Curve = readonly (readonly [amount: number, ms: number])[];

export type ServiceTable = {
  /** What was measured, for a person. */
  readonly name: string;
  /** Milliseconds to compute a prompt of so many tokens by itself. */
  readonly promptMs: Curve;
  /** Milliseconds to the next token when so many requests are being answered at once. */
  readonly tokenMs: Curve;
};

type MeasuredTable = ServiceTable & { readonly gpu: GpuType; readonly numGpus: number };

const promptTokens = [128, 256, 512, 1024, 2048, 4096, 8192];
const requestsAtOnce = [1, 2, 4, 8, 16, 32, 64];

function measured(
  gpu: GpuType,
  numGpus: number,
  promptMs: readonly number[],
  tokenMs: readonly number[],
): MeasuredTable {
  return {
    name: `Llama 2 70B (16 bits) on ${numGpus} x ${gpu}`,
    ...{ gpu, numGpus },
    promptMs: promptMs.map((ms, index) => [promptTokens[index] ?? 0, ms] as const),
    tokenMs: tokenMs.map((ms, index) => [requestsAtOnce[index] ?? 0, ms] as const),
  };
}

export const measuredTables: readonly MeasuredTable[] = [
  measured(
    "H100-80GB",
    2,
    [48.3, 51.8, 83.8, 158.0, 310.3, 642.7, 1339.8],
    [37.1, 37.4, 40.0, 40.4, 42.0, 52.3],
  ),
  measured(
    "H100-80GB",
    4,
    [49.1, 51.0, 59.7, 105.6, 200.7, 463.5, 953.6],
    [29.4, 30.0, 29.9, 31.4, 32.8, 36.9, 52.4],
  ),
  measured(
    "H100-80GB",
    8,
    [58.2, 51.7, 53.9, 77.9, 136.8, 390.3, 844.9],
    [30.6, 30.3, 31.8, 32.5, 34.2, 38.6, 50.2],
  ),
  measured(
    "A100-80GB",
    2,
    [81.1, 112.9, 195.5, 377.1, 688.1, 1485.3, 2990.2],
    [59.9, 59.9, 60.5, 61.7, 65.5, 72.2],
  ),
  measured(
    "A100-80GB",
    4,
    [63.7, 78.6, 127.0, 227.1, 403.3, 965.2, 2278.5],
    [44.5, 45.0, 45.1, 45.8, 48.5, 52.3, 72.9],
  ),
  measured(
    "A100-80GB",
    8,
    [65.3, 66.8, 93.0, 154.5, 274.2, 661.2, 1549.8],
    [45.0, 44.6, 45.8, 46.5, 50.4, 53.0, 71.6],
  ),
];
