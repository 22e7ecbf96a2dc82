/**
 * How much memory a process and its children use by themselves: what the system would get back if they ended. Weights that are
 * mapped from a file are not in it, since several engines share them and the system can drop them. Linux; reads only.
 */
import { processTree, readGone } from "./process-tree.ts";

/** Bytes; null where that cannot be told. */
export async function memoryUse(pid: number): Promise<number | null> {
  let bytes: number | null = null;
  for (const member of await processTree(pid)) {
    const status = await readGone(`/proc/${member}/status`);
    if (status === null) continue;
    bytes = (bytes ?? 0) + kibibytes(status, "RssAnon") + kibibytes(status, "VmSwap");
  }
  return bytes;
}

function kibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
}
