/**
 * `npm run chaos -- --minutes N [--seed S]`: a storm over all of Berth, at length. Prints what was struck, how requests
 * ended and every violation; exits with 1 where there is one.
 */
import { parseArgs } from "node:util";
import { runBerthStorm } from "./berth-storm.ts";

const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
const minutes = Number(values.minutes ?? 10);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write("--minutes is a number above 0, --seed a whole number\n");
  process.exit(2);
}
const startedMs = Date.now();
process.stdout.write(`seed ${seed}, ${minutes} minutes\n`);
const report = await runBerthStorm({
  ...{ seed, minutes, pauseMs: [500, 12_000], strikesARound: 12 },
  log: (line) => process.stdout.write(`${((Date.now() - startedMs) / 1000).toFixed(1)} s  ${line}\n`),
});
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
process.exitCode = report.violations.length === 0 ? 0 : 1;
