/**
 * Memory limits of engines by control groups of Linux (cgroup v2): a group for each instance, whose limit the kernel holds, all
 * its processes together. Only where Berth may make groups, as systemd's delegation lets it (`Delegate=yes` and
 * `DelegateSubgroup=berth` in the unit); else says why not. Owns the folder `engines` beside Berth's own group.
 */
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export type EngineGroups = {
  /** Makes the instance's group; the path of its `cgroup.procs`. */
  make(instanceId: string, memoryBytes: number): Promise<string>;
  /** How often the kernel ended a process of it at the limit; 0 where there is no group. */
  kills(instanceId: string): Promise<number>;
  /** Once nothing of it runs any more; no group is fine. */
  remove(instanceId: string): Promise<void>;
};

/** Name of the group that systemd starts Berth in, within the one that it gives to Berth. */
const ownName = "berth";

/** Where groups can be made, from `/proc/self/cgroup` and `/proc/self/mountinfo`; or why they cannot. Pure. */
export function findDelegation(
  cgroup: string,
  mountinfo: string,
): { readonly parent: string } | { readonly reason: string } {
  const own = /^0::(\/.*)$/m.exec(cgroup)?.[1];
  const mount = mountinfo
    .split("\n")
    .map((line) => /^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 /.exec(line))
    .find((found) => found !== null);
  if (own === undefined || mount === undefined || mount === null) {
    return { reason: "this system has no control groups of version 2" };
  }
  const [, from = "/", at = ""] = mount;
  if (basename(own) !== ownName) {
    return { reason: `Berth runs in the group ${own}, which systemd has not given to it to divide` };
  }
  // A mount may show a part of the tree alone, as in containers.
  const shown = from === "/" ? own : own.startsWith(`${from}/`) ? own.slice(from.length) : null;
  return shown === null
    ? { reason: "Berth's group is not among those it sees" }
    : { parent: dirname(join(at, shown)) };
}

/** @param parent the group that Berth may divide. Rejects where it may not. */
export async function openEngineGroups(parent: string): Promise<EngineGroups> {
  const folder = join(parent, "engines");
  const controllers = (await readFile(join(parent, "cgroup.controllers"), "utf8")).trim().split(" ");
  if (!controllers.includes("memory")) throw new Error("the group that it was given cannot bound memory");
  await writeFile(join(parent, "cgroup.subtree_control"), "+memory");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "cgroup.subtree_control"), "+memory");
  const groupOf = (instanceId: string) => join(folder, instanceId);
  return {
    async make(instanceId, memoryBytes) {
      const group = groupOf(instanceId);
      await mkdir(group, { recursive: true });
      await writeFile(join(group, "memory.max"), String(memoryBytes));
      // Swapping an engine out slows the whole machine down and helps nobody. Kernels without swap have no such file.
      await writeFile(join(group, "memory.swap.max"), "0").catch(ignoreMissing);
      // One process of several would leave an engine that hangs.
      await writeFile(join(group, "memory.oom.group"), "1");
      return join(group, "cgroup.procs");
    },
    async kills(instanceId) {
      const text = await readFile(join(groupOf(instanceId), "memory.events"), "utf8").catch(ignoreMissing);
      return Number(/^oom_kill (\d+)$/m.exec(text ?? "")?.[1] ?? 0);
    },
    async remove(instanceId) {
      await rmdir(groupOf(instanceId)).catch(ignoreMissing);
    },
  };
}

function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
