import { describe, expect, it } from "vitest";
import type { Deployment } from "./deployment.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord, ObservedInstance } from "./instance.ts";
import { deployment } from "./plan-samples.ts";
import { updateArgs } from "./revision.ts";
import { routesOf } from "./routes.ts";
import { statusOf } from "./status.ts";

const base = deployment({
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  createdAtMs: 0,
  updatedAtMs: 0,
  resolved: { commit: "c", files: [], engine: "embedded", entryFile: "m.gguf", task: "text-generation" },
  weightsReadyAtMs: 1,
});
const broken = failure("repo_gated", "It is gated.", "Ask for access.");

function record(state: ObservedInstance["state"] | null, intent: "run" | "drain" = "run"): InstanceRecord {
  const observed =
    state === null
      ? null
      : {
          id: "i",
          deploymentId: "d1",
          state,
          endpoint: { kind: "unix" as const, path: "/i.sock" },
          slots: 4,
          contextTokens: 256,
          loadProgress: null,
          note: null,
          placement: { node: "n", gpus: [] },
          startedAtMs: 0,
          readyAtMs: 1,
          failure: null,
        };
  const base = { id: "i", deploymentId: "d1", intent, createdAtMs: 0, drainSinceMs: null };
  return { ...base, revision: 1, warmedAtMs: null, observed };
}

const atZero = { minInstances: 0, maxInstances: 1, inactiveShutdownS: null };

describe("status", () => {
  it.each<[string, Partial<Deployment>, InstanceRecord[], string]>([
    ["accepted", { resolved: null, weightsReadyAtMs: null }, [], "initializing"],
    ["fetching", { weightsReadyAtMs: null }, [], "downloading"],
    ["about to start", {}, [], "deploying"],
    ["loading", {}, [record("starting")], "deploying"],
    ["answering", {}, [record("running")], "running"],
    ["crashed and coming back", { hasRun: true }, [record("exited")], "deploying"],
    ["at zero", { settings: atZero }, [], "running"],
    ["woken from zero", { settings: atZero }, [record("starting")], "running"],
    ["stopped, its last instance draining", { desired: "stop" }, [record("running", "drain")], "stopped"],
    ["failed", { failure: broken }, [], "failed"],
    ["deleted after a failure", { desired: "delete", failure: broken }, [], "deleted"],
  ])("%s", (_, change, instances, expected) => {
    expect(statusOf({ ...base, ...change }, instances, 0).status).toBe(expected);
  });

  it("is updating while an update is under way, and shows what is on trial apart", () => {
    const revisions = updateArgs(base.revisions, { standardArgs: {}, extraArgs: ["--x"] }, true, 1);
    const trial = { ...record("running"), revision: 2 };
    const report = statusOf({ ...base, hasRun: true, revisions }, [record("running"), trial], 0);
    expect(report).toMatchObject({
      status: "updating",
      instances: { running: 1, pending: 0, warming: 1 },
      rollout: { upToDate: 0, outdated: 1, booting: 1 },
    });
    const proven = { ...trial, warmedAtMs: 5 };
    expect(statusOf({ ...base, hasRun: true, revisions }, [proven], 0).instances.running).toBe(1);
  });

  it("carries the reason only when failed, and counts instances truly", () => {
    expect(statusOf({ ...base, failure: broken }, [], 0).failReason).toBe("It is gated. Ask for access.");
    expect(statusOf({ ...base, desired: "stop", failure: broken }, [], 0).failReason).toBe("");
    const mixed = [
      record("running"),
      record("running", "drain"),
      record("starting"),
      record(null),
      record("exited"),
    ];
    expect(statusOf(base, mixed, 0).instances).toEqual({ running: 1, pending: 2, warming: 0 });
  });
});

describe("routes", () => {
  const route = (change: Partial<Deployment>, instances: InstanceRecord[]) =>
    routesOf({
      known: new WeakMap(),
      version: 1,
      atMs: 0,
      tokens: [],
      admins: new Set(),
      deployments: [{ ...base, ...change }],
      instances,
      secrets: new Map([["i", "s"]]),
      accounts: [],
      spentScopes: [],
      abilities: new Map(),
      prices: new Map(),
    }).models[0];

  it.each<[string, Partial<Deployment>, InstanceRecord[], string]>([
    ["answering", {}, [record("running")], "ready"],
    ["loading", {}, [record("starting")], "starting"],
    ["only a draining instance", {}, [record("running", "drain")], "starting"],
    ["at zero", { settings: atZero }, [], "asleep"],
    ["at zero, weights still coming", { settings: atZero, weightsReadyAtMs: null }, [], "starting"],
    ["woken", { settings: atZero }, [record(null)], "starting"],
    ["stopped", { desired: "stop" }, [], "off"],
    ["failed", { failure: broken }, [], "off"],
    ["max 0", { settings: { ...atZero, maxInstances: 0 } }, [], "off"],
  ])("%s", (_, change, instances, expected) => {
    expect(route(change, instances)?.state).toBe(expected);
  });

  it("leaves out what is on trial, until it has answered or drains", () => {
    const revisions = updateArgs(base.revisions, { standardArgs: {}, extraArgs: ["--x"] }, true, 1);
    const trial = (change: Partial<InstanceRecord>) =>
      route({ hasRun: true, revisions }, [{ ...record("running"), revision: 2, ...change }])?.instances;
    expect(trial({})).toEqual([]);
    expect(trial({ warmedAtMs: 5 })).toHaveLength(1);
    expect(trial({ intent: "drain" })).toMatchObject([{ isDraining: true }]);
  });

  it("leaves deleted deployments out once they have no instance, and keeps draining instances in", () => {
    expect(route({ desired: "delete" }, [])).toBeUndefined();
    expect(route({ desired: "delete" }, [record("running", "drain")])).toMatchObject({
      state: "gone",
      instances: [{ id: "i", isDraining: true }],
    });
    expect(route({ desired: "stop" }, [record("running", "drain")])?.instances).toMatchObject([
      { id: "i", isDraining: true },
    ]);
  });
});
