import { expect, test } from "vitest";
import { Faults } from "./faults.ts";

const endpoint = { kind: "unix", path: "/x" } as const;
const instanceOf = (id: string, isDraining = false) => ({ id, endpoint, secret: "s", slots: 1, isDraining });

test("a deployment that fails all the time runs out of retries", () => {
  const faults = new Faults(() => 0);
  faults.setInstances([instanceOf("a")]);
  let granted = 0;
  for (let i = 0; i < 100; i += 1) {
    faults.requested();
    if (faults.mayRetry()) granted += 1;
  }
  expect(granted).toBeGreaterThan(0);
  expect(granted).toBeLessThanOrEqual(10 + 20);
});

test("a draining instance is no reason to leave another alone", () => {
  const faults = new Faults(() => 0);
  faults.setInstances([instanceOf("a"), instanceOf("b", true)]);
  for (let i = 0; i < 5; i += 1) expect(faults.failed("a", false)).toBe(500);
  faults.setInstances([instanceOf("a"), instanceOf("b")]);
  expect(faults.failed("a", false)).toBeGreaterThan(500);
  faults.succeeded("a");
  expect(faults.failed("a", false)).toBe(500);
});

test("what fails again and again, and what is busy and serves nothing, is named until something is served", () => {
  let nowMs = 0;
  const faults = new Faults(() => nowMs);
  faults.setInstances([instanceOf("a"), instanceOf("b")]);
  for (let i = 0; i < 3; i += 1) {
    expect(faults.suspects(1000)).toEqual([]);
    faults.failed("a", false);
  }
  faults.occupied("b", true);
  expect(faults.suspects(1000)).toEqual(["a"]);
  nowMs = 1000;
  faults.occupied("b", true);
  expect(faults.suspects(1000)).toEqual(["a", "b"]);
  faults.succeeded("a");
  faults.succeeded("b");
  expect(faults.suspects(1000)).toEqual([]);
  nowMs = 2000;
  expect(faults.suspects(1000)).toEqual(["b"]);
  faults.occupied("b", false);
  expect(faults.suspects(1000)).toEqual([]);
});
