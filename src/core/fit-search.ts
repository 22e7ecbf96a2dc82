/**
 * Which configurations a model fits: of each GPU type the smallest number of GPUs, and the one that is nearest to what
 * was asked for. Pure.
 */
import { type GpuType, gpuTypes } from "./deployment.ts";
import { type Fit, type FitAsk, fitModel } from "./fit.ts";
import { listedMemoryBytes, memoryOfGpus, usableGpuBytes } from "./gpu-memory.ts";
import type { NodeCapacity } from "./instance.ts";

/** GPUs that an instance could have. */
export type Hardware = {
  readonly gpu: GpuType;
  /** 0: the CPU, which goes by the name `other` too. */
  readonly numGpus: number;
  /** As programs see it: of one GPU, or of the machine. */
  readonly memoryBytes: number;
  /** False: a listed type that no machine here has. */
  readonly isHere: boolean;
};

export type Fitted = { readonly hardware: Hardware; readonly fit: Fit };

export type ModelAsk = Omit<FitAsk, "gpus" | "memoryBytes">;

/** How many GPUs an instance takes where they share a model out. */
const counts = [1, 2, 4, 8] as const;

/**
 * What the machines have, and the listed types that they have not.
 * @param runsOn null: not known, so that everything counts
 */
export function listHardware(nodes: readonly NodeCapacity[], runsOn: "cpu" | "gpu" | null): Hardware[] {
  const gpus = runsOn === "cpu" ? [] : gpuTypes.flatMap((gpu) => counts.map((count) => ({ gpu, count })));
  const found = gpus.flatMap(({ gpu, count }): Hardware[] => {
    const here = memoryOfGpus(nodes, gpu, count);
    const memory = here ?? listedMemoryBytes(gpu);
    if (memory === null) return [];
    return [{ gpu, numGpus: count, memoryBytes: usableGpuBytes(memory), isHere: here !== null }];
  });
  const cpu = runsOn === "gpu" ? null : cpuHardware(nodes);
  return cpu === null ? found : [...found, cpu];
}

/** The node with the most memory; null while none has reported. */
export function cpuHardware(nodes: readonly NodeCapacity[]): Hardware | null {
  if (nodes.length === 0) return null;
  const memoryBytes = Math.max(...nodes.map((node) => node.memoryBytes));
  return { gpu: "other", numGpus: 0, memoryBytes, isHere: true };
}

export function fitOn(model: ModelAsk, hardware: Hardware): Fit | null {
  return fitModel({ ...model, gpus: hardware.numGpus, memoryBytes: hardware.memoryBytes });
}

/** A request of the whole context has room, and as many as are wanted have some each. */
export function isUseful(found: Fit): boolean {
  const someTokens = Math.min(1024, found.contextTokens);
  return (
    found.verdict !== "does-not-fit" &&
    found.contextForOne >= found.contextTokens &&
    found.contextForAll >= someTokens
  );
}

/** Of each type the fewest GPUs that serve, the least memory together first; what is here before what is not. */
export function smallestConfigurations(model: ModelAsk, hardware: readonly Hardware[]): Fitted[] {
  const serving = hardware.flatMap((one): Fitted[] => {
    const found = fitOn(model, one);
    return found !== null && isUseful(found) ? [{ hardware: one, fit: found }] : [];
  });
  const byType = Map.groupBy(serving, ({ hardware: { gpu, numGpus } }) => `${gpu} ${numGpus === 0}`);
  const smallest = [...byType.values()].flatMap((some) => some.sort(bySize).slice(0, 1));
  return smallest.sort(
    (a, b) => Number(b.hardware.isHere) - Number(a.hardware.isHere) || together(a) - together(b),
  );
}

/** The same GPU type, more of them; else the least that is here; else the least of all. */
export function nearestConfiguration(
  model: ModelAsk,
  hardware: readonly Hardware[],
  asked: GpuType,
): Fitted | null {
  const serving = smallestConfigurations(model, hardware);
  const here = serving.filter((one) => one.hardware.isHere);
  const same = (some: readonly Fitted[]) =>
    some.find((one) => one.hardware.gpu === asked && one.hardware.numGpus > 0);
  return same(here) ?? here[0] ?? same(serving) ?? serving[0] ?? null;
}

function bySize(a: Fitted, b: Fitted): number {
  return together(a) - together(b);
}

function together({ hardware }: Fitted): number {
  return hardware.memoryBytes * Math.max(1, hardware.numGpus);
}

/** For example "2 x H100-80GB", or "the CPU". */
export function nameHardware({ gpu, numGpus }: Pick<Hardware, "gpu" | "numGpus">): string {
  return numGpus === 0 ? "the CPU" : `${numGpus} x ${gpu}`;
}
