/**
 * What a running engine says of its work in its own metrics (Prometheus' text format), as values. Asks and reads; knows none
 * of the engines' names for them.
 */
import type { Endpoint } from "../core/instance.ts";
import type { EngineLoad } from "../ports/engine.ts";
import { callEngine } from "./client.ts";

/** An engine's names for its gauges, the newest first; none where it has no such gauge. */
export type LoadNames = {
  readonly running: readonly string[];
  readonly waiting: readonly string[];
  readonly cacheShare: readonly string[];
};

/** Null where it does not answer in time, or says nothing of what runs. */
export async function askLoad(
  target: { readonly endpoint: Endpoint; readonly secret: string },
  names: LoadNames,
  timeoutMs: number,
): Promise<EngineLoad | null> {
  try {
    const answer = await callEngine(target, "/metrics", null, timeoutMs);
    return answer.status === 200 ? readLoad(answer.text, names) : null;
  } catch {
    return null; // Whoever draws a page of metrics does without an engine that is busy or gone.
  }
}

export function readLoad(text: string, names: LoadNames): EngineLoad | null {
  const samples = (known: readonly string[]) =>
    known.map((name) => readGauge(text, name)).find(({ length }) => length > 0) ?? [];
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const [running, waiting, shares] = [names.running, names.waiting, names.cacheShare].map(samples);
  if (running === undefined || running.length === 0) return null;
  const cacheShare = shares === undefined || shares.length === 0 ? null : sum(shares) / shares.length;
  return { running: sum(running), waiting: sum(waiting ?? []), cacheShare };
}

/** A gauge's samples: vLLM has one for each of its engine cores. */
function readGauge(text: string, name: string): readonly number[] {
  const values = text.split("\n").flatMap((line) => {
    if (!line.startsWith(name)) return [];
    const [, value] = /^(?:\{.*\})? (\S+)/.exec(line.slice(name.length)) ?? [];
    return value === undefined ? [] : [Number(value)];
  });
  return values.filter(Number.isFinite);
}
