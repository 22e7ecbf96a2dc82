/**
 * Which of a node's free GPUs an instance takes: those that are joined best, and among these the ones that leave the most
 * room for larger asks. Pure. Must not know deployments, nor what is free on other nodes.
 */
import type { NodeGpu } from "./instance.ts";

export type GpuChoice = {
  readonly gpus: readonly NodeGpu[];
  /** Pairs among them without NVLink. */
  readonly unlinkedPairs: number;
  /** Memories of the machine (NUMA nodes) they are next to; 1 where nobody knows. */
  readonly numaNodes: number;
  /** Free GPUs that stay behind in the groups that they are taken from: the fewer, the more whole groups remain. */
  readonly broken: number;
  readonly foreignBytes: number;
};

/** Beyond this many free GPUs only the first are looked at: 8 of 16 are 12,870 sets, and no machine here has more. */
const largestLook = 16;

/** The best `count` of `free`, or null where there are fewer. Among equals the first in order. */
export function chooseGpus(free: readonly NodeGpu[], count: number): GpuChoice | null {
  if (free.length < count) return null;
  const groups = groupGpus(free);
  const order = [...free].sort((a, b) => sizeOf(groups, a) - sizeOf(groups, b)).slice(0, largestLook);
  const candidates = free.length > largestLook ? order : free;
  let best: GpuChoice | null = null;
  for (const gpus of combinations(candidates, count)) {
    const choice = describeChoice(gpus, groups);
    if (best === null || compareChoices(choice, best) < 0) best = choice;
  }
  return best;
}

/** Negative where the first is better. */
export function compareChoices(a: GpuChoice, b: GpuChoice): number {
  return (
    a.unlinkedPairs - b.unlinkedPairs ||
    a.numaNodes - b.numaNodes ||
    a.broken - b.broken ||
    a.foreignBytes - b.foreignBytes
  );
}

/** Free GPUs that are joined to each other, directly or through others, and next to the same memory. */
type Groups = ReadonlyMap<string, readonly NodeGpu[]>;

function groupGpus(free: readonly NodeGpu[]): Groups {
  const groupOf = new Map<string, NodeGpu[]>();
  for (const gpu of free) {
    if (groupOf.has(gpu.id)) continue;
    const group: NodeGpu[] = [gpu];
    groupOf.set(gpu.id, group);
    for (const member of group) {
      for (const other of free) {
        if (groupOf.has(other.id) || !areNeighbours(member, other)) continue;
        groupOf.set(other.id, group);
        group.push(other);
      }
    }
  }
  return groupOf;
}

function areNeighbours(a: NodeGpu, b: NodeGpu): boolean {
  // Where no GPU has NVLink, those next to the same memory are the group.
  const isLinked = a.nvlinks === undefined || a.nvlinks.length === 0 || areLinked(a, b);
  return isLinked && a.numaNode === b.numaNode;
}

function areLinked(a: NodeGpu, b: NodeGpu): boolean {
  return a.nvlinks?.includes(b.id) === true;
}

function sizeOf(groups: Groups, gpu: NodeGpu): number {
  return groups.get(gpu.id)?.length ?? 0;
}

function describeChoice(gpus: readonly NodeGpu[], groups: Groups): GpuChoice {
  const touched = new Set(gpus.map((gpu) => groups.get(gpu.id)));
  const members = [...touched].reduce((sum, group) => sum + (group?.length ?? 0), 0);
  let unlinkedPairs = 0;
  gpus.forEach((gpu, index) => {
    for (const other of gpus.slice(index + 1)) if (!areLinked(gpu, other)) unlinkedPairs += 1;
  });
  return {
    gpus,
    unlinkedPairs,
    numaNodes: new Set(gpus.map((gpu) => gpu.numaNode)).size,
    broken: members - gpus.length,
    foreignBytes: gpus.reduce((sum, gpu) => sum + (gpu.foreignBytes ?? 0), 0),
  };
}

/** All sets of `count` things, in the order of the things. */
function* combinations<T>(things: readonly T[], count: number, from = 0): Generator<T[]> {
  if (count === 0) {
    yield [];
    return;
  }
  for (let index = from; index <= things.length - count; index += 1) {
    const thing = things[index] as T;
    for (const rest of combinations(things, count - 1, index + 1)) yield [thing, ...rest];
  }
}
