import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { instanceMark, type ProcessTable, parseStat, processTable } from "./process.ts";
import { parsePsLine, psTable } from "./process-ps.ts";

let children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children = [];
});

async function startMarked(id: string): Promise<number> {
  const child = spawn(process.execPath, ["-e", "console.log(1); setInterval(() => undefined, 1000)"], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
    env: { ...process.env, [instanceMark]: id },
  });
  children.push(child);
  await once(child.stdout, "data");
  if (child.pid === undefined) throw new Error("not started");
  return child.pid;
}

const tables: [string, ProcessTable][] = [["ps", psTable]];
if (process.platform === "linux") tables.push(["/proc", processTable("linux")]);

describe.each(tables)("processes as %s lists them", (_name, table) => {
  it("are the same while they live, and not when they have ended", async () => {
    const pid = await startMarked("alpha");
    const identity = table.identify(pid);
    if (identity === null) throw new Error("not listed");
    expect(table.identify(pid)).toEqual(identity);
    expect(await table.isAlive(identity)).toBe(true);
    expect(await table.isAlive({ ...identity, startedAt: "another time" })).toBe(false);
    const [child] = children;
    child?.kill("SIGKILL");
    if (child !== undefined) await once(child, "exit");
    expect(await table.isAlive(identity)).toBe(false);
    expect(table.identify(pid)).toBe(null);
  });

  it("are found by their group, which outlives its leader, also without a mark", async () => {
    const code = `
      const options = { stdio: "ignore", env: {} };
      const child = require("node:child_process").spawn("sleep", ["1000"], options);
      console.log(child.pid);
      setInterval(() => undefined, 1000);`;
    const leader = spawn(process.execPath, ["-e", code], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    children.push(leader);
    const [text] = (await once(leader.stdout, "data")) as [Buffer];
    const left = Number(text.toString());
    const identity = table.identify(leader.pid ?? 0);
    if (identity === null) throw new Error("not listed");
    expect(await table.findGroup(identity)).toHaveLength(2);
    leader.kill("SIGKILL");
    await once(leader, "exit");
    expect(await table.findGroup(identity)).toEqual([table.identify(left)]);
    process.kill(left, "SIGKILL");
    expect(await table.findGroup({ pid: process.pid, startedAt: "another time" })).toEqual([]);
  });

  it("are found by their mark", async () => {
    const pid = await startMarked("beta-1");
    const found = (await table.findMarked()).filter((one) => one.instanceId === "beta-1");
    expect(found).toMatchObject([{ identity: table.identify(pid), parent: process.pid, isLeader: true }]);
  });
});

it("reads a stat line whose name holds anything", () => {
  const rest = Array.from({ length: 30 }, (_, index) => String(index + 5)).join(" ");
  expect(parseStat(`12 (a) R b) (c) S 1 77 ${rest}`)).toMatchObject({
    state: "S",
    group: 77,
    startTicks: "21",
  });
  expect(parseStat("")).toBe(null);
});

it("reads a line of ps", () => {
  expect(parsePsLine("  501    1  501 Ss   Mon Nov  3 08:05:04 2026 node x A=1")).toEqual({
    identity: { pid: 501, startedAt: "Mon Nov 3 08:05:04 2026" },
    parent: 1,
    group: 501,
    isZombie: false,
    rest: "node x A=1",
  });
  expect(parsePsLine("")).toBe(null);
});
