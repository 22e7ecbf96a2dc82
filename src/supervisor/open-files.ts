/** How many files this process may have open, and what that leaves for clients. Without a limit that is known, all. */
import { readFileSync } from "node:fs";

/** The limit of this process; infinite where the system does not say. Node has raised it to the most it may. */
export function openFilesLimit(): number {
  let text = "";
  try {
    text = readFileSync("/proc/self/limits", "utf8");
  } catch {
    // not Linux
  }
  const found = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return found === undefined ? Number.POSITIVE_INFINITY : Number(found);
}

/** Connections of clients that leave an eighth of the files, and at least 64, to engines, control and the disk. */
export function connectionsWithin(wanted: number, files: number): number {
  const spare = Math.max(64, Math.ceil(files / 8));
  return files === Number.POSITIVE_INFINITY ? wanted : Math.max(1, Math.min(wanted, files - spare));
}
