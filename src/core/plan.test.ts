import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";
import type { Deployment } from "./deployment.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { planDeployment } from "./plan.ts";
import { crash, deployment, doing, instance, now, world } from "./plan-samples.ts";
import { noLoad } from "./routing.ts";
import type { World } from "./world.ts";

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
