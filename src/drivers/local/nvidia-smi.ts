/**
 * Reads what `nvidia-smi` prints, of driver generations from 418 (2019) to 610 (2026): the full report (`-q -x`), the list that
 * names parts of cards (`-L`) and the topology (`topo -m`). Pure; what a driver does not tell is null, never guessed.
 */
import { findElement, readXml, textAt, type XmlElement } from "./xml-tree.ts";

export type NvidiaProcess = {
  readonly pid: number;
  readonly name: string;
  /** C computes, G draws; both are possible. */
  readonly type: string;
  /** Null where the driver does not tell. */
  readonly usedBytes: number | null;
  /** The part of the card it runs on, null for the whole card. */
  readonly slice: string | null;
};

export type NvidiaSlice = {
  /** Position among the card's parts, as `-L` counts them. */
  readonly index: number;
  /** `<gpu instance>/<compute instance>`, as processes name it. */
  readonly slice: string;
  readonly memoryBytes: number;
};

export type NvidiaGpu = {
  readonly uuid: string;
  /** `00000000:01:00.0` */
  readonly busId: string;
  readonly name: string;
  /** Null where the driver cannot reach the card. */
  readonly memoryBytes: number | null;
  readonly usedBytes: number | null;
  readonly isSliced: boolean;
  readonly slices: readonly NvidiaSlice[];
  readonly processes: readonly NvidiaProcess[];
  /** What the driver says is wrong with it, as a phrase; null for nothing. */
  readonly trouble: string | null;
  /** True where the answer says that the card does not answer. */
  readonly isLost: boolean;
};

export type NvidiaReport = {
  readonly driver: string;
  readonly cuda: string | null;
  readonly gpus: readonly NvidiaGpu[];
};

/** Null where there is no whole report in it. Lines before the report (on a card that is lost) are skipped. */
export function readReport(output: string): NvidiaReport | null {
  const start = output.indexOf("<?xml");
  const end = output.lastIndexOf("</nvidia_smi_log>");
  if (start < 0 || end < start) return null;
  const root = readXml(output.slice(start, end + "</nvidia_smi_log>".length));
  if (root === null || root.name !== "nvidia_smi_log") return null;
  return {
    driver: textAt(root, "driver_version"),
    cuda: known(textAt(root, "cuda_version")),
    gpus: root.children.filter(({ name }) => name === "gpu").map(readGpu),
  };
}

function readGpu(gpu: XmlElement): NvidiaGpu {
  const memory = findElement(gpu, "fb_memory_usage");
  const processes = findElement(gpu, "processes")?.children ?? [];
  const total = textAt(memory, "total");
  return {
    uuid: textAt(gpu, "uuid"),
    busId: gpu.attributes.id ?? "",
    name: textAt(gpu, "product_name"),
    memoryBytes: readBytes(total),
    usedBytes: readBytes(textAt(memory, "used")),
    isSliced: textAt(gpu, "mig_mode", "current_mig") === "Enabled",
    slices: (findElement(gpu, "mig_devices")?.children ?? []).flatMap((slice) => readSlice(slice) ?? []),
    processes: processes.flatMap((process) => readProcess(process) ?? []),
    trouble: readTrouble(gpu),
    isLost: [total, textAt(gpu, "uuid"), textAt(gpu, "product_name")].some(isUnreachable),
  };
}

/** "81920 MiB" */
function readBytes(text: string): number | null {
  const mebibytes = /^(\d+) MiB$/.exec(text)?.[1];
  return mebibytes === undefined ? null : Number(mebibytes) * 2 ** 20;
}

function readSlice(slice: XmlElement): NvidiaSlice | null {
  const memoryBytes = readBytes(textAt(slice, "fb_memory_usage", "total"));
  const index = Number(textAt(slice, "index"));
  if (memoryBytes === null || !Number.isInteger(index)) return null;
  return { index, slice: sliceName(slice) ?? "", memoryBytes };
}

/** Where `N/A` stands, there is no part: the process has the whole card. */
function sliceName(element: XmlElement): string | null {
  const gpuInstance = known(textAt(element, "gpu_instance_id"));
  return gpuInstance === null ? null : `${gpuInstance}/${textAt(element, "compute_instance_id")}`;
}

