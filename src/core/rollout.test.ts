/** Rolling updates through the whole plan, in worlds that obey it, with room and without, where revisions may be broken. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Action } from "./action.ts";
import { type Deployment, type EngineArgs, firstRevisions, noTries } from "./deployment.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord, RecordedObservation } from "./instance.ts";
import { planDeployment } from "./plan.ts";
import { finishUpdate, historyKept, proveRevision, revertUpdate, updateArgs } from "./revision.ts";
import { noLoad } from "./routing.ts";
import { statusOf } from "./status.ts";
import type { World } from "./world.ts";

const crash = failure("engine_crashed", "The engine ended.", "See the logs.");
const mute = failure("warm_up_failed", "It did not answer.", "See the logs.");
const args = (text: string): EngineArgs => ({ standardArgs: {}, extraArgs: ["--x", text] });

/** How engines of a revision behave: they serve, they end while loading, or they load and never answer. */
type Behaviour = "good" | "crashes" | "mute";

function deployment(change: Partial<Deployment> = {}): Deployment {
  return {
    id: "d1",
    account: "ann",
    name: "ann/m",
    isPublic: false,
    config: {
      gpu: "H100-80GB",
      numGpus: 1,
      maxBatchSize: 4,
      weights: { repo: "o/n", revision: null },
      baseModel: null,
      containerImage: null,
    },
    settings: { minInstances: 2, maxInstances: 2, inactiveShutdownS: null },
    desired: "run",
    createdAtMs: 0,
    updatedAtMs: 0,
    loadTimeMs: null,
    resolved: { commit: "a".repeat(40), files: [], engine: "e", entryFile: "f", task: "text-generation" },
    weightsReadyAtMs: 1,
    failure: null,
    hasRun: true,
    tries: noTries,
    revisions: firstRevisions(args("A")),
    ...change,
  };
}

function observation(id: string, state: RecordedObservation["state"], gpu: string): RecordedObservation {
  return {
    ...{ id, deploymentId: "d1", state, endpoint: { kind: "unix", path: `/${id}` } },
    ...{ slots: 4, contextTokens: 512, loadProgress: null, note: null, startedAtMs: 0 },
    placement: { node: "n", gpus: [gpu] },
    readyAtMs: state === "running" ? 0 : null,
    failure: state === "exited" ? crash : null,
  };
}

function instance(id: string, revision: number, gpu: string): InstanceRecord {
  const base = { id, deploymentId: "d1", intent: "run" as const, createdAtMs: 0, drainSinceMs: null };
  return { ...base, revision, warmedAtMs: null, observed: observation(id, "running", gpu) };
}

/** The world of `count` running instances of revision 1 on a machine with `gpus` GPUs. */
function world(count: number, gpus: number, change: Partial<Deployment> = {}): World {
  const instances = Array.from({ length: count }, (_, index) => instance(`old${index}`, 1, `g${index}`));
  return {
    now: 1_000_000,
    deployment: deployment({
      settings: { minInstances: count, maxInstances: count, inactiveShutdownS: null },
      ...change,
    }),
    instances,
    load: noLoad,
    gateways: 1,
    underWay: { resolve: false, fetch: false, removing: new Set(), warming: new Set() },
    warmFailures: new Map(),
    nodes: [
      {
        node: "n",
        cpuCores: 8,
        memoryBytes: 2 ** 36,
        gpus: Array.from({ length: gpus }, (_, index) => ({
          ...{ id: `g${index}`, type: "H100-80GB", name: "H100", memoryBytes: 80e9 },
          ...{ usable: true, reason: null },
        })),
      },
    ],
    occupiedGpus: new Set(instances.map((_, index) => `g${index}`)),
    engineRunsOn: "gpu",
    watchingSinceMs: 0,
    limits: { loadTries: 3, drainMs: 30_000, inactiveShutdownMs: 900_000 },
  };
}

const occupied = (instances: readonly InstanceRecord[]) =>
  new Set(instances.flatMap((record) => record.observed?.placement.gpus ?? []));

