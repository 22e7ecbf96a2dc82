/**
 * `npm run simulate -- --seeds N [--from SEED] [--workers W]`: lets many small worlds happen, prints what happened in them, and
 * the first that breaks a rule, made small. The exit status is 1 when one does. Without `--from` the seeds are fresh ones.
 */
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { Coverage } from "./coverage.ts";
import { simulate } from "./run.ts";
import { createScenario } from "./scenario.ts";
import type { Share, Tally } from "./share.ts";
import { shrink } from "./shrink.ts";

const options = { seeds: { type: "string" }, from: { type: "string" }, workers: { type: "string" } } as const;
const { values } = parseArgs({ options });
const seeds = Number(values.seeds ?? 100);
const from = values.from === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(values.from);
const workers = Number(values.workers ?? 1);
if (![seeds, workers].every((count) => Number.isInteger(count) && count >= 1) || !Number.isInteger(from)) {
  process.stderr.write("--seeds and --workers take a whole number from 1, --from the first seed.\n");
  process.exit(2);
}

const startedAt = performance.now();
const tallies = await Promise.all(
  Array.from({ length: Math.min(workers, seeds) }, (_, index) =>
    runShare({ from: from + index, until: from + seeds, step: Math.min(workers, seeds) }),
  ),
);
const failed = tallies.flatMap(({ failedSeed }) => failedSeed ?? []);
if (failed.length > 0) tellFailure(Math.min(...failed));
else tellSuccess();
process.exitCode = failed.length > 0 ? 1 : 0;

function runShare(share: Share): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./share.ts", import.meta.url), { workerData: share });
    worker.once("message", resolve).once("error", reject);
  });
}

function tellFailure(seed: number): void {
  const scenario = createScenario(seed);
  const [first] = simulate(scenario).violations;
  if (first === undefined) throw new Error(`seed ${seed} broke a rule and does not when it is repeated`);
  const small = shrink(scenario, first.rule);
  const [again] = simulate(small).violations;
  process.stdout.write(
    `Seed ${seed} breaks the rule "${first.rule}" after ${seed - from + 1} seeds: ${first.text} (at ${first.atMs} ms).\n` +
      `Made small: ${again?.text} (at ${again?.atMs} ms)\n${JSON.stringify(small, null, 1)}\n` +
      `Again: npm run simulate -- --seeds 1 --from ${seed}\n`,
  );
}

function tellSuccess(): void {
  const sum = (of: (tally: Tally) => number) => tallies.reduce((total, tally) => total + of(tally), 0);
  const coverage = new Coverage();
  for (const { counts } of tallies) coverage.add(counts);
  const wallMs = (performance.now() - startedAt) / seeds;
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1000 / seeds;
  const events = Math.round(sum((tally) => tally.events) / seeds);
  process.stdout.write(
    `${seeds} seeds from ${from} without a fault: ${events} events, ${cpuMs.toFixed(1)} ms of CPU and ${wallMs.toFixed(1)} ms by the clock a seed.\n\n` +
      `What happened in them:\n${coverage.table()}`,
  );
}
