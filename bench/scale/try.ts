/**
 * A thread of `run.ts`: replays a trace with every setting of one policy's grid, and posts what each gave for either half.
 * Also the place where it is said what is replayed on what.
 */
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import type { Tried } from "../../src/replay/curve.ts";
import { defaultFrontLimits } from "../../src/replay/front.ts";
import { findPolicy } from "../../src/replay/policies.ts";
import type { PolicyKind } from "../../src/replay/policy.ts";
import { Replay } from "../../src/replay/replay.ts";
import { measuredTables } from "../../src/replay/service-table.ts";
import { ServiceTime } from "../../src/replay/service-time.ts";
import { Tally } from "../../src/replay/tally.ts";
import type { TraceRequest } from "../../src/replay/trace.ts";
import { readTrace } from "../../src/replay/trace-file.ts";
import { gridOf } from "./grids.ts";

export type TryTask = { readonly path: string; readonly policy: string; readonly few: boolean };

const [table] = measuredTables;
if (table === undefined) throw new Error("there is no table of service times");
export const scaled = { minInstances: 1, maxInstances: 8, slots: 32, loadMs: 60_000 };
export const deployment = {
  ...scaled,
  gpusAnInstance: table.numGpus,
  service: new ServiceTime(table),
  limits: defaultFrontLimits,
};

export async function readAll(path: string): Promise<TraceRequest[]> {
  const requests: TraceRequest[] = [];
  for await (const request of readTrace(path, null)) requests.push(request);
  return requests;
}

function tryOne(
  kind: PolicyKind,
  settings: Readonly<Record<string, number>>,
  trace: readonly TraceRequest[],
): Tried {
  const endMs = trace.at(-1)?.atMs ?? 0;
  const halves = { tuned: new Tally(0, endMs / 2), scored: new Tally(endMs / 2, endMs) };
  const policy = kind.create({ ...kind.defaults, ...settings }, scaled);
  const replay = new Replay(deployment, policy, Object.values(halves));
  for (const request of trace) replay.arrive(request);
  replay.finish();
  return { settings, tuned: halves.tuned.score(), scored: halves.scored.score() };
}

if (!isMainThread) {
  const { path, policy, few } = workerData as TryTask;
  const kind = findPolicy(policy);
  if (typeof kind === "string") throw new Error(kind);
  const trace = await readAll(path);
  const grid = gridOf(policy).filter((_, index) => !few || index % 5 === 0);
  parentPort?.postMessage(grid.map((settings) => tryOne(kind, settings, trace)));
}