/** Carries the actions out, and lets every engine go one step on. */
function obey(state: World, actions: readonly Action[], behaviourOf: (revision: number) => Behaviour): World {
  const { now } = state;
  let { deployment: facts, instances } = state;
  const warmFailures = new Map(state.warmFailures);
  const edit = (id: string, change: Partial<InstanceRecord>) => {
    instances = instances.map((one) => (one.id === id ? { ...one, ...change } : one));
  };
  for (const action of actions) {
    const { revisions } = facts;
    if (action.do === "start") {
      const id = `i${now}-${instances.length}`;
      const [gpu = ""] = action.placement.gpus;
      const state = behaviourOf(revisions.wanted.id) === "crashes" ? "exited" : "starting";
      const started = instance(id, revisions.wanted.id, gpu);
      instances = [...instances, { ...started, createdAtMs: now, observed: observation(id, state, gpu) }];
    } else if (action.do === "drain") edit(action.instanceId, { intent: "drain", drainSinceMs: now });
    else if (action.do === "warm") {
      const record = instances.find((one) => one.id === action.instanceId);
      if (behaviourOf(record?.revision ?? 0) === "good") edit(action.instanceId, { warmedAtMs: now });
      else warmFailures.set(action.instanceId, mute);
    } else if (action.do === "remove" || action.do === "record-exit") {
      instances = instances.filter((one) => one.id !== action.instanceId);
      if (action.do === "remove") continue;
      const before = action.of === "update" ? revisions.tries : facts.tries;
      const tries = { count: before.count + 1, lastAtMs: now, lastFailure: action.failure };
      facts = action.of === "update" ? { ...facts, revisions: { ...revisions, tries } } : { ...facts, tries };
    } else if (action.do === "finish-update") facts = { ...facts, revisions: finishUpdate(revisions) };
    else if (action.do === "revert-update") {
      facts = { ...facts, revisions: revertUpdate(revisions, action.failure, now) };
    } else if (action.do === "mark-run") {
      facts = { ...facts, hasRun: true, revisions: proveRevision(facts.revisions, action.revision) };
    } else if (action.do === "clear-tries") facts = { ...facts, tries: noTries };
    else throw new Error(`unexpected ${action.do}`);
  }
  instances = instances.map((one) =>
    one.observed?.state === "starting" && one.createdAtMs < now
      ? { ...one, observed: observation(one.id, "running", one.observed.placement.gpus[0] ?? "") }
      : one,
  );
  const draining = instances.filter((one) => one.intent === "drain");
  const inFlight = Object.fromEntries(draining.map((one) => [one.id, 0]));
  return {
    ...state,
    deployment: facts,
    instances,
    warmFailures,
    occupiedGpus: occupied(instances),
    load: { ...state.load, inFlight },
  };
}

const liveOf = (state: World) => state.instances.filter((one) => one.intent === "run");
const servingOf = (state: World) => statusOf(state.deployment, state.instances, state.now).instances.running;

function put(state: World, text: string): World {
  const revisions = updateArgs(state.deployment.revisions, args(text), state.deployment.hasRun, state.now);
  return { ...state, deployment: { ...state.deployment, revisions } };
}

/** Looks until nothing is left to do; `each` sees every state. */
function run(
  start: World,
  behaviourOf: (revision: number) => Behaviour,
  each: (state: World) => void = () => undefined,
): World {
  let state = start;
  let rested = 0;
  for (let step = 0; step < 400 && rested < 2; step += 1) {
    const plan = planDeployment(state);
    state = obey(state, plan.actions, behaviourOf);
    each(state);
    rested = plan.actions.length === 0 ? rested + 1 : 0;
    state = { ...state, now: Math.max(state.now + 1, plan.againAtMs ?? 0) };
  }
  expect(rested).toBe(2);
  return state;
}

const allGood = () => "good" as const;

