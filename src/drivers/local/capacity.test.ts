import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Engine } from "../../ports.ts";
import { createCapacityReader, parseGpus } from "./capacity.ts";
import { gpuTypeOf } from "./gpu-types.ts";
import { standInEngine, systemClock } from "./stand-in.ts";

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

it("reads the listing of nvidia-smi and skips lines that are none", () => {
  const listing =
    "GPU-1a, NVIDIA L4, 23034\nGPU-2b, Odd, Name, 100\nNo devices were found\n\nGPU-3, X, [N/A]\n";
  expect(parseGpus(listing, true)).toEqual([
    {
      id: "GPU-1a",
      type: "L4-24GB",
      name: "NVIDIA L4",
      memoryBytes: 23_034 * 2 ** 20,
      usable: true,
      reason: null,
    },
    {
      id: "GPU-2b",
      type: "other",
      name: "Odd, Name",
      memoryBytes: 100 * 2 ** 20,
      usable: true,
      reason: null,
    },
  ]);
});

describe("this machine", () => {
  let folder: string;
  let now: number;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "berth-capacity-"));
    now = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function reader(engines: Engine[], warnings: string[] = []) {
    return createCapacityReader({
      engines: new Map(engines.map((engine) => [engine.name, engine])),
      clock: { ...systemClock, now: () => now },
      environment: { PATH: `${folder}:/usr/bin:/bin` },
      log: (_level, message) => warnings.push(message),
    });
  }

  function install(script: string): void {
    writeFileSync(join(folder, "nvidia-smi"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, "nvidia-smi"), 0o755);
  }

  it("has cores, memory and no GPU where no driver is", async () => {
    const warnings: string[] = [];
    const [node] = await createCapacityReader({
      engines: new Map(),
      clock: systemClock,
      environment: { PATH: folder },
      log: (_level, message) => warnings.push(message),
    })();
    expect(node?.cpuCores).toBeGreaterThan(0);
    expect(node?.memoryBytes).toBeGreaterThan(2 ** 20);
    expect(node?.gpus).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it("says why a GPU is not offered", async () => {
    install("echo 'GPU-1, NVIDIA L4, 23034'");
    expect((await reader([standInEngine])())[0]?.gpus[0]).toMatchObject({
      usable: false,
      reason: "no engine installed here can use a GPU",
    });
    const onGpu: Engine = { ...standInEngine, runsOn: "gpu" };
    expect((await reader([onGpu])())[0]?.gpus[0]).toMatchObject({ usable: true, reason: null });
  });

  it("keeps the last list when the driver fails, and reads it again after a while", async () => {
    const warnings: string[] = [];
    const read = reader([standInEngine], warnings);
    install("echo 'GPU-1, NVIDIA L4, 23034'");
    expect((await read())[0]?.gpus).toHaveLength(1);
    install("echo 'driver/library version mismatch' >&2; exit 18");
    expect((await read())[0]?.gpus).toHaveLength(1);
    expect(warnings).toEqual([]);
    now = 120_000;
    expect((await read())[0]?.gpus).toHaveLength(1);
    expect(warnings).toHaveLength(1);
  });
});
