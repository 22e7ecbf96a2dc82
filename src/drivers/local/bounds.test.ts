/** The limits of an engine's process: what the command does, against real processes, and where groups are made. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { bindEngine, dataLimit } from "./bounds.ts";
import { findDelegation, openEngineGroups } from "./engine-groups.ts";

const run = promisify(execFile);
const mib = 2 ** 20;

/** A program that touches so much memory and says so. */
const taker = (megabytes: number) => ({
  command: process.execPath,
  args: ["-e", `Buffer.alloc(${megabytes} * 2 ** 20, 1); console.log("took it")`],
});

describe.runIf(process.platform === "linux")("the command", () => {
  test("becomes the program, which the kernel ends before anything usual", async () => {
    const score = { command: "/bin/cat", args: ["/proc/self/oom_score_adj"] };
    const { command, args } = bindEngine(score, { groupFile: null, dataBytes: null });
    expect((await run(command, args)).stdout).toBe("500\n");
  });

  test("passes arguments on as they are", async () => {
    const odd = ["$(id)", "a b", "'", "", "-n"];
    const { command, args } = bindEngine(
      { command: "/usr/bin/printf", args: ["%s|", ...odd] },
      { groupFile: null, dataBytes: null },
    );
    expect((await run(command, args)).stdout).toBe(odd.map((text) => `${text}|`).join(""));
  });

  test("a program that maps more than its limit dies alone", async () => {
    const bounds = { groupFile: null, dataBytes: dataLimit(300 * mib) };
    const small = bindEngine(taker(50), bounds);
    expect((await run(small.command, small.args)).stdout).toBe("took it\n");
    const large = bindEngine(taker(1500), bounds);
    await expect(run(large.command, large.args)).rejects.toMatchObject({ stdout: "" });
  });

  test("enters its group before it is the program", async () => {
    const folder = await mkdtemp(join(tmpdir(), "berth-group-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const groupFile = join(folder, "cgroup.procs");
    const bound = bindEngine({ command: "/bin/cat", args: [groupFile] }, { groupFile, dataBytes: null });
    expect((await run(bound.command, bound.args)).stdout).toBe("0\n");
  });
});

const mounts = (line: string) => `22 1 0:21 / /proc rw shared:5 - proc proc rw\n${line}\n`;
const unified = mounts("30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate");

describe("where groups can be made", () => {
  test("beside Berth's own, where systemd has given it one to divide", () => {
    expect(findDelegation("0::/system.slice/berth.service/berth\n", unified)).toEqual({
      parent: "/sys/fs/cgroup/system.slice/berth.service",
    });
  });

  test("within what a container shows of the tree", () => {
    const part = mounts("30 22 0:26 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw");
    expect(findDelegation("0::/docker/c1/berth\n", part)).toEqual({ parent: "/sys/fs/cgroup" });
    expect(findDelegation("0::/other/berth\n", part)).toMatchObject({ reason: expect.any(String) });
  });

  test.each([
    ["a terminal", "0::/user.slice/user-1000.slice/session-2.scope\n", unified],
    [
      "version 1",
      "4:memory:/x\n1:cpu:/\n",
      mounts("31 22 0:9 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"),
    ],
    ["nothing of the kind", "", ""],
  ])("nowhere in %s, with the reason", (_where, own, mountinfo) => {
    expect(findDelegation(own, mountinfo)).toMatchObject({ reason: expect.stringMatching(/\w/) });
  });
});

describe("groups, in a folder that stands in for the kernel's", () => {
  async function openTree(controllers = "cpu memory pids") {
    const parent = await mkdtemp(join(tmpdir(), "berth-groups-"));
    onTestFinished(() => rm(parent, { recursive: true }));
    await writeFile(join(parent, "cgroup.controllers"), `${controllers}\n`);
    return parent;
  }

  test("one an instance, with its limit, all of it ended together", async () => {
    const parent = await openTree();
    const groups = await openEngineGroups(parent);
    const procs = await groups.make("i1", 5 * mib);
    expect(procs).toBe(join(parent, "engines", "i1", "cgroup.procs"));
    const read = (name: string) => readFile(join(parent, "engines", "i1", name), "utf8");
    expect(await read("memory.max")).toBe(String(5 * mib));
    expect(await read("memory.oom.group")).toBe("1");
    expect(await groups.kills("i1")).toBe(0);
    // As Linux 6.1 writes it.
    const events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 1\n";
    await writeFile(join(parent, "engines", "i1", "memory.events"), events);
    expect(await groups.kills("i1")).toBe(1);
    expect(await groups.kills("never")).toBe(0);
  });

  test("gone with the instance", async () => {
    const parent = await openTree();
    const groups = await openEngineGroups(parent);
    // The kernel's files go with their folder; these do not.
    await mkdir(join(parent, "engines", "i1"));
    await groups.remove("i1");
    await groups.remove("i1");
    expect(await readdir(join(parent, "engines"))).not.toContain("i1");
  });

  test("not where the group that was given cannot bound memory", async () => {
    await expect(openEngineGroups(await openTree("cpu pids"))).rejects.toThrow("cannot bound memory");
  });
});
