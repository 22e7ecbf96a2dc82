/**
 * `GET /deploy/llm/gpu_availability`: every configuration that this installation could place, and which of them it could
 * place now. Follows the rule of placement: "other" is the GPUs of no listed type where there are some, else the CPU.
 */
import type { InstanceRecord, NodeCapacity } from "../core/instance.ts";
import { type GpuAvailabilityOut, gpuAvailabilityOut } from "../schema/deploy.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

/** `num_gpus` goes up to 8. */
const maxGpusPerInstance = 8;

export function gpuOperations({ store, capacity }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/deploy/llm/gpu_availability",
      id: "deploy_gpu_availability_deploy_llm_gpu_availability_get",
      summary: "What could be deployed on here.",
      answer: gpuAvailabilityOut,
      handle: async () => listConfigurations(await capacity(), await store.instances()),
    }),
  ];
}

/** Pure. The first configuration that is free is the recommended one. */
export function listConfigurations(
  nodes: readonly NodeCapacity[],
  instances: readonly InstanceRecord[],
): GpuAvailabilityOut {
  const occupied = new Set(instances.flatMap((record) => record.observed?.placement.gpus ?? []));
  const found = new Map<string, boolean>();
  for (const node of nodes) {
    const usable = Map.groupBy(
      node.gpus.filter((gpu) => gpu.usable),
      (gpu) => gpuName(gpu.type, gpu.memoryBytes),
    );
    for (const [name, gpus] of usable) {
      const free = gpus.filter((gpu) => !occupied.has(gpu.id)).length;
      for (let count = 1; count <= Math.min(gpus.length, maxGpusPerInstance); count += 1) {
        const key = `${count}x${name}`;
        found.set(key, (found.get(key) ?? false) || free >= count);
      }
    }
  }
  const hasOtherGpu = nodes.some((node) => node.gpus.some((gpu) => gpu.usable && gpu.type === "other"));
  const first = nodes[0];
  if (!hasOtherGpu && first !== undefined) found.set(`1x${gpuName("other", first.memoryBytes)}`, true);
  const recommended = [...found].find(([, available]) => available)?.[0];
  return {
    gpus: [...found].map(([name, available]) => ({
      gpu_config: name,
      usd_per_hour: 0,
      available,
      recommended: name === recommended,
    })),
  };
}

/** The listed types carry their memory in their name; "other" does not say how much. */
function gpuName(type: string, memoryBytes: number): string {
  return /-\d+GB$/.test(type) ? type : `${type}-${Math.max(1, Math.round(memoryBytes / 2 ** 30))}GB`;
}