describe("an update", () => {
  it("has nothing to do with the same arguments", () => {
    const { revisions } = deployment();
    expect(updateArgs(revisions, args("A"), true, 5)).toBe(revisions);
  });

  it("starts one new instance where there is room, asks it, and then lets one old one go", () => {
    let state = put(world(2, 3), "B");
    const steps: string[] = [];
    for (let look = 0; look < 6; look += 1) {
      const plan = planDeployment(state);
      steps.push(plan.actions.map((action) => action.do).join("+"));
      state = { ...obey(state, plan.actions, allGood), now: state.now + 1 };
      if (look === 0) {
        expect(statusOf(state.deployment, state.instances, state.now)).toMatchObject({
          status: "updating",
          rollout: { upToDate: 0, outdated: 2, booting: 1 },
        });
      }
    }
    expect(steps).toEqual(["start", "", "warm", "drain", "remove", "start"]);
  });

  it("works in place where there is no room", () => {
    const done = run(put(world(1, 1), "B"), allGood, (state) =>
      expect(liveOf(state).length).toBeLessThanOrEqual(1),
    );
    expect(done.instances.map((one) => one.revision)).toEqual([2]);
    expect(done.deployment.revisions).toMatchObject({ fallback: null, updateError: null });
  });

  it.each([
    ["crashes", 3, "engine_crashed"],
    ["mute", 3, "warm_up_failed"],
    ["crashes", 2, "engine_crashed"],
  ] as const)("that %s with %i GPUs is taken back, with the reason", (behaviour, gpus, code) => {
    const done = run(put(world(2, gpus), "B"), (revision) => (revision === 2 ? behaviour : "good"));
    const { wanted, fallback, updateError, retired } = done.deployment.revisions;
    expect({ wanted, fallback }).toEqual({ wanted: { id: 1, args: args("A") }, fallback: null });
    expect(updateError).toMatchObject({ code, next: expect.stringContaining("tried 3 times") });
    expect(retired).toMatchObject([{ id: 2, args: args("B") }]);
    expect(done.instances.map((one) => one.revision)).toEqual([1, 1]);
    expect(statusOf(done.deployment, done.instances, done.now)).toMatchObject({
      status: "running",
      rollout: null,
    });
    expect(done.deployment.tries).toEqual(noTries);
  });

  it("is taken back at once by what no further try can mend", () => {
    const refused = failure("bad_engine_args", "The engine has no --x.", "Correct it.");
    const state = put(world(1, 2), "B");
    const { revisions } = state.deployment;
    const tries = { count: 1, lastAtMs: state.now, lastFailure: refused };
    const plan = planDeployment({
      ...state,
      deployment: { ...state.deployment, revisions: { ...revisions, tries } },
    });
    expect(plan.actions).toMatchObject([{ do: "revert-update", failure: refused }]);
  });

  it("that goes back to the old arguments half-way keeps the instances that have them", () => {
    let state = put(world(2, 3), "B");
    state = { ...obey(state, planDeployment(state).actions, allGood), now: state.now + 1 };
    const done = run(put(state, "A"), allGood);
    expect(done.instances.map((one) => one.id)).toEqual(["old0", "old1"]);
    expect(done.deployment.revisions.wanted.id).toBe(1);
  });

  it("of a deployment that never ran has nothing to fall back to", () => {
    expect(put(world(1, 2, { hasRun: false }), "B").deployment.revisions.fallback).toBeNull();
  });

  it("that was asked for before anything had answered falls back to what answers after all", () => {
    const done = run(put(world(1, 2, { hasRun: false }), "B"), (revision) =>
      revision === 2 ? "crashes" : "good",
    );
    expect(done.deployment.revisions).toMatchObject({ wanted: { id: 1, args: args("A") }, fallback: null });
    expect(done.instances.map((one) => one.id)).toEqual(["old0"]);
  });

  it("has nothing to replace at zero, and holds the next instance to the same", () => {
    const settings = { minInstances: 0, maxInstances: 1, inactiveShutdownS: null };
    const asleep = put({ ...world(0, 1), deployment: deployment({ settings }) }, "B");
    expect(planDeployment(asleep).actions).toEqual([]);
    expect(statusOf(asleep.deployment, [], asleep.now)).toMatchObject({ status: "running", rollout: null });
    const woken = { ...asleep, load: { ...noLoad, queued: 5 } };
    const good = run(woken, allGood);
    expect(good.instances.map((one) => one.revision)).toEqual([2]);
    expect(good.deployment.revisions.fallback).toBeNull();
    const bad = run(woken, (revision) => (revision === 2 ? "crashes" : "good"));
    expect(bad.instances.map((one) => one.revision)).toEqual([1]);
    expect(bad.deployment.revisions.updateError).toMatchObject({ code: "engine_crashed" });
  });

  it("waits for a stop, and goes on after a start", () => {
    const stopped = put(world(1, 2), "B");
    const halted = run({ ...stopped, deployment: { ...stopped.deployment, desired: "stop" } }, allGood);
    expect(halted.instances).toEqual([]);
    const done = run(
      { ...halted, deployment: { ...halted.deployment, desired: "run", hasRun: false } },
      allGood,
    );
    expect(done.instances.map((one) => one.revision)).toEqual([2]);
  });

  it("remembers a bounded history, newest first", () => {
    let { revisions } = deployment();
    for (let index = 0; index < 50; index += 1)
      revisions = updateArgs(revisions, args(`${index}`), true, index);
    expect(revisions.retired).toHaveLength(historyKept);
    expect(revisions.retired[0]?.args).toEqual(args("48"));
    expect(revisions.wanted.id).toBe(51);
  });
});

