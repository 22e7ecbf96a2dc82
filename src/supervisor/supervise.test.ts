import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isAlive } from "../../test/harness/alive.ts";
import { until } from "../../test/harness/until.ts";
import { restartDelayMs, type Supervisor, supervise } from "./supervise.ts";

const script = join(import.meta.dirname, "stand-in-role.ts");
const clock = {
  now: Date.now,
  sleep: (ms: number, signal?: AbortSignal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

let folder: string;
let file: string;
let supervisor: Supervisor | null;
let outer: ChildProcess | null;
/** Every report of a role, as [name, pid]. */
let ready: [string, number][];
let logged: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-supervise-"));
  file = join(folder, "ends");
  writeFileSync(file, "");
  supervisor = null;
  outer = null;
  ready = [];
  logged = [];
});

afterEach(async () => {
  outer?.kill("SIGKILL");
  for (const [, pid] of ready) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  supervisor?.stop();
  await supervisor?.done;
  rmSync(folder, { recursive: true, force: true });
});

function start(behaviours: Record<string, string>, now: () => number = Date.now): Supervisor {
  supervisor = supervise({
    roles: Object.entries(behaviours).map(([name, behaviour]) => ({
      name,
      command: process.execPath,
      args: [script, name, file, behaviour],
      env: process.env,
      isRenewable: ["renewable", "heir", "only child"].includes(behaviour),
      ...(["heir", "only child"].includes(behaviour) && { seat: Number(name.at(-1)) }),
    })),
    clock: { ...clock, now },
    stopGraceMs: 20_000,
    hangMs: 600,
    onReady: (role, { pid }) => ready.push([role, Number(pid)]),
    log: (_, message) => logged.push(message),
  });
  return supervisor;
}

const pidsOf = (role: string) => ready.filter(([name]) => name === role).map(([, pid]) => pid);
const ends = () => readFileSync(file, "utf8").trim().split("\n");

