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
  for (let i = 0; i < 5; i += 1) expect(faults.failed("a")).toBe(500);
  faults.setInstances([instanceOf("a"), instanceOf("b")]);
  expect(faults.failed("a")).toBeGreaterThan(500);
  faults.succeeded("a");
  expect(faults.failed("a")).toBe(500);
});