function readProcess(process: XmlElement): NvidiaProcess | null {
  const pid = Number(textAt(process, "pid"));
  if (!Number.isInteger(pid) || pid <= 0) return null;
  return {
    pid,
    name: textAt(process, "process_name"),
    type: textAt(process, "type"),
    usedBytes: readBytes(textAt(process, "used_memory")),
    slice: sliceName(process),
  };
}

/** Newer drivers name the way out (`gpu_recovery_action`), older ones whether a reset is due; memory tells of itself. */
function readTrouble(gpu: XmlElement): string | null {
  const action = known(textAt(gpu, "gpu_recovery_action"));
  if (action !== null && action !== "None") return `the driver asks for "${action}"`;
  if (textAt(gpu, "gpu_reset_status", "reset_required") === "Yes") return "the driver asks for a reset of it";
  if (textAt(gpu, "gpu_reset_status", "drain_and_reset_recommended") === "Yes") {
    return "the driver asks for a reset of it";
  }
  if (textAt(gpu, "remapped_rows", "remapped_row_failure") === "Yes") {
    return "its memory has errors that cannot be mapped away";
  }
  const errors = uncorrectedErrors(gpu);
  return errors === 0
    ? null
    : `its memory had ${errors} errors since the driver was loaded that could not be corrected`;
}

/** Of all forms that generations have: `sram_uncorrectable` …, or `double_bit/total`. */
function uncorrectedErrors(gpu: XmlElement): number {
  const sinceLoad = findElement(gpu, "ecc_errors", "volatile");
  const named = (sinceLoad?.children ?? [])
    .filter(({ name }) => /uncorrectable/.test(name))
    .map(({ text }) => text);
  const counts = [...named, textAt(sinceLoad, "double_bit", "total")].map(Number);
  return counts.reduce((sum, count) => sum + (Number.isInteger(count) ? count : 0), 0);
}

function isUnreachable(text: string): boolean {
  return /unknown error|gpu is lost|^err!?$/i.test(text.replaceAll(/[[\]]/g, ""));
}

function known(text: string): string | null {
  return text === "" || text === "N/A" || text === "[N/A]" ? null : text;
}

/** UUIDs of the parts of cards, from `-L`: by the card's UUID, in the order of their index. */
export function readSliceIds(listing: string): ReadonlyMap<string, readonly string[]> {
  const ids = new Map<string, string[]>();
  let card: string[] = [];
  for (const line of listing.split("\n")) {
    const whole = /^GPU \d+: .*\(UUID: (GPU-[^)]+)\)/.exec(line)?.[1];
    if (whole !== undefined) {
      card = [];
      ids.set(whole, card);
    }
    const part = /^\s+MIG .*\(UUID: (MIG-[^)]+)\)/.exec(line)?.[1];
    if (part !== undefined) card.push(part);
  }
  return ids;
}

export type NvidiaNeighbours = {
  /** Positions of the cards it has NVLink to. */
  readonly nvlinks: readonly number[];
  /** Null where the driver does not tell. */
  readonly numaNode: number | null;
};

/** From `topo -m`, in the order of the cards. Other devices in the table (network cards) are skipped. */
export function readTopology(table: string): readonly NvidiaNeighbours[] {
  // Terminals get underlined headings.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
  const lines = table.replaceAll(/\u001b\[[0-9;]*m/g, "").split("\n");
  const heading = lines.find((line) => /^\s+GPU0\s/.test(line));
  if (heading === undefined) return [];
  const columns = cellsOf(heading);
  const cards = columns.filter((name) => /^GPU\d+$/.test(name)).length;
  const memory = columns.indexOf("NUMA Affinity");
  return lines.flatMap((line) => {
    if (!/^GPU\d+\s/.test(line)) return [];
    const cells = cellsOf(line);
    const nvlinks = cells.slice(0, cards).flatMap((cell, index) => (/^NV\d+$/.test(cell) ? [index] : []));
    // `0-1` or nothing where several are as near.
    const near = memory < 0 ? undefined : cells[memory];
    return [{ nvlinks, numaNode: near !== undefined && /^\d+$/.test(near) ? Number(near) : null }];
  });
}

/** What follows the first column. The tool separates by tabs, of which some cells are empty; copies have spaces. */
function cellsOf(line: string): string[] {
  const cells = line.split(line.includes("\t") ? "\t" : /\s{2,}/);
  return cells.slice(1).map((cell) => cell.trim());
}
