/**
 * A pass of decisions: everything of a thousand deployments has changed at once (an update was asked for, the load is
 * another, one in ten has lost its instance), and each is planned. Owns the worlds; nothing of it is stored or started.
 */

import type { Plan } from "../../src/core/action.ts";
import type { InstanceRecord } from "../../src/core/instance.ts";
import { planDeployment } from "../../src/core/plan.ts";
import type { World } from "../../src/core/world.ts";
import { exampleDeployment } from "./state.ts";

const now = 1_800_000_000_000;

/** Median milliseconds of a pass over `count` deployments. */
export function decideForAll(count: number, passes: number): number {
  const took: number[] = [];
  for (let pass = 0; pass < passes; pass += 1) {
    const worlds = Array.from({ length: count }, (_, index) => changedWorld(index, pass));
    const before = performance.now();
    const plans = worlds.map(planDeployment);
    took.push(performance.now() - before);
    checkPlans(plans);
  }
  return took.sort((a, b) => a - b)[Math.floor(took.length / 2)] ?? Number.NaN;
}

/** A pass in which nothing had to be done would measure nothing. Some wait for an instance that is under way. */
function checkPlans(plans: readonly Plan[]): void {
  const idle = plans.filter(({ actions }) => actions.length === 0).length;
  if (idle > plans.length / 2) throw new Error(`${idle} of ${plans.length} deployments had nothing to do`);
}

function changedWorld(index: number, pass: number): World {
  const before = exampleDeployment(index, "first", "running");
  const { wanted } = before.revisions;
  const isUpdated = (index + pass) % 3 === 0;
  const deployment = {
    ...before,
    settings: { ...before.settings, maxInstances: 4 },
    revisions: isUpdated
      ? { ...before.revisions, wanted: { ...wanted, id: 2 }, fallback: wanted }
      : before.revisions,
  };
  const instances = [instance(index, 0, index % 10 === 0), instance(index, 1, false)].slice(
    0,
    1 + (index % 2),
  );
  return {
    ...{ now, deployment, instances, gateways: 1, warmFailures: new Map() },
    load: { queued: 20, running: 4, lastRequestAtMs: now, inFlight: { [`i${index}x0`]: 4 } },
    underWay: { resolve: false, fetch: false, removing: new Set(), warming: new Set() },
    nodes: [{ node: "local", cpuCores: 4_096, memoryBytes: 2 ** 46, gpus: [] }],
    ...{ occupiedGpus: new Set(), engineRunsOn: "cpu", watchingSinceMs: now - 3_600_000 },
    limits: { loadTries: 3, drainMs: 60_000, inactiveShutdownMs: 900_000 },
  };
}

function instance(index: number, place: number, hasExited: boolean): InstanceRecord {
  const id = `i${index}x${place}`;
  const deploymentId = `bench${String(index).padStart(11, "0")}`;
  const failure = { code: "engine_crashed", message: "It ended.", next: "See the logs." } as const;
  return {
    ...{ id, deploymentId, intent: "run", createdAtMs: now - 60_000, drainSinceMs: null, revision: 1 },
    warmedAtMs: null,
    observed: {
      ...{ id, deploymentId, state: hasExited ? "exited" : "running", loadProgress: null, note: null },
      ...{ endpoint: { kind: "unix", path: `/run/${id}` }, slots: 4, contextTokens: 4096 },
      placement: { node: "local", gpus: [] },
      ...{ startedAtMs: now - 60_000, readyAtMs: now - 50_000, failure: hasExited ? failure : null },
    },
  };
}
