/** How much virtual time a core gets through: a trace dealt out to fifty deployments that Berth's own scaler looks after. */

import { Deployment, type DeploymentOptions } from "../../src/replay/deployment.ts";
import { berth } from "../../src/replay/policies/berth.ts";
import type { TraceRequest } from "../../src/replay/trace.ts";
import { Timeline } from "../../src/simulate/timeline.ts";

const deployments = 50;

export function measureSpeed(
  trace: readonly TraceRequest[],
  options: DeploymentOptions,
): { readonly deployments: number; readonly virtualS: number; readonly realS: number } {
  const startedAt = process.cpuUsage();
  const timeline = new Timeline();
  const all = Array.from(
    { length: deployments },
    () => new Deployment(timeline, options, berth.create(berth.defaults, options), []),
  );
  for (const [index, request] of trace.entries()) {
    timeline.runTo(request.atMs);
    all[index % deployments]?.arrive(request);
  }
  while (all.some(({ open }) => open > 0)) timeline.step(Number.POSITIVE_INFINITY);
  // Of the whole process, garbage collection's threads too; what else the machine does is not in it.
  const { user, system } = process.cpuUsage(startedAt);
  const realS = (user + system) / 1e6;
  return { deployments, virtualS: timeline.nowMs / 1000, realS };
}
