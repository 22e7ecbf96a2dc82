import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultTerms } from "./account.ts";
import { failure } from "./failure.ts";
import { type GpuUser, gpusAskedFor, refuseGpus } from "./gpu-quota.ts";

const quota = {
  account: "ann",
  limits: { ...defaultTerms.limits, gpus: { "H100-80GB": 4 } },
  defaultGpus: 2,
};

function user(id: string, maxInstances: number, more: Partial<GpuUser> = {}): GpuUser {
  return {
    id,
    desired: "run",
    failure: null,
    settings: { minInstances: 0, maxInstances, inactiveShutdownS: null },
    config: { gpu: "H100-80GB", numGpus: 2 },
    ...more,
  };
}

test("counts the account's other deployments that are meant to run, of the same type", () => {
  expect(refuseGpus(quota, user("a", 2), [])).toBeNull();
  expect(refuseGpus(quota, user("a", 3), [])).toMatch(/may have 4 x H100-80GB; this asks for 6/);
  expect(refuseGpus(quota, user("a", 1), [user("b", 1)])).toBeNull();
  expect(refuseGpus(quota, user("a", 1), [user("b", 2)])).toMatch(/other deployments may grow to 4/);
  expect(refuseGpus(quota, user("a", 1), [user("a", 2)])).toBeNull();
  expect(refuseGpus(quota, user("a", 1), [user("b", 2, { desired: "stop" })])).toBeNull();
  const failed = { failure: failure("disk_full", "A.", "B.") };
  expect(refuseGpus(quota, user("a", 1), [user("b", 2, failed)])).toBeNull();
  const onCpu = { config: { gpu: "other" as const, numGpus: 1 } };
  expect(refuseGpus(quota, user("a", 1, onCpu), [user("b", 2)])).toBeNull();
  expect(refuseGpus(quota, user("a", 3, onCpu), [])).toMatch(/may have 2 x other/);
});

test("what grows to nothing is never refused", () => {
  expect(refuseGpus(quota, user("a", 0), [user("b", 9)])).toBeNull();
  expect(refuseGpus(quota, user("a", 9, { desired: "stop" }), [user("b", 9)])).toBeNull();
});

test("deployments that were let in one after the other never exceed the limit", () => {
  const any = fc.record({ max: fc.integer({ min: 0, max: 4 }), gpus: fc.integer({ min: 1, max: 8 }) });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 10 }), (wanted) => {
      const running: GpuUser[] = [];
      for (const [at, { max, gpus }] of wanted.entries()) {
        const next = user(String(at), max, { config: { gpu: "H100-80GB", numGpus: gpus } });
        if (refuseGpus(quota, next, running) === null) running.push(next);
      }
      expect(gpusAskedFor(running, "H100-80GB")).toBeLessThanOrEqual(4);
    }),
  );
});
