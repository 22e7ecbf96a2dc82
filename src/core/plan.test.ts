import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Action } from "./action.ts";
import { backoffMs } from "./backoff.ts";
import { type Deployment, firstRevisions, noEngineArgs, noTries } from "./deployment.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord, ObservedInstance, RecordedObservation } from "./instance.ts";
import { planDeployment } from "./plan.ts";
import { noLoad } from "./routing.ts";
import type { World } from "./world.ts";

const now = 1_000_000;
const crash = failure("engine_crashed", "The engine ended.", "See the logs.");

function deployment(change: Partial<Deployment> = {}): Deployment {
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

function instance(
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

function world(change: Partial<World> = {}): World {
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

const doing = (change: Partial<World>) => planDeployment(world(change)).actions.map((action) => action.do);

describe("the way to running", () => {
  it("resolves, then fetches, then starts, each once", () => {
    const unresolved = deployment({ resolved: null, weightsReadyAtMs: null });
    expect(doing({ deployment: unresolved })).toEqual(["resolve"]);
    expect(
      doing({
        deployment: unresolved,
        underWay: { resolve: true, fetch: false, removing: new Set(), warming: new Set() },
      }),
    ).toEqual([]);
    const unfetched = deployment({ weightsReadyAtMs: null });
    expect(doing({ deployment: unfetched })).toEqual(["fetch"]);
    expect(
      doing({
        deployment: unfetched,
        underWay: { resolve: false, fetch: true, removing: new Set(), warming: new Set() },
      }),
    ).toEqual([]);
    expect(doing({})).toEqual(["start"]);
    expect(doing({ instances: [instance("i", null)] })).toEqual([]);
    expect(doing({ instances: [instance("i", "running")] })).toEqual(["mark-run"]);
  });

  it("fails at once, before any download, when the hardware is not there", () => {
    const asked = deployment({ resolved: null, config: { ...deployment().config, gpu: "H100-80GB" } });
    const [action] = planDeployment(world({ deployment: asked, engineRunsOn: null })).actions;
    expect(action).toMatchObject({ do: "fail", failure: { code: "hardware_missing" } });
    expect(action?.do === "fail" && action.failure.message).toContain("the CPU (2 cores, 16 GB)");
  });
});

describe("GPUs", () => {
  const gpu = (id: string) => ({
    ...{ id, type: "H100-80GB", name: "NVIDIA H100", memoryBytes: 2 ** 36, usable: true, reason: null },
  });
  const onGpus = (ids: readonly string[], lost: readonly string[] = []): Partial<World> => ({
    nodes: [
      {
        ...{ node: "n", cpuCores: 2, memoryBytes: 2 ** 34 },
        gpus: ids.map((id) =>
          lost.includes(id)
            ? { ...gpu(id), usable: false, reason: "it has fallen off the bus", outage: "lost" as const }
            : gpu(id),
        ),
      },
    ],
    engineRunsOn: "gpu",
  });
  const h100 = (numGpus: number, change: Partial<Deployment> = {}) =>
    deployment({ config: { ...deployment().config, gpu: "H100-80GB", numGpus }, ...change });
  const holding = (...gpus: string[]): InstanceRecord => {
    const record = instance("i", "running");
    return {
      ...record,
      observed: record.observed && { ...record.observed, placement: { node: "n", gpus } },
    };
  };

  it("an instance whose GPU is lost is replaced, and says why", () => {
    const { actions } = planDeployment(
      world({ ...onGpus(["a", "b"], ["a"]), deployment: h100(1), instances: [holding("a")] }),
    );
    expect(actions).toMatchObject([
      {
        ...{ do: "record-exit", instanceId: "i", of: "deployment" },
        failure: { code: "gpu_lost", message: expect.stringContaining("GPU a (NVIDIA H100)") },
      },
    ]);
    expect(doing({ ...onGpus(["a", "b"], ["a"]), deployment: h100(1) })).toEqual(["start"]);
  });

  it("one that has run waits for its GPUs, one that never did fails", () => {
    const lost = onGpus(["a", "b"], ["a"]);
    expect(doing({ ...lost, deployment: h100(2) })).toEqual(["fail"]);
    const plan = planDeployment(world({ ...lost, deployment: h100(2, { hasRun: true }) }));
    expect(plan).toEqual({
      ...{ actions: [], againAtMs: null },
      waitsFor: expect.stringMatching(/No machine here has 2 x H100-80GB; there is 1 x .*fallen off the bus/),
    });
  });

  it("says what it waits for, and starts what there is room for", () => {
    const settings = { minInstances: 3, maxInstances: 3, inactiveShutdownS: null };
    const plan = planDeployment(
      world({ ...onGpus(["a", "b"]), deployment: h100(1, { settings }), occupiedGpus: new Set(["a"]) }),
    );
    expect(plan.actions).toMatchObject([{ do: "start", placement: { node: "n", gpus: ["b"] } }]);
    expect(plan.waitsFor).toBe("every H100-80GB is taken");
    const quota = { account: "ann", held: 1, limit: 2 };
    const bounded = planDeployment(
      world({ ...onGpus(["a", "b"]), deployment: h100(1, { settings }), quota }),
    );
    expect(bounded.actions.map((action) => action.do)).toEqual(["start"]);
    expect(bounded.waitsFor).toBe("the account ann has 2 of the 2 H100-80GB it may have");
  });
});

describe("failing", () => {
  it("counts an exit before it decides anything else", () => {
    expect(doing({ instances: [instance("i", "exited")] })).toEqual(["record-exit"]);
  });

  it("waits between tries and gives up after the bounded number", () => {
    const twice = deployment({ tries: { count: 2, lastAtMs: now, lastFailure: crash } });
    const plan = planDeployment(world({ deployment: twice }));
    expect(plan).toEqual({ actions: [], againAtMs: now + backoffMs(2) });
    const thrice = deployment({ tries: { count: 3, lastAtMs: now, lastFailure: crash } });
    expect(doing({ deployment: thrice })).toEqual(["fail"]);
  });

  it("does not try again what no try can mend", () => {
    const lastFailure = failure("repo_not_found", "It is not there.", "Check the name.");
    expect(
      doing({ deployment: deployment({ resolved: null, tries: { count: 1, lastAtMs: now, lastFailure } }) }),
    ).toEqual(["fail"]);
  });

  it("restarts for ever, with back-off, what has run before", () => {
    const often = deployment({ hasRun: true, tries: { count: 50, lastAtMs: now, lastFailure: crash } });
    expect(planDeployment(world({ deployment: often }))).toEqual({ actions: [], againAtMs: now + 300_000 });
    expect(doing({ deployment: often, now: now + 300_000 })).toEqual(["start"]);
    // The clock was put back.
    expect(doing({ deployment: often, now: now - 1 })).toEqual(["start"]);
  });

  it("gives up what has run where a number of ends in a row is set, and says how often", () => {
    const limits = { ...world().limits, restarts: 20 };
    const ended = (count: number) =>
      deployment({ hasRun: true, tries: { count, lastAtMs: now, lastFailure: crash } });
    expect(doing({ deployment: ended(19), limits, now: now + 300_000 })).toEqual(["start"]);
    expect(planDeployment(world({ deployment: ended(20), limits })).actions).toMatchObject([
      {
        do: "fail",
        failure: {
          message: crash.message,
          next: `It has ended 20 times in a row without running for 60 s in between. ${crash.next}`,
        },
      },
    ]);
    expect(doing({ deployment: ended(20), limits, instances: [instance("other", "running")] })).not.toContain(
      "fail",
    );
  });

  it("replaces instances that answer nothing one at a time, never all at once", () => {
    const mute = failure("warm_up_failed", "It says nothing.", "See the logs.");
    const facts = deployment({ hasRun: true });
    const warmFailures = new Map([
      ["a", mute],
      ["b", mute],
    ]);
    const both = {
      deployment: facts,
      warmFailures,
      instances: [instance("a", "running"), instance("b", "running")],
    };
    const exits = (more: Partial<World>) =>
      planDeployment(world({ ...both, ...more })).actions.flatMap((action) =>
        action.do === "record-exit" ? action.instanceId : [],
      );
    expect(exits({})).toEqual(["a"]);
    const underWay = { ...world().underWay, removing: new Set(["a"]) };
    expect(exits({ underWay })).toEqual([]);
    expect(exits({ instances: [instance("c", "starting"), instance("b", "running")] })).toEqual([]);
    expect(exits({ instances: [instance("c", "running"), instance("b", "running")] })).toEqual(["b"]);
  });

  it("asks an instance at which requests keep failing for a token, and replaces it when it gives none", () => {
    const facts = deployment({ hasRun: true });
    const doubted = {
      deployment: facts,
      instances: [instance("i", "running")],
      load: { ...noLoad, running: 1, suspects: ["i", "gone"] },
    };
    expect(doing(doubted)).toEqual(["doubt"]);
    const mute = failure("warm_up_failed", "It says nothing.", "See the logs.");
    expect(planDeployment(world({ ...doubted, warmFailures: new Map([["i", mute]]) })).actions).toMatchObject(
      [{ do: "record-exit", instanceId: "i", of: "deployment", failure: mute }],
    );
  });

  it("ends what still runs of a failed deployment", () => {
    expect(
      doing({ deployment: deployment({ failure: crash }), instances: [instance("i", "running")] }),
    ).toEqual(["drain"]);
  });
});

describe("zero", () => {
  const settings = { minInstances: 0, maxInstances: 1, inactiveShutdownS: 60 };
  it("starts nothing without a request and one at the first", () => {
    expect(doing({ deployment: deployment({ settings }) })).toEqual([]);
    expect(doing({ deployment: deployment({ settings }), load: { ...noLoad, queued: 5 } })).toEqual([
      "start",
    ]);
  });

  it("goes back to zero after inactive_shutdown and not while a request runs", () => {
    const idle = deployment({ settings, hasRun: true });
    const instances = [instance("i", "running")];
    expect(planDeployment(world({ deployment: idle, instances }))).toEqual({
      actions: [],
      againAtMs: now + 60_000,
    });
    expect(doing({ deployment: idle, instances, now: now + 60_000 })).toEqual(["drain"]);
    expect(
      doing({ deployment: idle, instances, now: now + 60_000, load: { ...noLoad, running: 1 } }),
    ).toEqual([]);
  });

  it("never wakes with max 0", () => {
    const never = deployment({ settings: { minInstances: 0, maxInstances: 0, inactiveShutdownS: null } });
    expect(doing({ deployment: never, load: { ...noLoad, queued: 9 } })).toEqual([]);
  });
});

describe("recovery", () => {
  it("keeps the back-off of an instance that fails while another serves", () => {
    const tries = { count: 3, lastAtMs: now + 100_000, lastFailure: crash };
    const settings = { minInstances: 2, maxInstances: 2, inactiveShutdownS: null };
    const facts = deployment({ settings, hasRun: true, tries });
    const instances = [instance("i", "running")];
    expect(doing({ deployment: facts, instances, now: now + 100_001 })).toEqual([]);
    expect(doing({ deployment: facts, instances, now: now + 160_000 })).toEqual(["clear-tries", "start"]);
  });
});

it("replaces an instance that has grown near its limit and has nothing to do", () => {
  const memory = new Map([["i", { usedBytes: 950, limitBytes: 1000 }]]);
  const grown = {
    deployment: deployment({ hasRun: true }),
    instances: [instance("i", "running")],
    memory,
    now: now + 1_800_000,
  };
  expect(planDeployment(world(grown)).actions).toMatchObject([
    { do: "drain", instanceId: "i", reason: expect.stringMatching(/it has grown to/) },
  ]);
  expect(doing({ ...grown, load: { ...noLoad, running: 1, inFlight: { i: 1 } } })).toEqual([]);
  const draining = instance("i", "running", { intent: "drain", drainSinceMs: now });
  expect(doing({ ...grown, instances: [draining] })).toContain("start");
});

describe("draining", () => {
  const draining = instance("i", "running", { intent: "drain", drainSinceMs: now });
  const stopped = deployment({ desired: "stop" });
  it("waits until every gateway knows and nothing is left", () => {
    expect(doing({ deployment: stopped, instances: [draining] })).toEqual([]);
    expect(
      doing({ deployment: stopped, instances: [draining], load: { ...noLoad, inFlight: { i: 2 } } }),
    ).toEqual([]);
    expect(
      doing({
        deployment: stopped,
        instances: [draining],
        load: { ...noLoad, inFlight: { i: 0 } },
        now: now + 5_000,
      }),
    ).toEqual(["remove"]);
  });

  it("waits for a gateway that was lost and may come back with requests, whatever the others say", () => {
    const lost = {
      now: now + 20_000,
      gatewaySeenAtMs: now + 18_000,
      load: { ...noLoad, inFlight: { i: 0 } },
    };
    for (const gateways of [0, 1]) {
      const plan = planDeployment(world({ deployment: stopped, instances: [draining], ...lost, gateways }));
      expect(plan).toEqual({ actions: [], againAtMs: now + 23_000 });
      expect(
        doing({ deployment: stopped, instances: [draining], ...lost, gateways, now: now + 23_000 }),
      ).toEqual(["remove"]);
    }
  });

  it("ends at the limit whatever is left", () => {
    const load = { ...noLoad, inFlight: { i: 2 } };
    expect(planDeployment(world({ deployment: stopped, instances: [draining], load })).againAtMs).toBe(
      now + 30_000,
    );
    expect(doing({ deployment: stopped, instances: [draining], load, now: now + 30_000 })).toEqual([
      "remove",
    ]);
  });

  it("does not wait for a gateway where none is, after a start-up grace", () => {
    expect(doing({ deployment: stopped, instances: [draining], gateways: 0 })).toEqual([]);
    expect(doing({ deployment: stopped, instances: [draining], gateways: 0, now: now + 5_000 })).toEqual([
      "remove",
    ]);
  });

  it("gives up instances that do not serve yet first", () => {
    const instances = [instance("old", "running"), instance("new", "starting", { createdAtMs: now + 1 })];
    const facts = deployment({ hasRun: true });
    expect(doing({ deployment: facts, instances })).toEqual([]);
    const plan = planDeployment(world({ deployment: facts, instances, now: now + 300_000 }));
    expect(plan.actions).toMatchObject([{ do: "drain", instanceId: "new" }]);
  });
});

/** A world that obeys: each action has its effect, instances load, engines may crash, gateways report the truth. */
function obey(state: World, actions: readonly Action[], crashes: boolean): World {
  let { deployment: facts, instances } = state;
  for (const action of actions) {
    if (action.do === "resolve") facts = { ...facts, resolved: deployment().resolved };
    else if (action.do === "fetch") facts = { ...facts, weightsReadyAtMs: state.now };
    else if (action.do === "start")
      instances = [
        ...instances,
        instance(`i${state.now}-${instances.length}`, crashes ? "exited" : "starting"),
      ];
    else if (action.do === "drain") {
      instances = instances.map((one) =>
        one.id === action.instanceId ? { ...one, intent: "drain", drainSinceMs: state.now } : one,
      );
    } else if (action.do === "remove") instances = instances.filter((one) => one.id !== action.instanceId);
    else if (action.do === "record-exit") {
      instances = instances.filter((one) => one.id !== action.instanceId);
      facts = {
        ...facts,
        tries: { count: facts.tries.count + 1, lastAtMs: state.now, lastFailure: action.failure },
      };
    } else if (action.do === "mark-run") facts = { ...facts, hasRun: true };
    else if (action.do === "clear-tries") facts = { ...facts, tries: noTries };
    else if (action.do === "fail") facts = { ...facts, failure: action.failure };
  }
  const loaded = instances.map((one) =>
    one.observed?.state === "starting"
      ? instance(one.id, "running", { ...one, observed: instance(one.id, "running").observed })
      : one,
  );
  const inFlight = Object.fromEntries(
    loaded.filter((one) => one.intent === "drain").map((one) => [one.id, 0]),
  );
  return { ...state, deployment: facts, instances: loaded, load: { ...state.load, inFlight } };
}

describe("from any world", () => {
  const anyWorld = fc.record({
    min: fc.integer({ min: 0, max: 4 }),
    extra: fc.integer({ min: 0, max: 4 }),
    desired: fc.constantFrom("run", "stop", "delete") as fc.Arbitrary<Deployment["desired"]>,
    isResolved: fc.boolean(),
    isFetched: fc.boolean(),
    hasRun: fc.boolean(),
    hasFailed: fc.boolean(),
    tries: fc.integer({ min: 0, max: 5 }),
    queued: fc.integer({ min: 0, max: 5 }),
    crashes: fc.boolean(),
    instances: fc.array(
      fc.record({
        state: fc.constantFrom("starting", "running", "exited") as fc.Arbitrary<ObservedInstance["state"]>,
        drains: fc.boolean(),
      }),
      { maxLength: 8 },
    ),
  });

  it("comes to rest with what is wanted and never has more than max", () => {
    fc.assert(
      fc.property(anyWorld, (given) => {
        const max = given.min + given.extra;
        const facts = deployment({
          desired: given.desired,
          settings: { minInstances: given.min, maxInstances: max, inactiveShutdownS: 60 },
          resolved: given.isResolved ? deployment().resolved : null,
          weightsReadyAtMs: given.isResolved && given.isFetched ? now : null,
          hasRun: given.hasRun,
          failure: given.hasFailed ? crash : null,
          tries: given.tries === 0 ? noTries : { count: given.tries, lastAtMs: now, lastFailure: crash },
        });
        let state = world({
          deployment: facts,
          load: { ...noLoad, queued: given.queued },
          instances: given.instances.map(({ state: seen, drains }, index) =>
            instance(`old${index}`, seen, drains ? { intent: "drain", drainSinceMs: now } : {}),
          ),
        });
        let rested = 0;
        for (let step = 0; step < 100 && rested < 2; step += 1) {
          const plan = planDeployment(state);
          const before = state.instances.filter((one) => one.intent === "run").length;
          state = obey(state, plan.actions, given.crashes);
          const after = state.instances.filter((one) => one.intent === "run").length;
          expect(after).toBeLessThanOrEqual(Math.max(before, max));
          rested = plan.actions.length === 0 ? rested + 1 : 0;
          state = { ...state, now: Math.max(state.now + 1, plan.againAtMs ?? 0) };
          if (given.crashes && state.deployment.hasRun && given.desired === "run" && !given.hasFailed) return; // restarts for ever, by design
        }
        expect(rested).toBe(2);
        if (given.desired !== "run" || state.deployment.failure !== null) {
          expect(state.instances).toEqual([]);
        } else if (given.min === 0 && given.queued > 0 && max > 0) {
          expect(state.instances.length).toBeGreaterThanOrEqual(1);
        } else {
          const needed = Math.ceil(given.queued / deployment().config.maxBatchSize);
          expect(state.instances).toHaveLength(Math.max(given.min, Math.min(max, needed)));
        }
      }),
      { numRuns: 500 },
    );
  });
});
