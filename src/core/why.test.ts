/** Each state says what it follows from and what would change it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Deployment, firstRevisions, noEngineArgs, noTries } from "./deployment.ts";
import type { DeploymentEvent } from "./event.ts";
import { failure } from "./failure.ts";
import type { InstanceRecord } from "./instance.ts";
import { type Status, statuses, statusOf } from "./status.ts";
import { explainState } from "./why.ts";

const now = 1_000_000;
const crash = failure("engine_crashed", "The engine ended.", "See the logs.");

function deployment(change: Partial<Deployment> = {}): Deployment {
  return {
    ...{ id: "d1", account: "alice", name: "alice/m", isPublic: false, desired: "run" },
    config: {
      ...{ gpu: "other", numGpus: 1, maxBatchSize: 4, baseModel: null, containerImage: null },
      weights: { repo: "o/n", revision: null },
    },
    settings: { minInstances: 1, maxInstances: 2, inactiveShutdownS: null },
    ...{ createdAtMs: now, updatedAtMs: now, weightsReadyAtMs: now, failure: null, hasRun: true },
    resolved: { commit: "abc", files: [], engine: "e", entryFile: "m", task: "text-generation" },
    ...{ tries: noTries, revisions: firstRevisions(noEngineArgs), loadTimeMs: null },
    ...change,
  };
}

function instance(state: "starting" | "running" | "exited"): InstanceRecord {
  return {
    ...{ id: "i1", deploymentId: "d1", intent: "run", createdAtMs: now, drainSinceMs: null },
    ...{ revision: 1, warmedAtMs: null },
    observed: {
      ...{ id: "i1", deploymentId: "d1", state, endpoint: { kind: "unix", path: "/s" } },
      ...{ slots: 4, contextTokens: 8, loadProgress: null, note: null },
      placement: { node: "n", gpus: ["GPU-1"] },
      ...{ startedAtMs: now, readyAtMs: now, failure: null },
    },
  };
}

function event(code: string, text = code, next = ""): DeploymentEvent {
  return { deploymentId: "d1", atMs: now, code, text, next, inputs: {} };
}

const atZero = { minInstances: 0, maxInstances: 2, inactiveShutdownS: null };
const updating = { ...firstRevisions(noEngineArgs), fallback: { id: 0, args: noEngineArgs } };
const states: [Status, Partial<Deployment>, InstanceRecord[], RegExp, RegExp][] = [
  ["initializing", { resolved: null, weightsReadyAtMs: null }, [], /o\/n is not resolved/, /hub/],
  ["downloading", { weightsReadyAtMs: null }, [], /commit abc are not all here/, /download/],
  ["deploying", {}, [instance("starting")], /none answers yet; 1 are/, /first answer/],
  ["running", {}, [instance("running")], /1 instance answers/, /^$/],
  ["running", { settings: atZero }, [], /min_instances is 0/, /request starts an instance/],
  ["running", { settings: { ...atZero, maxInstances: 0 } }, [], /max_instances is 0/, /above 0/],
  ["running", { settings: atZero }, [instance("starting")], /being woken/, /request that woke it/],
  ["updating", { revisions: updating }, [instance("running")], /from revision 0 to 1/, /every instance/],
  ["stopped", { desired: "stop" }, [], /asked to stop/, /POST \/deploy\/d1\/start/],
  ["failed", { failure: crash }, [], /given up: The engine ended/, /tries again/],
  ["deleted", { desired: "delete" }, [], /for good/, /deploy it again/],
];

test.each(states)("%s says why and what would change it", (status, change, instances, facts, would) => {
  const why = explainState({ deployment: deployment(change), instances, events: [], now });
  expect(why.status).toBe(status);
  expect(why.facts.join("\n")).toMatch(facts);
  expect(why.wouldChange.join("\n")).toMatch(would);
});

test("every status is explained", () => {
  expect(new Set(states.map(([status]) => status))).toEqual(new Set(statuses));
});

test("the chain begins with what was asked for last and keeps the newest decisions", () => {
  const crashes = Array.from({ length: 40 }, (_, index) => event("engine_crashed", `crash ${index}`));
  const events = [event("accepted"), event("resolved"), event("started"), ...crashes];
  const { chain } = explainState({ deployment: deployment(), instances: [], events, now });
  expect(chain).toHaveLength(20);
  expect([chain[0]?.code, chain.at(-1)?.text]).toEqual(["started", "crash 39"]);
});

test("tries, the next one's time and a lack of room are told, with the last advice", () => {
  const tries = { count: 3, lastAtMs: now, lastFailure: crash };
  const events = [
    event("accepted"),
    event("waiting_for_room", "alice/m waits for room: no GPU.", "Stop another."),
  ];
  const why = explainState({ deployment: deployment({ tries }), instances: [], events, now });
  expect(why.facts[1]).toBe("Starting it failed 3 times, last: The engine ended. The next try is in 2 s.");
  expect(why.wouldChange).toEqual(["alice/m waits for room: no GPU.", "Stop another."]);
});

test("whatever the facts are, it names the status that everyone else sees and gives at least one fact", () => {
  const state = fc.constantFrom("starting" as const, "running" as const, "exited" as const);
  fc.assert(
    fc.property(
      fc.constantFrom(...states.map(([, change]) => change)),
      fc.array(state, { maxLength: 3 }),
      (change, seen) => {
        const one = deployment(change);
        const instances = seen.map(instance);
        const why = explainState({ deployment: one, instances, events: [], now });
        expect(why.status).toBe(statusOf(one, instances, now).status);
        expect(why.facts.length).toBeGreaterThan(0);
      },
    ),
  );
});
