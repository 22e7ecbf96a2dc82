/** Reading what real drivers printed, from 418 (2019) to 610 (2026). */
import { expect, it } from "vitest";
import {
  appleDisplays,
  driver418,
  driver515,
  driver535,
  driver595,
  lostLine610,
  lostLineOld,
  rocmSmi,
  slicesListed,
  topologyNoMemory,
  topologyPairs,
  topologyPartly,
  topologyPasted,
} from "./nvidia-recordings.ts";
import { readReport, readSliceIds, readTopology } from "./nvidia-smi.ts";
import { readAmdSmi, readAppleGpus, readRocmSmi } from "./other-gpus.ts";
import { readXml } from "./xml-tree.ts";

const mib = 2 ** 20;

it("driver 418: a card without parts, memory errors not told", () => {
  expect(readReport(driver418)).toEqual({
    driver: "418.43",
    cuda: "10.1",
    gpus: [
      {
        ...{
          uuid: "GPU-8f750be4-dfbc-23b9-b33f-da729a536494",
          busId: "00000000:43:00.0",
          name: "Quadro P400",
        },
        ...{ memoryBytes: 1998 * mib, usedBytes: 0, isSliced: false, slices: [], processes: [] },
        ...{ trouble: null, isLost: false },
      },
    ],
  });
});

it("driver 515: who draws and who computes", () => {
  expect(readReport(driver515)?.gpus[0]).toMatchObject({
    ...{ name: "Tesla T4", memoryBytes: 15360 * mib, usedBytes: 1032 * mib },
    processes: [
      { pid: 675, type: "G", usedBytes: 22 * mib, slice: null },
      { pid: 5762, type: "C", name: "python", usedBytes: 1005 * mib, slice: null },
    ],
  });
});

it("driver 535: parts of a card", () => {
  const [gpu] = readReport(driver535)?.gpus ?? [];
  expect(gpu).toMatchObject({ isSliced: true, trouble: null });
  expect(gpu?.slices.map(({ index, slice, memoryBytes }) => [index, slice, memoryBytes / mib])).toEqual([
    [0, "3/0", 19968],
    [1, "4/0", 19968],
    [2, "5/0", 19968],
    [3, "6/0", 19968],
  ]);
  const ids = readSliceIds(slicesListed).get("GPU-7fdaf0a5-179b-f636-d15d-daf243e3ff16");
  expect(ids).toHaveLength(3);
  expect(ids?.[1]).toBe("MIG-a25704ba-3a06-5299-a795-fd7cf4d13973");
});

it("driver 595, and 610 with a lost card before the rest", () => {
  const [gpu] = readReport(`${lostLine610}\n${driver595}`)?.gpus ?? [];
  expect(gpu).toMatchObject({ name: "NVIDIA RTX 4000 SFF Ada Generation", trouble: null });
  expect(gpu?.processes.map(({ type }) => type)).toEqual(["G", "G", "C", "C+G"]);
});

it.each([
  ["<gpu_recovery_action>None", "<gpu_recovery_action>GPU Reset", 'the driver asks for "GPU Reset"'],
  [
    "<remapped_row_failure>\nNo",
    "<remapped_row_failure>\nYes",
    "its memory has errors that cannot be mapped away",
  ],
])("trouble: %s becomes %s", (from, to, trouble) => {
  const told = driver595.replace(/<(gpu_recovery_action)>\n/, "<$1>").replace(from, to);
  expect(readReport(told)?.gpus[0]?.trouble).toBe(trouble);
});

it("trouble of older drivers", () => {
  const due = driver535.replace("<reset_required>\nNo", "<reset_required>\nYes");
  expect(readReport(due)?.gpus[0]?.trouble).toBe("the driver asks for a reset of it");
  const errors = driver535.replace("<dram_uncorrectable>\n0", "<dram_uncorrectable>\n3");
  expect(readReport(errors)?.gpus[0]?.trouble).toMatch(/had 3 errors/);
  const doubleBit = driver418.replace("<total>\nN/A", "<total>\n2");
  expect(readReport(doubleBit)?.gpus[0]?.trouble).toMatch(/had 2 errors/);
});

it("a card that does not answer within a report", () => {
  const told = driver535.replace("<total>\n81920 MiB", "<total>\n[Unknown Error]");
  expect(readReport(told)?.gpus[0]).toMatchObject({ isLost: true, memoryBytes: null });
});

it.each([
  lostLineOld,
  "",
  "No devices were found\n",
  driver535.slice(0, -30),
  '<?xml version="1.0" ?><a></b>',
])("no report: %.40s", (output) => {
  expect(readReport(output)).toBeNull();
});

it("topology: NVLink and the memory that is near, with network cards, blanks and older forms", () => {
  expect(readTopology(topologyPasted)[1]).toEqual({ nvlinks: [0, 2, 3], numaNode: null });
  expect(readTopology(topologyPairs)).toEqual([0, 0, 1, 1].map((numaNode) => ({ nvlinks: [], numaNode })));
  expect(readTopology(topologyPartly)).toEqual([
    { nvlinks: [1], numaNode: 0 },
    { nvlinks: [0], numaNode: 1 },
  ]);
  expect(readTopology(topologyNoMemory)[0]).toEqual({ nvlinks: [1], numaNode: null });
  expect(readTopology(`\u001b[4m${topologyPairs.replace("GPU0", "\tGPU0")}`)).toHaveLength(4);
  expect(readTopology("Failed to run topology matrix: Unknown Error")).toEqual([]);
});

it("cards of others are named and never offered", () => {
  expect(readRocmSmi(rocmSmi)).toMatchObject([
    { id: "card0", type: "other", name: "Radeon RX 7900 XT", memoryBytes: 21_458_059_264, usable: false },
  ]);
  const amd = {
    gpu: 0,
    asic: { market_name: "AMD Instinct MI350X" },
    vram: { size: { value: 1024, unit: "MB" } },
  };
  for (const shown of [[amd], { gpu_data: [amd] }]) {
    expect(readAmdSmi(JSON.stringify(shown))).toMatchObject([
      {
        id: "AMD-0",
        name: "AMD Instinct MI350X",
        memoryBytes: 2 ** 30,
        reason: expect.stringContaining("AMD"),
      },
    ]);
  }
  expect(readAppleGpus(appleDisplays, 36e9)).toMatchObject([{ name: "Apple M3 Pro", memoryBytes: 36e9 }]);
  expect([readRocmSmi("oops"), readAmdSmi(""), readAppleGpus("{}", 1)]).toEqual([[], [], []]);
});

it("XML that is not whole is none", () => {
  expect(readXml('<a x="1 &amp; 2"><b/> text &lt; </a>')).toEqual({
    ...{ name: "a", attributes: { x: "1 & 2" }, text: "text <" },
    children: [{ name: "b", attributes: {}, children: [], text: "" }],
  });
  for (const text of ["", "<a>", "</a>", "<a></a><b></b>", "<a", `${"<a>".repeat(60)}${"</a>".repeat(60)}`]) {
    expect(readXml(text)).toBeNull();
  }
});
