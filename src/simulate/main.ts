/**
 * `npm run simulate -- --seeds N [--from SEED]`: lets many small worlds happen and prints the first that breaks a rule, made
 * small. The exit status is 1 when one does. Without `--from` the seeds are fresh ones.
 */
import { parseArgs } from "node:util";
import { simulate } from "./run.ts";
import { createScenario } from "./scenario.ts";
import { shrink } from "./shrink.ts";

const { values } = parseArgs({ options: { seeds: { type: "string" }, from: { type: "string" } } });
const seeds = Number(values.seeds ?? 100);
const from = values.from === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(values.from);
if (!Number.isInteger(seeds) || seeds < 1 || !Number.isInteger(from)) {
  process.stderr.write("--seeds takes a whole number of seeds, --from the first seed.\n");
  process.exit(2);
}

const startedAt = performance.now();
let events = 0;
let answered = 0;
for (let seed = from; seed < from + seeds; seed += 1) {
  const scenario = createScenario(seed);
  const outcome = simulate(scenario);
  events += outcome.events;
  answered += outcome.answered;
  const [first] = outcome.violations;
  if (first === undefined) continue;
  const small = shrink(scenario, first.rule);
  const [again] = simulate(small).violations;
  process.stdout.write(
    `Seed ${seed} breaks the rule "${first.rule}" after ${seed - from + 1} seeds: ${first.text} (at ${first.atMs} ms).\n` +
      `Made small: ${again?.text} (at ${again?.atMs} ms)\n${JSON.stringify(small, null, 1)}\n` +
      `Again: npm run simulate -- --seeds 1 --from ${seed}\n`,
  );
  process.exit(1);
}
const ms = (performance.now() - startedAt) / seeds;
process.stdout.write(
  `${seeds} seeds from ${from} without a fault: ${Math.round(events / seeds)} events and ${Math.round(answered / seeds)} answered requests each, ${ms.toFixed(1)} ms a seed.\n`,
);
