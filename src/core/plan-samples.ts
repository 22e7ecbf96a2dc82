/** Worlds for tests of the plan: an ordinary one, and how it differs. Only tests import it; holds no assertions. */
import { type Deployment, firstRevisions, noEngineArgs, noTries } from "./deployment.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord, ObservedInstance, RecordedObservation } from "./instance.ts";
import { planDeployment } from "./plan.ts";
import { noLoad } from "./routing.ts";
import type { World } from "./world.ts";

export const now = 1_000_000;
export const crash = failure("engine_crashed", "The engine ended.", "See the logs.");

export function deployment(change: Partial<Deployment> = {}): Deployment {
  return {
    id: "d1",
    account: "alice",
    name: "alice/m",
    isPublic: false,
    config: {
      gpu: "other",
      numGpus: 1,
      maxBatchSize: 4,
      weights: { repo: "o/n", revision: null },
      baseModel: null,
      containerImage: null,
    },
    settings: { minInstances: 1, maxInstances: 2, inactiveShutdownS: null },
    desired: "run",
    createdAtMs: now,
    updatedAtMs: now,
    loadTimeMs: null,
    resolved: {
      commit: "a".repeat(40),
      files: [],
      engine: "embedded",
      entryFile: "m.gguf",
      task: "text-generation",
    },
    weightsReadyAtMs: now,
    failure: null,
    hasRun: false,
    tries: noTries,
    revisions: firstRevisions(noEngineArgs),
    ...change,
  };
}

export function instance(
  id: string,
  state: ObservedInstance["state"] | null,
  change: Partial<InstanceRecord> = {},
): InstanceRecord {
  const observed: RecordedObservation | null =
    state === null
      ? null
      : {
          id,
          deploymentId: "d1",
          state,
          endpoint: { kind: "unix", path: `/run/${id}` },
          slots: 4,
          contextTokens: 512,
          loadProgress: null,
          note: null,
          placement: { node: "n", gpus: [] },
          startedAtMs: now,
          readyAtMs: state === "running" ? now : null,
          failure: state === "exited" ? crash : null,
        };
  const base = { id, deploymentId: "d1", intent: "run" as const, createdAtMs: now, drainSinceMs: null };
  return { ...base, revision: 1, warmedAtMs: null, observed, ...change };
}

export function world(change: Partial<World> = {}): World {
  return {
    now,
    deployment: deployment(),
    instances: [],
    load: noLoad,
    gateways: 1,
    underWay: { resolve: false, fetch: false, removing: new Set(), warming: new Set() },
    warmFailures: new Map(),
    nodes: [{ node: "n", cpuCores: 2, memoryBytes: 2 ** 34, gpus: [] }],
    occupiedGpus: new Set(),
    engineRunsOn: "cpu",
    watchingSinceMs: now,
    limits: { loadTries: 3, drainMs: 30_000, inactiveShutdownMs: 900_000 },
    ...change,
  };
}

/** What the plan for such a world does. */
export const doing = (change: Partial<World>) =>
  planDeployment(world(change)).actions.map((action) => action.do);
