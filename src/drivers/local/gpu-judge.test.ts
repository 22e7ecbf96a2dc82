/** Which GPUs are offered, and why the others are not. */
import { expect, it } from "vitest";
import { type GpuOwners, judgeGpus, type NvidiaInventory } from "./gpu-judge.ts";
import { gpuTypeOf } from "./gpu-types.ts";
import type { NvidiaGpu, NvidiaProcess } from "./nvidia-smi.ts";

const gib = 2 ** 30;
const gpu = (uuid: string, change: Partial<NvidiaGpu> = {}): NvidiaGpu => ({
  ...{ uuid, busId: "00000000:01:00.0", name: "NVIDIA L4", memoryBytes: 23_034 * 2 ** 20, usedBytes: 0 },
  ...{ isSliced: false, slices: [], processes: [], trouble: null, isLost: false },
  ...change,
});
const process = (pid: number, change: Partial<NvidiaProcess> = {}): NvidiaProcess => ({
  ...{ pid, name: "/opt/py/bin/python train.py --key secret", type: "C", usedBytes: gib, slice: null },
  ...change,
});
const judge = (
  gpus: readonly NvidiaGpu[],
  more: Partial<NvidiaInventory> = {},
  own: Partial<GpuOwners> = {},
) =>
  judgeGpus(
    { gpus, lost: new Map(), sliceIds: new Map(), neighbours: [], ...more },
    { pids: new Set([7]), held: new Set(), ...own },
    true,
  );

/** Names and MiB as cards report them. */
it.each([
  ["NVIDIA L4", 23_034, "L4-24GB"],
  ["NVIDIA L40S", 46_068, "L40S-48GB"],
  ["NVIDIA A100-SXM4-80GB", 81_920, "A100-80GB"],
  ["NVIDIA A100 80GB PCIe", 81_920, "A100-80GB"],
  ["NVIDIA A100-SXM4-40GB", 40_960, "other"],
  ["NVIDIA H100 80GB HBM3", 81_559, "H100-80GB"],
  ["NVIDIA H100 NVL", 95_830, "H100-80GB"],
  ["NVIDIA H200", 143_771, "H200-141GB"],
  ["NVIDIA B200", 183_359, "B200-180GB"],
  ["NVIDIA B300 SXM6 AC", 275_040, "B300-270GB"],
  ["NVIDIA RTX PRO 6000 Blackwell Server Edition", 97_887, "RTXPRO6000-96GB"],
  ["NVIDIA GeForce RTX 4090", 24_564, "other"],
  ["NVIDIA L40", 46_068, "other"],
])("%s with %i MiB is %s", (name, mebibytes, type) => {
  expect(gpuTypeOf(name, mebibytes * 2 ** 20)).toBe(type);
});

it("is offered, also under an own engine and with a desktop on it", () => {
  const desktop = process(1, { type: "G", usedBytes: gib / 4 });
  const browser = process(2, { type: "C+G", usedBytes: gib / 4 });
  const gpus = [gpu("a"), gpu("b", { processes: [process(7)] }), gpu("c", { processes: [desktop, browser] })];
  expect(judge(gpus).map(({ usable }) => usable)).toEqual([true, true, true]);
});

it.each<[string, Partial<NvidiaGpu>, string, string]>([
  [
    "a stranger computes on it",
    { processes: [process(9)] },
    "busy",
    "process 9 (python), not of Berth, holds 1.1 GB of it",
  ],
  [
    "a stranger of unknown size",
    { processes: [process(9, { usedBytes: null })] },
    "busy",
    "process 9 (python), not of Berth, uses it",
  ],
  ["somebody hidden holds much of it", { usedBytes: 5 * gib }, "busy", "others than Berth hold 5.4 GB of it"],
  ["the driver has trouble with it", { trouble: "its memory is bad" }, "sick", "its memory is bad"],
  ["it does not answer", { isLost: true }, "lost", "the driver does not reach it"],
])("is not offered when %s", (_case, change, outage, reason) => {
  expect(judge([gpu("a", change)])).toMatchObject([{ usable: false, outage, reason }]);
});

it("is lost when the driver says so, whatever its last report was", () => {
  const lost = new Map([["a", "the driver lost it (Unknown Error)"]]);
  expect(judge([gpu("a")], { lost })).toMatchObject([{ outage: "lost", reason: lost.get("a") }]);
});

it("counts what others hold, but not under an own engine, whose memory the driver may not attribute", () => {
  expect(judge([gpu("a", { usedBytes: gib })])).toMatchObject([{ usable: true, foreignBytes: gib }]);
  const [held] = judge([gpu("a", { usedBytes: 20 * gib })], {}, { held: new Set(["a"]) });
  expect(held).toMatchObject({ usable: true });
  expect(held?.foreignBytes).toBeUndefined();
});

it("parts of a card are GPUs of their own, the card is none", () => {
  const sliced = gpu("a", {
    ...{ name: "NVIDIA H100 80GB HBM3", isSliced: true, processes: [process(9, { slice: "4/0" })] },
    slices: [
      { index: 0, slice: "3/0", memoryBytes: 10 * gib },
      { index: 1, slice: "4/0", memoryBytes: 10 * gib },
      { index: 2, slice: "5/0", memoryBytes: 10 * gib },
    ],
  });
  const sliceIds = new Map([["a", ["MIG-0", "MIG-1"]]]);
  expect(judge([sliced], { sliceIds })).toMatchObject([
    { id: "MIG-0", type: "other", isSlice: true, usable: true, memoryBytes: 10 * gib },
    { id: "MIG-1", usable: false, outage: "busy" },
  ]);
});

it("knows neighbours by id", () => {
  const neighbours = [
    { nvlinks: [1], numaNode: 0 },
    { nvlinks: [0], numaNode: null },
  ];
  const [a, b] = judge([gpu("a"), gpu("b")], { neighbours });
  expect(a).toMatchObject({ nvlinks: ["b"], numaNode: 0 });
  expect(b).toMatchObject({ nvlinks: ["a"] });
  expect(b?.numaNode).toBeUndefined();
});

it("nothing is offered where no engine could use it", () => {
  const inventory = { gpus: [gpu("a")], lost: new Map(), sliceIds: new Map(), neighbours: [] };
  expect(judgeGpus(inventory, { pids: new Set(), held: new Set() }, false)).toMatchObject([
    { usable: false, reason: "no engine installed here can use a GPU" },
  ]);
});
