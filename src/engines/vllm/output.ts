/** What vLLM prints while it loads: how far it is. Pure. */

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
