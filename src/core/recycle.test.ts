import { expect, test } from "vitest";
import type { InstanceRecord } from "./instance.ts";
import { chooseRecycled, type RecycleInput } from "./recycle.ts";

const mib = 2 ** 20;
const instance = (id: string, state = "running") =>
  ({ id, observed: { state, readyAtMs: 0 } }) as unknown as InstanceRecord;
const of = (usedMib: number, limitMib: number | null = 1000) => ({
  usedBytes: usedMib * mib,
  limitBytes: limitMib === null ? null : limitMib * mib,
});

const input: RecycleInput = {
  now: 1_800_000,
  live: ["a", "b", "c"].map((id) => instance(id)),
  memory: new Map([
    ["a", of(500)],
    ["b", of(900)],
    ["c", of(950)],
  ]),
  inFlight: {},
  queued: 0,
};

test("one that has grown and has nothing to do goes, with the numbers", () => {
  expect(chooseRecycled(input)).toEqual({
    instanceId: "b",
    reason:
      "it has grown to 900 of the 1000 MiB that it may have and has nothing to do; another takes its place",
  });
  expect(chooseRecycled({ ...input, inFlight: { b: 1 } })?.instanceId).toBe("c");
});

test.each<[string, Partial<RecycleInput>]>([
  ["all that have grown are busy", { inFlight: { b: 1, c: 2 } }],
  ["requests wait", { queued: 1 }],
  ["they are young", { now: 1_700_000 }],
  ["another is only starting", { live: [instance("b"), instance("d", "starting")] }],
  ["there is no limit", { memory: new Map([["b", of(900, null)]]) }],
  ["nobody knows what they use", { memory: new Map() }],
])("none where %s", (_why, change) => {
  expect(chooseRecycled({ ...input, ...change })).toBeNull();
});
