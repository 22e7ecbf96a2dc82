/** What this machine offers: cores, memory (less where a container may not use all of it) and GPUs. */
import { availableParallelism, hostname, totalmem } from "node:os";
import type { NodeCapacity } from "../../core/instance.ts";
import type { GpuInventory } from "./gpu-inventory.ts";

export async function readCapacity(gpus: GpuInventory): Promise<readonly NodeCapacity[]> {
  return [
    {
      ...{ node: hostname(), cpuCores: availableParallelism(), memoryBytes: usableMemory() },
      gpus: await gpus.read(),
    },
  ];
}

/** A container's limit where there is one; without one the system answers 0 or a number beyond all memory. */
function usableMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
