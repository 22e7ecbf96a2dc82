/**
 * Who a process is. A pid alone can be somebody else's after a while, so an identity is the pid with the time its
 * process started (on Linux in clock ticks since a boot that is named too). Finds the processes of an instance by the
 * mark in their environment, which children inherit and which needs no file to be right. Reads only; ends nothing.
 */

import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { psTable } from "./process-ps.ts";

/** Set for every engine; its value is the instance's id. */
export const instanceMark = "BERTH_INSTANCE_ID";
/** Set beside it; the instance's folder, which tells one Berth's instances from another's. */
export const folderMark = "BERTH_INSTANCE_FOLDER";

export type ProcessIdentity = {
  readonly pid: number;
  /** Opaque; equal for the same process only. */
  readonly startedAt: string;
};

export type MarkedProcess = {
  readonly instanceId: string;
  readonly identity: ProcessIdentity;
  readonly parent: number;
  /** Leads its own process group, as every engine does; children usually do not. */
  readonly isLeader: boolean;
  /** The instance's folder, null where the system does not tell. */
  readonly folder: string | null;
};

export type ProcessTable = {
  /** Null when no process has this pid. A zombie still has its identity. */
  identify(pid: number): ProcessIdentity | null;
  /** False for a pid that now is another process, and for a zombie (nobody may ever reap it in a container). */
  isAlive(identity: ProcessIdentity): Promise<boolean>;
  /** All living processes of this user that carry the mark, without the calling one. */
  findMarked(): Promise<MarkedProcess[]>;
  /**
   * All living processes of the group that this process leads, or led: its number is nobody else's while the group has
   * members. Also those that have written over their environment, as vLLM's do. None where another process has the number.
   */
  findGroup(leader: ProcessIdentity): Promise<ProcessIdentity[]>;
};

export function processTable(platform: NodeJS.Platform): ProcessTable {
  return platform === "linux" ? linuxTable : psTable;
}

type Stat = {
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly startTicks: string;
};

/** `/proc/<pid>/stat`, see proc_pid_stat(5): the name in parentheses may hold anything, so fields count after it. */
export function parseStat(text: string): Stat | null {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent, group] = fields;
  const startTicks = fields[19];
  if (state === undefined || group === undefined || startTicks === undefined) return null;
  return { state, parent: Number(parent), group: Number(group), startTicks };
}

/** These reads do not touch a disk, so they are done at once: no other process can slip in between. */
function readStat(pid: number): Stat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

let bootId: string | null = null;

function identityOf(pid: number, stat: Stat): ProcessIdentity {
  bootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return { pid, startedAt: `${bootId}/${stat.startTicks}` };
}

function isDead(stat: Stat): boolean {
  return stat.state === "Z" || stat.state === "X";
}

const linuxTable: ProcessTable = {
  identify(pid) {
    const stat = readStat(pid);
    return stat === null ? null : identityOf(pid, stat);
  },
  async isAlive(identity) {
    const stat = readStat(identity.pid);
    return stat !== null && !isDead(stat) && identityOf(identity.pid, stat).startedAt === identity.startedAt;
  },
  async findMarked() {
    const pids = await listPids();
    const found = await Promise.all(pids.filter((pid) => pid !== process.pid).map(readMarked));
    return found.filter((marked) => marked !== null);
  },
  async findGroup(leader) {
    const holder = readStat(leader.pid);
    if (holder !== null && identityOf(leader.pid, holder).startedAt !== leader.startedAt) return [];
    return (await listPids()).flatMap((pid) => {
      const stat = readStat(pid);
      return stat === null || isDead(stat) || stat.group !== leader.pid ? [] : [identityOf(pid, stat)];
    });
  },
};

async function listPids(): Promise<number[]> {
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
}

async function readMarked(pid: number): Promise<MarkedProcess | null> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`);
    if (!environment.includes(instanceMark)) return null;
    const entries = environment.toString("utf8").split("\0");
    const variable = (name: string) =>
      entries.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
    const instanceId = variable(instanceMark);
    const stat = readStat(pid);
    if (instanceId === null || stat === null || isDead(stat)) return null;
    return {
      instanceId,
      identity: identityOf(pid, stat),
      parent: stat.parent,
      isLeader: stat.group === pid,
      folder: variable(folderMark),
    };
  } catch (error) {
    if (isGone(error) || isForbidden(error)) return null;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH";
}

/** Another user's process: certainly no engine of ours. */
function isForbidden(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EACCES" || code === "EPERM";
}
