/**
 * `node bin/node.js bench/scale/bound.ts --trace FILE …`: a yardstick for `run.ts`. What a scaler would give that knew the future: for a
 * number of prices, the plan that costs least, found backwards from the end by what a constant number of instances served well
 * in each step, then replayed. No bound in the strict sense (what piled up before is not in it), but no policy knows as much.
 */
import { basename } from "node:path";
import { parseArgs } from "node:util";
import type { Policy } from "../../src/replay/policy.ts";
import { Replay } from "../../src/replay/replay.ts";
import { Tally } from "../../src/replay/tally.ts";
import type { TraceRequest } from "../../src/replay/trace.ts";
import { deployment, readAll, scaled } from "./try.ts";

const stepMs = 10_000;
const loadSteps = Math.ceil(scaled.loadMs / stepMs);
/** Requests that an instance has to serve well in a minute to be worth it. */
const prices = [2, 5, 10, 15, 20, 30, 40, 60];
const counts = Array.from({ length: scaled.maxInstances }, (_, at) => at + 1);

const { values } = parseArgs({ options: { trace: { type: "string", multiple: true, default: [] } } });
for (const path of values.trace) {
  const trace = await readAll(path);
  const well = counts.map((count) => servedBy(trace, count));
  process.stdout.write(`${basename(path)}, with the future known, second half:\n`);
  for (const price of prices) {
    const { gpuHours, share } = replay(trace, planFor(well, (price * stepMs) / 60_000));
    process.stdout.write(
      `  ${gpuHours.toFixed(2).padStart(6)} h ${(100 * share).toFixed(1).padStart(6)} %\n`,
    );
  }
}

/** Requests served well, by step, with so many instances all the time. */
function servedBy(trace: readonly TraceRequest[], count: number): number[] {
  const steps = Math.ceil(((trace.at(-1)?.atMs ?? 0) + 1) / stepMs);
  const tallies = Array.from({ length: steps }, (_, at) => new Tally(at * stepMs, (at + 1) * stepMs));
  const run = new Replay(
    { ...deployment, minInstances: count },
    policyOf(() => count),
    tallies,
  );
  for (const request of trace) run.arrive(request);
  run.finish();
  return tallies.map((tally) => tally.score()).map(({ requests, share }) => requests * share);
}

/** How many instances there should be in each step. */
function planFor(well: readonly (readonly number[])[], price: number): number[] {
  const steps = well[0]?.length ?? 0;
  const choices: number[][] = [];
  let ahead = counts.map(() => 0);
  for (let step = steps - 1; step >= 0; step -= 1) {
    const best = counts.map((before) => {
      const worth = counts.map((count) => {
        const loads = Math.max(0, count - before) * loadSteps;
        return (well[count - 1]?.[step] ?? 0) - price * (count + loads) + (ahead[count - 1] ?? 0);
      });
      const most = Math.max(...worth);
      return { most, count: worth.indexOf(most) + 1 };
    });
    choices[step] = best.map(({ count }) => count);
    ahead = best.map(({ most }) => most);
  }
  let now = scaled.minInstances;
  return choices.map((choice) => {
    now = choice[now - 1] ?? now;
    return now;
  });
}

function replay(trace: readonly TraceRequest[], plan: readonly number[]) {
  const endMs = trace.at(-1)?.atMs ?? 0;
  const half = new Tally(endMs / 2, endMs);
  // What is needed when a load is over is started now.
  const wantedAt = (nowMs: number) => {
    const step = Math.min(plan.length - 1, Math.round(nowMs / stepMs));
    return Math.max(...plan.slice(step, step + loadSteps + 1));
  };
  const run = new Replay(deployment, policyOf(wantedAt), [half]);
  for (const request of trace) run.arrive(request);
  run.finish();
  return half.score();
}

function policyOf(wantedAt: (nowMs: number) => number): Policy {
  return { everyMs: stepMs, looksAtOnce: "never", decide: ({ nowMs }) => wantedAt(nowMs) };
}
