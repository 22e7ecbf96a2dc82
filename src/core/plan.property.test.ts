/** The plan from any world, carried out in one that obeys: it comes to rest with what is wanted. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Action } from "./action.ts";
import { type Deployment, noTries } from "./deployment.ts";
import type { ObservedInstance } from "./instance.ts";
import { planDeployment } from "./plan.ts";
import { crash, deployment, instance, now, world } from "./plan-samples.ts";
import { noLoad } from "./routing.ts";
import type { World } from "./world.ts";

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
