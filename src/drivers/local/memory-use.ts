/**
 * How much memory a process and its children use by themselves: what the system would get back if they ended. Weights that are
 * mapped from a file are not in it, since several engines share them and the system can drop them. Linux; reads only.
 */
import { readFile } from "node:fs/promises";

/** Deeper trees than any engine has. */
const maxProcesses = 256;

/** Bytes; null where that cannot be told. */
export async function memoryUse(pid: number): Promise<number | null> {
  if (process.platform !== "linux") return null;
  let bytes: number | null = null;
  const left = [pid];
  for (let seen = 0; left.length > 0 && seen < maxProcesses; seen += 1) {
    const next = left.pop() ?? 0;
    const status = await readGone(`/proc/${next}/status`);
    if (status === null) continue;
    bytes = (bytes ?? 0) + kibibytes(status, "RssAnon") + kibibytes(status, "VmSwap");
    const children = await readGone(`/proc/${next}/task/${next}/children`);
    left.push(...(children?.trim().split(" ").filter(Boolean).map(Number) ?? []));
  }
  return bytes;
}

function kibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * 1024;
}

/** Null for a process that is gone, and for what this kernel does not have. */
async function readGone(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return null;
    throw error;
  }
}
