/** A worker's share of the seeds: every so manieth, until one breaks a rule. Says what happened in them. */
import { parentPort, workerData } from "node:worker_threads";
import { Coverage, type Kind } from "./coverage.ts";
import { simulate } from "./run.ts";
import { createScenario } from "./scenario.ts";

export type Share = { readonly from: number; readonly until: number; readonly step: number };

export type Tally = {
  readonly failedSeed: number | null;
  readonly events: number;
  readonly counts: ReadonlyMap<Kind, number>;
};

function runSeeds({ from, until, step }: Share): Tally {
  const coverage = new Coverage();
  let events = 0;
  for (let seed = from; seed < until; seed += step) {
    const outcome = simulate(createScenario(seed));
    events += outcome.events;
    coverage.add(outcome.counts);
    if (outcome.violations.length > 0) return { failedSeed: seed, events, counts: coverage.counts };
  }
  return { failedSeed: null, events, counts: coverage.counts };
}

parentPort?.postMessage(runSeeds(workerData));
