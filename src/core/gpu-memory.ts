/**
 * How much memory GPUs have: what a listed type has in truth, which is not what its name says, and what of it programs
 * can use. Pure.
 */
import type { GpuType } from "./deployment.ts";
import type { NodeCapacity } from "./instance.ts";

/** MiB as `nvidia-smi` reports them for the smallest card of the type. */
const listedMib: Readonly<Record<Exclude<GpuType, "other">, number>> = {
  "L4-24GB": 23_034,
  "L40S-48GB": 46_068,
  "A100-80GB": 81_920,
  "H100-80GB": 81_559,
  "H200-141GB": 143_771,
  "B200-180GB": 183_359,
  "B300-270GB": 275_040,
  "RTXPRO6000-96GB": 97_887,
};

/** The driver keeps some for itself: programs see this share of what it reports (80,995 MiB of an H100's 81,559). */
const usableShare = 0.985;

/** Bytes of a listed type; null for `other`, which may be anything. */
export function listedMemoryBytes(gpu: GpuType): number | null {
  return gpu === "other" ? null : listedMib[gpu] * 2 ** 20;
}

export function usableGpuBytes(memoryBytes: number): number {
  return Math.floor(memoryBytes * usableShare);
}

/**
 * What the `count` GPUs of this type with the most memory on one node have each, at the best node; null where no node
 * has so many.
 */
export function memoryOfGpus(nodes: readonly NodeCapacity[], type: string, count: number): number | null {
  const found = nodes.flatMap((node) => {
    const sizes = node.gpus.filter((gpu) => gpu.usable && gpu.type === type).map((gpu) => gpu.memoryBytes);
    const least = sizes.sort((a, b) => b - a)[count - 1];
    return least === undefined ? [] : [least];
  });
  return found.length === 0 ? null : Math.max(...found);
}
