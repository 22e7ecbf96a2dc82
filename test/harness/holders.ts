/**
 * Which processes still write into files of a folder: whatever was started for an engine inherits the engine's output, also when it
 * leaves its group, has no parent any more or writes over its environment. So tests look in another way than the driver does.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export type Holder = { readonly pid: number; readonly name: string };

/** @param folder a real path. Linux; only processes that this user may look at. */
export function findHolders(folder: string): Holder[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => [1, 2].some((descriptor) => isWithin(pid, descriptor, folder)))
    .map((pid) => ({ pid: Number(pid), name: nameOf(pid) }));
}

function isWithin(pid: string, descriptor: number, folder: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${descriptor}`).startsWith(`${folder}/`);
  } catch {
    return false; // Ended while we looked, a zombie, or another user's.
  }
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}
