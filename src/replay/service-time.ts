/**
 * How long an engine's steps take, from a table of what was measured. Pure. An engine with continuous batching works in
 * steps: each gives every request that is being answered its next token, and computes up to `tokensAStep` tokens of the
 * prompts that came in (chunked prefill; 2048 is vLLM's usual amount). Must not know what is in a step.
 */
import type { Curve, ServiceTable } from "./service-table.ts";

/** Prompt tokens that a step computes at most. */
export const tokensAStep = 2048;

/** More requests at once than this are no engine's slots. */
const mostAtOnce = 1024;

export class ServiceTime {
  readonly #table: ServiceTable;
  /** By the number of requests that are being answered. */
  readonly #tokenMs: Float64Array;

  constructor(table: ServiceTable) {
    this.#table = table;
    this.#tokenMs = Float64Array.from({ length: mostAtOnce + 1 }, (_, count) => read(table.tokenMs, count));
  }

  get name(): string {
    return this.#table.name;
  }

  /** A prompt by itself, on an engine that has nothing else to do. */
  promptMs(tokens: number): number {
    return read(this.#table.promptMs, tokens);
  }

  /** The rest of a prompt's next tokens costs more the more there were before: they are attended to. */
  chunkMs(before: number, tokens: number): number {
    return this.promptMs(before + tokens) - this.promptMs(before);
  }

  /** A step that computes no prompt. */
  tokenMs(answering: number): number {
    return this.#tokenMs[Math.min(answering, mostAtOnce)] ?? 0;
  }

  /** A step that also computes prompts, which take `promptMs`: the weights are read once for both. */
  mixedMs(promptMs: number, answering: number): number {
    return Math.max(promptMs, this.tokenMs(1)) + this.tokenMs(Math.max(1, answering)) - this.tokenMs(1);
  }
}

/** Straight lines between the points; the first value before them, the last slope after them. */
function read(curve: Curve, amount: number): number {
  const after = curve.findIndex(([at]) => at >= amount);
  const [first] = curve;
  if (first === undefined) return 0;
  if (after === 0 || curve.length === 1) return first[1];
  const right = after === -1 ? curve.length - 1 : after;
  const [x1, y1] = curve[right] ?? first;
  const [x0, y0] = curve[right - 1] ?? first;
  return y0 + ((y1 - y0) * (amount - x0)) / (x1 - x0);
}
