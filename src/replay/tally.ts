/**
 * What came of a replay within a part of its time: who waited how long, who was refused, what it cost. Counts in bounded
 * space; must not know how it came about.
 */
import { mergeSketches, quantileOf, type Sketch, sketchOf } from "../core/sketch.ts";

/** How it went for one request. */
export type Fate = {
  readonly arrivedMs: number;
  readonly promptTokens: number;
  /** What its prompt takes on an engine that has nothing else to do. */
  readonly promptMs: number;
} & (
  | { readonly isRefused: true }
  | { readonly isRefused: false; readonly waitedMs: number; readonly firstTokenMs: number }
);

/** The first token within this time and that of the prompt is what a request is counted as served well by. */
export const patienceMs = 2_000;

export type Score = {
  readonly requests: number;
  readonly refused: number;
  /** Of all requests, those whose first token came within two seconds and the time of their prompt. */
  readonly share: number;
  readonly gpuHours: number;
  /** Milliseconds until a slot was free, and until the first token. */
  readonly waitedMs: Quantiles;
  readonly firstTokenMs: Quantiles;
};

export type Quantiles = { readonly p50: number; readonly p90: number; readonly p99: number };

export class Tally {
  readonly #fromMs: number;
  readonly #toMs: number;
  #requests = 0;
  #refused = 0;
  #well = 0;
  #gpuMs = 0;
  readonly #waited = new Durations();
  readonly #firstToken = new Durations();

  /** Counts requests that arrive, and instances that are there, from `fromMs` on and before `toMs`. */
  constructor(fromMs = 0, toMs = Number.POSITIVE_INFINITY) {
    this.#fromMs = fromMs;
    this.#toMs = toMs;
  }

  noteRequest(fate: Fate): void {
    if (fate.arrivedMs < this.#fromMs || fate.arrivedMs >= this.#toMs) return;
    this.#requests += 1;
    if (fate.isRefused) {
      this.#refused += 1;
      return;
    }
    if (fate.firstTokenMs <= patienceMs + fate.promptMs) this.#well += 1;
    this.#waited.add(fate.waitedMs);
    this.#firstToken.add(fate.firstTokenMs);
  }

  noteInstance(fromMs: number, toMs: number, gpus: number): void {
    this.#gpuMs += gpus * Math.max(0, Math.min(toMs, this.#toMs) - Math.max(fromMs, this.#fromMs));
  }

  score(): Score {
    return {
      requests: this.#requests,
      refused: this.#refused,
      share: this.#requests === 0 ? 1 : this.#well / this.#requests,
      gpuHours: this.#gpuMs / 3_600_000,
      waitedMs: this.#waited.quantiles(),
      firstTokenMs: this.#firstToken.quantiles(),
    };
  }
}

/** Gathers some before they are put into the sketch, which is made for many at once. */
class Durations {
  #sketch: Sketch = sketchOf([]);
  #fresh: number[] = [];

  add(ms: number): void {
    this.#fresh.push(ms);
    if (this.#fresh.length >= 10_000) this.#fold();
  }

  quantiles(): Quantiles {
    this.#fold();
    const at = (share: number) => quantileOf(this.#sketch, share);
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
  }

  #fold(): void {
    this.#sketch = mergeSketches(this.#sketch, sketchOf(this.#fresh));
    this.#fresh = [];
  }
}
