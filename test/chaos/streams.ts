/**
 * The storm over many streams, as a command of its own because it takes minutes:
 *
 *   npm run chaos:streams [-- streams, default 500 [seed, default drawn [length, default 1]]]
 *
 * A length below 1 makes the answers shorter by that share, for machines that are slow or busy. Prints the seed, which draws the same questions and kills again (at other moments), and what was seen. Exits with 1
 * when a stream lost, repeated or invented anything, a record is wrong, or a slot is not free again.
 */
import { runStorm } from "./storm.ts";

const [streams = 500, seed = Math.floor(Math.random() * 1_000_000), length = 1] = process.argv
  .slice(2)
  .map(Number);
const isLength = length > 0 && length <= 1;
if (!Number.isSafeInteger(streams) || streams < 1 || !Number.isSafeInteger(seed) || !isLength) {
  console.error(
    "Give a number of streams above 0, a whole number as the seed and a length up to 1; or leave the last ones out.",
  );
  process.exit(2);
}
const startedAtMs = performance.now();
console.log(`seed ${seed}, ${streams} streams`);
const { violations, ...seen } = await runStorm({
  ...{ seed, streams, length, instances: 3, maxKills: Number.POSITIVE_INFINITY, pauseMs: [300, 1500] },
  log: (line) => console.log(`${((performance.now() - startedAtMs) / 1000).toFixed(0)} s: ${line}`),
});
for (const [name, count] of Object.entries(seen)) console.log(`${name.padEnd(14)} ${count}`);
for (const violation of violations) console.log(`WRONG: ${violation}`);
console.log(violations.length === 0 ? "all is well" : `${violations.length} things are wrong; seed ${seed}`);
process.exitCode = violations.length === 0 ? 0 : 1;