describe("from any world", () => {
  const anyBehaviour = fc.constantFrom<Behaviour>("good", "good", "crashes", "mute");
  const anyWorld = fc.record({
    count: fc.integer({ min: 1, max: 4 }),
    spareGpus: fc.integer({ min: 0, max: 2 }),
    behaviours: fc.array(anyBehaviour, { minLength: 4, maxLength: 4 }),
    /** At which looks other arguments are asked for, and which. */
    puts: fc.array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.constantFrom("A", "B", "C")), {
      minLength: 1,
      maxLength: 3,
    }),
    /** At which looks control forgets what it holds in memory. */
    restarts: fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 3 }),
  });

  it("comes to rest with one revision that works, never above max + 1, and serving wherever there is room", () => {
    fc.assert(
      fc.property(anyWorld, ({ count, spareGpus, behaviours, puts, restarts }) => {
        const behaviourOf = (revision: number): Behaviour =>
          revision === 1 ? "good" : (behaviours[revision % behaviours.length] ?? "good");
        let looks = 0;
        let state = world(count, count + spareGpus);
        const check = (now: World) => {
          expect(liveOf(now).length).toBeLessThanOrEqual(count + 1);
          const gpus = now.instances.flatMap((one) => one.observed?.placement.gpus ?? []);
          expect(new Set(gpus).size).toBe(gpus.length);
          if (spareGpus > 0 || count > 1) expect(servingOf(now)).toBeGreaterThanOrEqual(count - 1);
          if (spareGpus > 1) expect(servingOf(now)).toBeGreaterThanOrEqual(count);
          // In the place of the only one, the old arguments have to load again as well.
          const others = spareGpus === 0 && count === 1 ? ["deploying"] : [];
          const { status } = statusOf(now.deployment, now.instances, now.now);
          expect(["running", "updating", ...others]).toContain(status);
        };
        for (looks = 0; looks <= 20; looks += 1) {
          for (const [at, text] of puts) if (at === looks) state = put(state, text);
          if (restarts.includes(looks)) state = { ...state, warmFailures: new Map() };
          const plan = planDeployment(state);
          state = obey(state, plan.actions, behaviourOf);
          check(state);
          state = { ...state, now: Math.max(state.now + 1, plan.againAtMs ?? 0) };
        }
        const done = run(state, behaviourOf, check);
        const { wanted, fallback } = done.deployment.revisions;
        expect(fallback).toBeNull();
        expect(behaviourOf(wanted.id)).toBe("good");
        expect(done.instances.map((one) => one.revision)).toEqual(
          Array.from({ length: count }, () => wanted.id),
        );
        expect(statusOf(done.deployment, done.instances, done.now).status).toBe("running");
      }),
      { numRuns: 500 },
    );
  });
});
