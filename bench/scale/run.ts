/**
 * `npm run bench:scale -- --trace FILE [--trace FILE …] [--few]`: Berth's scaling and that of four others on real traffic. Every
 * policy has a grid of settings; what is best is chosen on the first half of the trace and counts on the second. Prints
 * each policy's curve and where Berth stands beside it, and how fast virtual time passes. `--few` tries every fifth setting, to see
 * that it runs.
 *
 * The traces of docs/reference/performance.md are AzureLLMInferenceTrace_conv.csv and _code.csv of 2023, of
 * github.com/Azure/AzurePublicDataset (CC-BY 4.0).
 */
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { chosenFor, compare, frontOf, type Tried } from "../../src/replay/curve.ts";
import { policyKinds } from "../../src/replay/policies.ts";
import { measureSpeed } from "./speed.ts";
import { deployment, readAll, scaled, type TryTask } from "./try.ts";

const { values } = parseArgs({
  options: { trace: { type: "string", multiple: true }, few: { type: "boolean" } },
});
if (values.trace === undefined) {
  process.stderr.write(
    "--trace takes a trace; see the beginning of bench/scale/run.ts for where to get one.\n",
  );
  process.exit(2);
}
const few = values.few === true;
const goals = [0.5, 0.8, 0.9, 0.95];

print(
  `${deployment.service.name}, ${scaled.slots} requests an instance, 1 to ${scaled.maxInstances} instances, 60 s loads.`,
);
for (const path of values.trace) {
  print(`\n${basename(path)}: tuned on the first half, scored on the second.`);
  const tried = policyKinds.map(async ({ name }) => {
    const front = frontOf(await tryAll({ path, policy: name, few }));
    printCurve(name, front);
    return [name, front] as const;
  });
  const fronts = new Map(await Promise.all(tried));
  printChosen(fronts);
  printComparison(fronts);
}
for (const path of values.trace) {
  const { deployments, virtualS, realS } = measureSpeed(await readAll(path), deployment);
  const times = Math.round(virtualS / realS);
  print(
    `\n${basename(path)} over ${deployments} deployments: ${times} s of virtual time a second of processor time.`,
  );
}

/** In a thread of its own. */
function tryAll(task: TryTask): Promise<Tried[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./try.ts", import.meta.url), { workerData: task });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function printCurve(name: string, front: readonly Tried[]): void {
  print(`\n  ${name}: GPU-hours and share, where tuned | where scored`);
  for (const { settings, tuned, scored } of front)
    print(`    ${describe(tuned)} | ${describe(scored)}  ${JSON.stringify(settings)}`);
}

function printChosen(fronts: ReadonlyMap<string, readonly Tried[]>): void {
  print("\n  The cheapest setting that reached a share where tuned, and what it gave where scored:");
  for (const goal of goals) {
    for (const [name, front] of fronts) {
      const chosen = chosenFor(goal, front);
      print(
        `    ${percent(goal)}  ${name.padEnd(9)} ${chosen === undefined ? "not reached" : describe(chosen.scored)}`,
      );
    }
  }
}

function printComparison(fronts: ReadonlyMap<string, readonly Tried[]>): void {
  print("\n  Berth beside each point of the others' curves:");
  const own = fronts.get("berth") ?? [];
  for (const [name, front] of fronts) {
    if (name === "berth") continue;
    const { points, shareMore, hoursSaved } = compare(own, front);
    const count = (verdict: string) => points.filter((point) => point.verdict === verdict).length;
    print(
      `    ${name.padEnd(9)} better at ${count("better")} points, equal at ${count("equal")}, worse at ${count("worse")}; ${percent(shareMore)} more served well at equal GPU-hours, ${percent(hoursSaved)} fewer GPU-hours at equal share`,
    );
    for (const { other, share, verdict } of points) {
      const beside = share === null ? "outside of its curve" : percent(share).padStart(7);
      print(`      ${describe(other)} | ${beside} ${verdict}`);
    }
  }
}

function describe({ gpuHours, share }: Tried["scored"]): string {
  return `${gpuHours.toFixed(2).padStart(6)} h ${percent(share).padStart(7)}`;
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
