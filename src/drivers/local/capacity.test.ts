/** This machine's GPUs over time, asked of a real program that plays nvidia-smi: lost, busy, broken, back. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { type InstalledTool, installFakeTool } from "../../../tools/fake-nvidia-smi/installed.ts";
import { fakeMachine } from "../../../tools/fake-nvidia-smi/machine.ts";
import { readCapacity } from "./capacity.ts";
import { type GpuInventory, type GpuInventoryOptions, openGpuInventory } from "./gpu-inventory.ts";
import { systemClock } from "./stand-in.ts";

let folder: string;
let tool: InstalledTool;
let now: number;
let logged: string[];
const open: GpuInventory[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-gpus-"));
  tool = installFakeTool(folder, fakeMachine("inv", 3, { nvlinks: [0, 1, 2] }));
  now = 0;
  logged = [];
});
afterEach(async () => {
  for (const inventory of open.splice(0)) await inventory.close();
  rmSync(folder, { recursive: true, force: true });
});

function inventory(change: Partial<GpuInventoryOptions> = {}): GpuInventory {
  const opened = openGpuInventory({
    ...{ clock: { ...systemClock, now: () => now }, environment: { PATH: "/usr/bin:/bin" } },
    ...{ nvidiaSmi: tool.program, pollMs: 60_000, isOfUse: true, platform: "linux" },
    owners: async () => ({ pids: new Set(), held: new Set() }),
    log: (level, message, fields) => logged.push(`${level}: ${message} ${JSON.stringify(fields)}`),
    ...change,
  });
  open.push(opened);
  return opened;
}
const outages = async (from: GpuInventory) => (await from.read()).map(({ outage = null }) => outage);

it("has cores, memory and no GPU where there is no tool, and says nothing of it", async () => {
  const [node] = await readCapacity(inventory({ nvidiaSmi: join(folder, "none") }));
  expect(node?.cpuCores).toBeGreaterThan(0);
  expect(node?.memoryBytes).toBeGreaterThan(2 ** 20);
  expect(node?.gpus).toEqual([]);
  expect(logged).toEqual([]);
});

it("lists GPUs with their neighbours, and offers none where no engine could use them", async () => {
  const ids = tool.machine.gpus.map(({ uuid }) => uuid);
  const gpus = await inventory().read();
  expect(gpus.map(({ id }) => id)).toEqual(ids);
  expect(gpus[2]).toMatchObject({ type: "H100-80GB", usable: true, nvlinks: ids.slice(0, 2), numaNode: 1 });
  expect(logged).toEqual([
    expect.stringMatching(/^info: GPUs were found .*"driver":"570\.86\.15","cuda":"12\.8"/),
  ]);
  expect((await inventory({ isOfUse: false }).read())[0]).toMatchObject({
    usable: false,
    reason: "no engine installed here can use a GPU",
  });
});

it.each([false, true])(
  "a lost GPU keeps its place and the others stay; the whole question fails: %s",
  async (failsWhole) => {
    const gpus = inventory();
    expect(await outages(gpus)).toEqual([null, null, null]);
    tool.become({ ...tool.machine, failsWhole });
    tool.change(1, { lost: "GPU is lost. Reboot the system to recover this GPU" });
    await gpus.refresh();
    expect(await outages(gpus)).toEqual([null, "lost", null]);
    const [, lost, last] = await gpus.read();
    expect(lost?.reason).toMatch(/^the driver lost it/);
    expect(last).toMatchObject({ numaNode: 1 });
    expect(logged.at(-1)).toMatch(/^warn: the GPUs have changed .*GPU-inv-1: the driver lost it/);
    const [, back] = fakeMachine("inv", 3, { nvlinks: [0, 1, 2] }).gpus;
    tool.become({
      ...tool.machine,
      gpus: tool.machine.gpus.map((gpu, at) => (at === 1 ? (back ?? gpu) : gpu)),
    });
    await gpus.refresh();
    expect(await outages(gpus)).toEqual([null, null, null]);
  },
);

it.each([false, true])(
  "a GPU that was lost before this start, under an instance; the whole question fails: %s",
  async (failsWhole) => {
    tool.become({ ...tool.machine, failsWhole });
    tool.change(0, { lost: "Unknown Error" });
    const held = new Set(["GPU-inv-0", "GPU-inv-1", "MIG-gone"]);
    const gpus = inventory({ owners: async () => ({ pids: new Set(), held }) });
    const outage = new Map((await gpus.read()).map(({ id, outage = null }) => [id, outage]));
    expect(outage).toEqual(
      new Map([
        ["GPU-inv-0", "lost"],
        ["GPU-inv-1", null],
        ["GPU-inv-2", null],
      ]),
    );
  },
);

it("names a part of a card by its id", async () => {
  tool.change(0, { parts: [{ uuid: "MIG-inv", profile: "1g.10gb", memoryMib: 9856 }] });
  expect((await inventory().read())[0]).toMatchObject({
    id: "MIG-inv",
    type: "other",
    isSlice: true,
    usable: true,
  });
});

it("keeps the last picture while the driver does not answer, and looks again after a while", async () => {
  const gpus = inventory();
  expect(await outages(gpus)).toHaveLength(3);
  tool.become({ ...tool.machine, broken: "Failed to initialize NVML: Driver/library version mismatch" });
  expect(await outages(gpus)).toHaveLength(3);
  expect(logged).toHaveLength(1);
  now = 120_000;
  expect(await outages(gpus)).toEqual([null, null, null]);
  expect(logged.at(-1)).toMatch(/^warn: the GPUs could not be listed.*version mismatch/);
});

it("tells a stranger's process from its own, and a watch hears of both", async () => {
  const pids = new Set([4242]);
  let changes = 0;
  const gpus = inventory({
    ...{ pollMs: 20, clock: systemClock },
    owners: async () => ({ pids, held: new Set() }),
  });
  await gpus.read();
  gpus.watch(() => {
    changes += 1;
  });
  const engine = { pid: 4242, type: "C", name: "vllm", usedMib: 60_000 };
  tool.change(0, { processes: [engine] });
  tool.change(1, { processes: [{ ...engine, pid: 99, name: "python" }] });
  await until("the watch to see it", async () => changes === 1);
  expect(await outages(gpus)).toEqual([null, "busy", null]);
  tool.change(1, { processes: [] });
  await until("the watch to see it go", async () => changes === 2);
  expect(await outages(gpus)).toEqual([null, null, null]);
});
