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
import { chosenFor, compare, frontOf, type Tried } from "../../src/replay/curve.ts";
import { defaultFrontLimits } from "../../src/replay/front.ts";
import { policyKinds } from "../../src/replay/policies.ts";
import type { PolicyKind } from "../../src/replay/policy.ts";
import { Replay } from "../../src/replay/replay.ts";
import { measuredTables } from "../../src/replay/service-table.ts";
import { ServiceTime } from "../../src/replay/service-time.ts";
import { Tally } from "../../src/replay/tally.ts";
import type { TraceRequest } from "../../src/replay/trace.ts";
import { readTrace } from "../../src/replay/trace-file.ts";
import { gridOf } from "./grids.ts";
import { measureSpeed } from "./speed.ts";

const { values } = parseArgs({
  options: { trace: { type: "string", multiple: true }, few: { type: "boolean" } },
});
if (values.trace === undefined) {
  process.stderr.write(
    "--trace takes a trace; see the beginning of bench/scale/run.ts for where to get one.\n",
  );
  process.exit(2);
}

const [table] = measuredTables;
if (table === undefined) throw new Error("there is no table of service times");
const service = new ServiceTime(table);
const scaled = { minInstances: 1, maxInstances: 8, slots: 32, loadMs: 60_000 };
const deployment = { ...scaled, gpusAnInstance: table.numGpus, service, limits: defaultFrontLimits };
const goals = [0.5, 0.8, 0.9, 0.95];

print(
  `${table.name}, ${scaled.slots} requests an instance, 1 to ${scaled.maxInstances} instances, 60 s loads.`,
);
for (const path of values.trace) {
  const trace = await readAll(path);
  print(`\n${basename(path)}: ${trace.length} requests. Tuned on the first half, scored on the second.`);
  const fronts = new Map(policyKinds.map((kind) => [kind.name, frontOf(tryAll(kind, trace))]));
  for (const [name, front] of fronts) printCurve(name, front);
  printChosen(fronts);
  printComparison(fronts);
}
for (const path of values.trace) {
  const trace = await readAll(path);
  const { deployments, virtualS, realS } = measureSpeed(trace, deployment);
  const times = Math.round(virtualS / realS);
  print(
    `\n${basename(path)} over ${deployments} deployments: ${times} s of virtual time a second, on one core.`,
  );
}

async function readAll(path: string): Promise<TraceRequest[]> {
  const requests: TraceRequest[] = [];
  for await (const request of readTrace(path, null)) requests.push(request);
  return requests;
}

function tryAll(kind: PolicyKind, trace: readonly TraceRequest[]): Tried[] {
  const endMs = trace.at(-1)?.atMs ?? 0;
  const grid = gridOf(kind.name).filter((_, index) => values.few !== true || index % 5 === 0);
  return grid.map((settings) => {
    const halves = { tuned: new Tally(0, endMs / 2), scored: new Tally(endMs / 2, endMs) };
    const policy = kind.create({ ...kind.defaults, ...settings }, scaled);
    const replay = new Replay(deployment, policy, Object.values(halves));
    for (const request of trace) replay.arrive(request);
    replay.finish();
    return { settings, tuned: halves.tuned.score(), scored: halves.scored.score() };
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
    const { compared, notWorse, shareMore, hoursSaved } = compare(own, front);
    print(
      `    ${name.padEnd(9)} serves ${percent(shareMore)} more well at equal GPU-hours, ${percent(hoursSaved)} fewer GPU-hours at equal share; not worse at ${notWorse} of ${compared}`,
    );
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
