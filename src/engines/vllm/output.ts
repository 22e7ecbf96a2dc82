/** What vLLM prints while it loads: how far it is, and what it took of memory. Pure. */
import type { MeasuredMemory } from "../../core/fit-measured.ts";

/**
 * Shares of a load, as it usually goes: weights most of it, then compiling and graphs. Only ever read from the latest line that
 * says something.
 */
export function readLoadProgress(lines: readonly string[]): number | null {
  for (const line of lines.toReversed()) {
    const graphs = /Capturing CUDA graphs?[^\n]*?(\d{1,3})%/.exec(line)?.[1];
    if (graphs !== undefined) return 0.85 + 0.1 * share(graphs);
    const shards = /Loading \w+ checkpoint shards:\s+(\d{1,3})%/.exec(line)?.[1];
    if (shards !== undefined) return 0.1 + 0.6 * share(shards);
    const step = steps.find(([pattern]) => pattern.test(line));
    if (step !== undefined) return step[1];
  }
  return null;
}

const steps: readonly (readonly [RegExp, number])[] = [
  [/Application startup complete|Starting vLLM API server/, 0.99],
  [/Graph capturing finished/, 0.95],
  [/torch\.compile takes|Warming up model|KV cache size:/, 0.85],
  [/Using cache directory: |Dynamo bytecode transform/, 0.75],
  [/Model loading took|Loading weights took/, 0.7],
  [/Starting to load model/, 0.1],
  [/Initializing a V\d LLM engine|API server version/, 0.05],
];

function share(percent: string): number {
  return Math.min(100, Number(percent)) / 100;
}

const gibibyte = 2 ** 30;

/** From the output up to when it was ready; null where it says nothing. With several GPUs each prints the same; the last counts. */
export function readLoadReport(lines: readonly string[]): MeasuredMemory | null {
  const last = (pattern: RegExp) => {
    const found = lines.map((line) => pattern.exec(line)?.[1]).findLast((value) => value !== undefined);
    return found === undefined ? null : Number(found.replaceAll(",", ""));
  };
  const bytes = (amount: number | null) => (amount === null ? null : Math.round(amount * gibibyte));
  const report = {
    weightBytes: bytes(last(/Model loading took ([\d.]+) Gi?B/)),
    workBytes: bytes(last(/peak activation memory(?: takes| is)? ([\d.]+) ?Gi?B/i)),
    cacheBytes: bytes(last(/Available KV cache memory: ([\d.]+) GiB/)),
    cacheTokens: last(/KV cache size: ([\d,]+) tokens/),
  };
  return Object.values(report).every((value) => value === null) ? null : report;
}
