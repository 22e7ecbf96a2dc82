/**
 * Which GPUs may be offered, from what the driver reports and which processes are Berth's own. Pure. The reason goes with
 * each that may not, in words for the person who asked for it.
 */
import type { GpuOutage, NodeGpu } from "../../core/instance.ts";
import { gpuTypeOf } from "./gpu-types.ts";
import type { NvidiaGpu, NvidiaNeighbours, NvidiaProcess } from "./nvidia-smi.ts";

export type NvidiaInventory = {
  /** Every card that was ever seen, in the driver's order; the last report of one that is lost. */
  readonly gpus: readonly NvidiaGpu[];
  /** UUIDs of those the driver does not reach any more, with what it says. */
  readonly lost: ReadonlyMap<string, string>;
  /** UUIDs of the parts of cards, by card. */
  readonly sliceIds: ReadonlyMap<string, readonly string[]>;
  readonly neighbours: readonly NvidiaNeighbours[];
};

export type GpuOwners = {
  /** Processes of this Berth's engines. */
  readonly pids: ReadonlySet<number>;
  /** Ids of the GPUs that its instances hold. */
  readonly held: ReadonlySet<string>;
};

/**
 * Memory that is held without a process the driver lists: it cannot see into other containers. The driver itself and
 * desktops take less.
 */
const unexplainedBytes = 2 * 2 ** 30;

export function judgeGpus(inventory: NvidiaInventory, owners: GpuOwners, isOfUse: boolean): NodeGpu[] {
  return inventory.gpus.flatMap((gpu, index) => {
    const lostReason = inventory.lost.get(gpu.uuid);
    const trouble = troubleOf(gpu, lostReason);
    if (!gpu.isSliced) return [judgeWhole(gpu, index, inventory, owners, trouble, isOfUse)];
    const ids = inventory.sliceIds.get(gpu.uuid) ?? [];
    return gpu.slices.flatMap((slice): NodeGpu[] => {
      const id = ids[slice.index];
      if (id === undefined) return [];
      const name = `a part of ${gpu.name}`;
      const own = gpu.processes.filter((process) => process.slice === slice.slice);
      const base = { id, type: "other", name, memoryBytes: slice.memoryBytes, isSlice: true };
      return [{ ...base, ...verdict(trouble ?? busyWith(own, owners.pids), isOfUse) }];
    });
  });
}

type Trouble = { readonly outage: GpuOutage; readonly reason: string };

function judgeWhole(
  gpu: NvidiaGpu,
  index: number,
  { gpus, neighbours }: NvidiaInventory,
  owners: GpuOwners,
  trouble: Trouble | null,
  isOfUse: boolean,
): NodeGpu {
  const near = neighbours.length === gpus.length ? neighbours[index] : undefined;
  const memoryBytes = gpu.memoryBytes ?? 0;
  const foreignBytes = foreignOf(gpu, owners);
  const isHeld = owners.held.has(gpu.uuid);
  return {
    ...{ id: gpu.uuid, type: gpuTypeOf(gpu.name, memoryBytes), name: gpu.name, memoryBytes },
    ...verdict(
      trouble ?? busyWith(gpu.processes, owners.pids) ?? hiddenUse(gpu, foreignBytes, isHeld),
      isOfUse,
    ),
    ...(foreignBytes > 0 && !isHeld ? { foreignBytes } : {}),
    ...(near === undefined ? {} : { nvlinks: near.nvlinks.flatMap((other) => gpus[other]?.uuid ?? []) }),
    ...(near === undefined || near.numaNode === null ? {} : { numaNode: near.numaNode }),
  };
}

function verdict(trouble: Trouble | null, isOfUse: boolean): Pick<NodeGpu, "usable" | "reason" | "outage"> {
  if (!isOfUse) return { usable: false, reason: "no engine installed here can use a GPU" };
  if (trouble === null) return { usable: true, reason: null };
  return { usable: false, ...trouble };
}

function troubleOf(gpu: NvidiaGpu, lostReason: string | undefined): Trouble | null {
  if (lostReason !== undefined) return { outage: "lost", reason: lostReason };
  if (gpu.isLost) return { outage: "lost", reason: "the driver does not reach it" };
  return gpu.trouble === null ? null : { outage: "sick", reason: gpu.trouble };
}

/** What only draws (a desktop) takes little and is no reason. */
function busyWith(processes: readonly NvidiaProcess[], own: ReadonlySet<number>): Trouble | null {
  const foreign = processes.find(
    ({ pid, type }) => type.includes("C") && !type.includes("G") && !own.has(pid),
  );
  if (foreign === undefined) return null;
  const holds = foreign.usedBytes === null ? "uses it" : `holds ${toGb(foreign.usedBytes)} GB of it`;
  return {
    outage: "busy",
    reason: `process ${foreign.pid} (${programOf(foreign.name)}), not of Berth, ${holds}`,
  };
}

/** A card that Berth holds cannot be judged so: what its own engine takes may be hidden too. */
function hiddenUse({ memoryBytes }: NvidiaGpu, foreignBytes: number, isHeld: boolean): Trouble | null {
  if (isHeld || foreignBytes <= Math.max(unexplainedBytes, (memoryBytes ?? 0) / 10)) return null;
  return { outage: "busy", reason: `others than Berth hold ${toGb(foreignBytes)} GB of it` };
}

/** All that is in use, without what Berth's engines are known to hold. */
function foreignOf(gpu: NvidiaGpu, owners: GpuOwners): number {
  const own = gpu.processes.filter(({ pid }) => owners.pids.has(pid));
  const ownBytes = own.reduce((sum, { usedBytes }) => sum + (usedBytes ?? 0), 0);
  return Math.max(0, (gpu.usedBytes ?? 0) - ownBytes);
}

/** The program's name alone: arguments may hold what is nobody's business. */
function programOf(command: string): string {
  const [path = ""] = command.split(" ");
  return path.split("/").at(-1)?.slice(0, 40) ?? "";
}

function toGb(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}
