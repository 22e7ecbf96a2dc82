/** A process and all that come from it, by their numbers. Linux; reads only. */
import { readFile } from "node:fs/promises";

/** Deeper trees than any engine has. */
const maxProcesses = 256;

/** The process, whether it is there or not, and its children's children; none on systems that do not tell. */
export async function processTree(pid: number): Promise<number[]> {
  if (process.platform !== "linux") return [];
  const members: number[] = [];
  const left = [pid];
  while (left.length > 0 && members.length < maxProcesses) {
    const next = left.pop() ?? 0;
    members.push(next);
    const children = await readGone(`/proc/${next}/task/${next}/children`);
    left.push(...(children?.trim().split(" ").filter(Boolean).map(Number) ?? []));
  }
  return members;
}

/** Null for a process that is gone, and for what this kernel does not have. */
export async function readGone(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return null;
    throw error;
  }
}