describe("supervise", () => {
  it("starts a role that dies again and leaves the other alone", async () => {
    start({ control: "", gateway: "" });
    await until("both", () => ready.length === 2);
    const [gateway = 0] = pidsOf("gateway");
    process.kill(gateway, "SIGKILL");
    await until("a new gateway", () => pidsOf("gateway").length === 2);
    expect(pidsOf("control")).toHaveLength(1);
    expect(pidsOf("gateway")[1]).not.toBe(gateway);
  });

  it("replaces one that is stopped or comes back to its event loop no more, and says why; others are left alone", async () => {
    start({ control: "blocks once", gateway: "answers", silent: "" });
    await until("another control", () => pidsOf("control").length === 2);
    const [gateway = 0] = pidsOf("gateway");
    process.kill(gateway, "SIGSTOP");
    await until("another gateway", () => pidsOf("gateway").length === 2);
    expect(isAlive(gateway)).toBe(false);
    const why = "gave no sign of life for 0.6 s and was killed; it is started again";
    expect(logged).toEqual([`control ${why}`, `gateway ${why}`]);
    expect(pidsOf("silent")).toHaveLength(1);
  });

  it("stops the roles one after the other, the last one first", async () => {
    const { stop, done } = start({ control: "", gateway: "" });
    await until("both", () => ready.length === 2);
    stop();
    stop(); // The same Ctrl-C, passed on by npm.
    expect(await done).toBe(0);
    expect(ends()).toEqual(["gateway stopped", "control stopped"]);
  });

  it("stops by force when it is asked again later", async () => {
    let shiftMs = 0;
    const { stop, done } = start({ control: "stubborn", gateway: "stubborn" }, () => Date.now() + shiftMs);
    await until("both", () => ready.length === 2);
    stop();
    shiftMs = 5_000;
    stop();
    expect(await done).toBe(0);
    for (const [, pid] of ready) expect(isAlive(pid)).toBe(false);
  });

  it("stops with the same code when a role cannot run with its settings", async () => {
    const { done } = start({ control: "misconfigured", gateway: "" });
    expect(await done).toBe(78);
  });

  it("starts a role again whose settings were right before", async () => {
    start({ control: "", gateway: "" });
    await until("both", () => ready.length === 2);
    process.kill(pidsOf("control")[0] ?? 0, "SIGUSR1");
    await until("a new control", () => pidsOf("control").length === 2);
    expect(pidsOf("gateway")).toHaveLength(1);
    expect(isAlive(pidsOf("gateway")[0] ?? 0)).toBe(true);
  });

  it("renews a role that is told to end: its successor serves first", async () => {
    const { stop, done } = start({ control: "", gateway: "renewable" });
    await until("both", () => ready.length === 2);
    const [first = 0] = pidsOf("gateway");
    process.kill(first, "SIGTERM");
    await until("the end of the first", () => ends().includes("gateway succeeded"));
    const [, second = 0] = pidsOf("gateway");
    expect(isAlive(second)).toBe(true);
    process.emit("SIGUSR2");
    await until("a third", () => pidsOf("gateway").length === 3 && ends().length === 3);
    // The one that has taken over is looked after like the first.
    process.kill(pidsOf("gateway")[2] ?? 0, "SIGKILL");
    await until("a fourth", () => pidsOf("gateway").length === 4);
    // Of control there may be no two: it ended first.
    expect(pidsOf("control")).toHaveLength(2);
    stop();
    expect(await done).toBe(0);
    expect(ends()).toEqual([
      ...["gateway succeeded", "control stopped", "gateway succeeded"],
      ...["gateway stopped", "control stopped"],
    ]);
  });

  it("renews nothing further where what is in place now does not serve, and tries that again", async () => {
    const { stop, done } = start({ control: "once", gateway: "renewable" });
    await until("both", () => ready.length === 2);
    process.emit("SIGUSR2");
    await until("two tries", () => logged.filter((line) => line.includes("started again")).length === 2);
    expect(isAlive(pidsOf("gateway")[0] ?? 0)).toBe(true);
    stop();
    expect(await done).toBe(0);
    expect(ends()).toEqual(["control stopped", "gateway stopped"]);
  });

  it("tells roles that share their work who is there", async () => {
    const { stop, done } = start({ control: "", gateway0: "heir", gateway1: "heir" });
    await until("all", () => ready.length === 3);
    const [first = 0] = pidsOf("gateway0");
    const [other = 0] = pidsOf("gateway1");
    process.emit("SIGUSR2");
    await until("the ends of both", () => !isAlive(first) && !isAlive(other));
    // One after the other: the first one's successor serves before the second one's begins.
    const renewed = [...pidsOf("gateway0"), ...pidsOf("gateway1")].filter(
      (pid) => pid !== first && pid !== other,
    );
    expect(renewed).toHaveLength(2);
    const came = ready.filter(([name]) => name !== "control").map(([, pid]) => pid);
    expect(came.slice(2)).toEqual(renewed);
    expect(ends().some((line) => /^gateway1 .*1.*1/.test(line))).toBe(true);
    process.kill(renewed[1] ?? 0, "SIGKILL");
    await until("another one", () => pidsOf("gateway1").length === 3);
    stop();
    expect(await done).toBe(0);
    // Whoever ends later may still hear who has gone before.
    const stopped = ends().filter((line) => line.endsWith(" stopped"));
    expect(stopped.slice(-3).sort()).toEqual(["control stopped", "gateway0 stopped", "gateway1 stopped"]);
    expect(ends().at(-1)).toBe("control stopped");
  });

  it("gives up a successor that does not come to serve: the seat goes back", async () => {
    const { stop, done } = start({ gateway0: "only child" });
    await until("the first", () => ready.length === 1);
    process.emit("SIGUSR2");
    await until("the end of the successor", () => logged.some((line) => line.includes("goes on")));
    expect(pidsOf("gateway0").map(isAlive)).toEqual([true]);
    await until("the seat", () => ends().at(-1) === "gateway0 0");
    stop();
    expect(await done).toBe(0);
    expect(ends().filter((line) => line.includes("stopped"))).toEqual(["gateway0 stopped"]);
  });

  it("stops everything when a role asks for it", async () => {
    const { done } = start({ control: "", gateway: "" });
    await until("both", () => ready.length === 2);
    process.kill(pidsOf("control")[0] ?? 0, "SIGUSR2");
    expect(await done).toBe(0);
    expect(ends()).toEqual(["gateway stopped", "control stopped"]);
  });

  it("is noticed to be gone by its roles when it is killed", async () => {
    outer = await startOuter();
    outer.kill("SIGKILL");
    await until("the ends of both", () => ends().length === 2);
    expect(ends().sort()).toEqual(["control left alone", "gateway left alone"]);
  });

  it("passes a signal on in order, also one that a terminal sends to the whole group", async () => {
    outer = await startOuter();
    process.kill(-(outer.pid ?? 0), "SIGINT");
    const [code] = (await once(outer, "exit")) as [number];
    expect(code).toBe(0);
    expect(ends()).toEqual(["gateway stopped", "control stopped"]);
  });
});

/** A supervisor as a process of its own, the leader of a group. */
async function startOuter(): Promise<ChildProcess> {
  const path = join(import.meta.dirname, "stand-in-supervisor.ts");
  const child = spawn(process.execPath, [path, file], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    ready = [...output.matchAll(/^(\w+) (\d+)$/gm)].map((match) => [match[1] ?? "", Number(match[2])]);
  });
  await until("both roles", () => ready.length === 2);
  return child;
}

describe("the pause before a restart", () => {
  it("is 100 ms first, doubles, and ends at 10 s", () => {
    expect([1, 2, 3, 8, 100].map(restartDelayMs)).toEqual([100, 200, 400, 10_000, 10_000]);
  });
});
