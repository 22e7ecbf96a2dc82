import { expect, test } from "vitest";
import { Faults } from "./faults.ts";
import { modelOf } from "./test-rig.ts";

const endpoint = { kind: "unix", path: "/x" } as const;
const instanceOf = (id: string, isDraining = false) => ({ id, endpoint, secret: "s", slots: 1, isDraining });

test("a deployment that fails all the time runs out of retries, others do not", () => {
  const faults = new Faults(() => 0);
  const [one, other] = [modelOf([instanceOf("a")]), modelOf([instanceOf("a")], { deploymentId: "d2" })];
  let granted = 0;
  for (let i = 0; i < 100; i += 1) {
    faults.requested(one);
    if (faults.mayRetry(one)) granted += 1;
  }
  expect(granted).toBeLessThanOrEqual(10 + 20);
  expect(faults.mayRetry(other)).toBe(true);
});

test("what a deleted deployment did is forgotten; a draining instance is no reason to leave another alone", () => {
  const faults = new Faults(() => 0);
  const model = modelOf([instanceOf("a"), instanceOf("b", true)]);
  for (let i = 0; i < 5; i += 1) expect(faults.failed(model, "a")).toBe(500);
  const both = modelOf([instanceOf("a"), instanceOf("b")]);
  expect(faults.failed(both, "a")).toBeGreaterThan(500);
  faults.setModels([]);
  expect(faults.failed(both, "a")).toBe(500);
});

test("the load names what fails again and again", () => {
  const faults = new Faults(() => 0);
  const model = modelOf([instanceOf("a")]);
  const load = { queued: 0, running: 1, lastRequestAtMs: 1, inFlight: {} };
  for (let i = 0; i < 3; i += 1) {
    expect(faults.tell({ [model.deploymentId]: load })).toEqual({ [model.deploymentId]: load });
    faults.failed(model, "a");
  }
  expect(faults.tell({ [model.deploymentId]: load, other: load })).toEqual({
    [model.deploymentId]: { ...load, suspects: ["a"] },
    other: load,
  });
});

test("an instance whose answer is long in coming is named until one comes, or it is gone", () => {
  const faults = new Faults(() => 0);
  const model = modelOf([instanceOf("a"), instanceOf("b")]);
  const load = { queued: 0, running: 1, lastRequestAtMs: 1, inFlight: {} };
  const named = () => faults.tell({ [model.deploymentId]: load })[model.deploymentId]?.suspects;
  faults.late(model, "a", true);
  faults.late(model, "b", true);
  expect(named()).toEqual(["a", "b"]);
  faults.succeeded(model, "a");
  expect(named()).toEqual(["b"]);
  faults.late(modelOf([instanceOf("a")]), "b", false);
  expect(named()).toBeUndefined();
});
