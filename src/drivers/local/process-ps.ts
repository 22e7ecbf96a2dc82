/**
 * Process identities on systems without /proc (macOS), read from `ps`. Start times have a resolution of one second
 * there, which a pid cannot come round in. Owns the command lines and the parsing of `ps`.
 */
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import type { MarkedProcess, ProcessIdentity, ProcessTable } from "./process.ts";

const run = promisify(execFile);
/** `ps` answers in milliseconds; a whole listing with environments is well below 64 MB. */
const bounds = { timeout: 10_000, maxBuffer: 64 * 2 ** 20, env: { PATH: "/bin:/usr/bin", LC_ALL: "C" } };
const columns = "pid=,ppid=,pgid=,stat=,lstart=";

type PsLine = {
  readonly identity: ProcessIdentity;
  readonly parent: number;
  readonly group: number;
  readonly isZombie: boolean;
  /** What follows the columns: the command, with the environment where it was asked for. */
  readonly rest: string;
};

/** A line of `ps -o pid=,ppid=,pgid=,stat=,lstart=`, for example `  501     1   501 Ss   Mon Nov 23 18:55:34 2026 node …`. */
export function parsePsLine(line: string): PsLine | null {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+\d\d:\d\d:\d\d\s+\d{4})\s*(.*)$/.exec(
    line,
  );
  if (match === null) return null;
  const [, pid, parent, group, state = "", startedAt = "", rest = ""] = match;
  return {
    identity: { pid: Number(pid), startedAt: startedAt.replace(/\s+/g, " ") },
    parent: Number(parent),
    group: Number(group),
    isZombie: state.startsWith("Z"),
    rest,
  };
}

/** `ps -p` ends with 1 and no output when there is no such process. */
function isEmptyAnswer(error: unknown): boolean {
  return (
    (error as { code?: unknown; status?: unknown }).code === 1 || (error as { status?: unknown }).status === 1
  );
}

export const psTable: ProcessTable = {
  identify(pid) {
    try {
      const output = execFileSync("ps", ["-o", columns, "-p", String(pid)], { ...bounds, encoding: "utf8" });
      return parsePsLine(output.trimEnd())?.identity ?? null;
    } catch (error) {
      if (isEmptyAnswer(error)) return null;
      throw error;
    }
  },
  async isAlive(identity) {
    try {
      const { stdout } = await run("ps", ["-o", columns, "-p", String(identity.pid)], bounds);
      const line = parsePsLine(stdout.trimEnd());
      return line !== null && !line.isZombie && line.identity.startedAt === identity.startedAt;
    } catch (error) {
      if (isEmptyAnswer(error)) return false;
      throw error;
    }
  },
  async findGroup(leader) {
    const { stdout } = await run("ps", ["-ax", "-o", columns], bounds);
    const lines = stdout.split("\n").flatMap((text) => parsePsLine(text) ?? []);
    const holder = lines.find(({ identity }) => identity.pid === leader.pid);
    if (holder !== undefined && holder.identity.startedAt !== leader.startedAt) return [];
    return lines
      .filter(({ group, isZombie }) => group === leader.pid && !isZombie)
      .map(({ identity }) => identity);
  },
  async findMarked() {
    // -E (macOS) and the BSD spelling `e` (elsewhere) show the environment after the command.
    const listing = process.platform === "darwin" ? ["-axEww"] : ["axeww"];
    const { stdout } = await run("ps", [...listing, "-o", `${columns},command=`], bounds);
    return stdout.split("\n").flatMap((text): MarkedProcess[] => {
      const line = parsePsLine(text);
      const instanceId = / BERTH_INSTANCE_ID=([A-Za-z0-9_-]+)(?= |$)/.exec(line?.rest ?? "")?.[1];
      if (line === null || line.isZombie || instanceId === undefined) return [];
      if (line.identity.pid === process.pid) return [];
      const { identity, parent, group } = line;
      return [{ instanceId, identity, parent, isLeader: group === identity.pid, folder: null }];
    });
  },
};
