import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObservedInstance } from "../../core/instance.ts";
import { createLocalDriver, type LocalDriver, type LocalLimits } from "./driver.ts";
import { processTable } from "./process.ts";
import { standInEngine, standInSpec, systemClock } from "./stand-in.ts";

/** Some of what is checked can be seen in /proc only. */
const onLinux = process.platform === "linux";

let home: string;
let drivers: LocalDriver[];
let others: ChildProcess[];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "berth-driver-"));
  drivers = [];
  others = [];
});

afterEach(async () => {
  for (const other of others) other.kill("SIGKILL");
  for (const driver of drivers) await driver.close();
  const last = openDriver();
  for (const instance of await last.observe()) await last.remove(instance.id, 0);
  await last.close();
  await rm(home, { recursive: true, force: true });
});

function openDriver(limits: Partial<LocalLimits> = {}, readyTimeoutMs = 20_000): LocalDriver {
  const driver = createLocalDriver({
    home,
    socketDirectory: join(home, "s"),
    engines: new Map([["stand-in", standInEngine]]),
    clock: systemClock,
    readyTimeoutMs,
    environment: { ...process.env, HF_TOKEN: "hf_environmentSecret" },
    limits: { lookIntervalMs: 50, probeIntervalMs: 100, endGraceMs: 200, ...limits },
    log: () => undefined,
  });
  drivers.push(driver);
  return driver;
}

async function until<T>(what: string, look: () => Promise<T | null | undefined | false>): Promise<T> {
  const endsAt = Date.now() + 20_000;
  for (;;) {
    const seen = await look();
    if (seen !== null && seen !== undefined && seen !== false) return seen;
    if (Date.now() > endsAt) throw new Error(`waited 20 s for: ${what}`);
    await systemClock.sleep(10);
  }
}

async function reach(
  driver: LocalDriver,
  id: string,
  state: ObservedInstance["state"],
): Promise<ObservedInstance> {
  return await until(`${id} is ${state}`, async () =>
    (await driver.observe()).find((instance) => instance.id === id && instance.state === state),
  );
}

function pidOf(id: string): number {
  const record = JSON.parse(readFileSync(join(home, "instances", id, "record.json"), "utf8"));
  return record.process.pid;
}

async function markedPids(id: string): Promise<number[]> {
  const marked = await processTable(process.platform).findMarked();
  return marked.filter((one) => one.instanceId === id).map((one) => one.identity.pid);
}

describe("an instance's life", () => {
  it("starts, becomes ready with what the engine reports, and is removed without a trace", async () => {
    const driver = openDriver();
    const hints: string[] = [];
    driver.watch((deploymentId) => hints.push(deploymentId));
    await driver.start(standInSpec("one"));
    const running = await reach(driver, "one", "running");
    expect(running).toMatchObject({
      deploymentId: "dep",
      slots: 3,
      contextTokens: 2048,
      note: null,
      failure: null,
    });
    expect(running.readyAtMs).toBeGreaterThanOrEqual(running.startedAtMs);
    expect(hints).toContain("dep");

    await driver.remove("one", 5_000);
    expect(await driver.observe()).toEqual([]);
    expect(await markedPids("one")).toEqual([]);
    expect(existsSync(join(home, "instances", "one"))).toBe(false);
    expect(readdirSync(join(home, "s"))).toEqual([]);
  });

  it("starts one process for the same id, however often and at once", async () => {
    const driver = openDriver();
    await Promise.all([1, 2, 3].map(() => driver.start(standInSpec("one"))));
    await reach(driver, "one", "running");
    await driver.start(standInSpec("one"));
    expect(await markedPids("one")).toEqual([pidOf("one")]);
  });

  it("is removed while it loads, twice at once, and an unknown id at once", async () => {
    const driver = openDriver();
    await driver.start(standInSpec("one", ["slow"]));
    await Promise.all([
      driver.remove("one", 5_000),
      driver.remove("one", 5_000),
      driver.remove("none", 5_000),
    ]);
    expect(await markedPids("one")).toEqual([]);
    expect(await driver.observe()).toEqual([]);
  });

  it("is ended by force when it ignores the polite request, with the children it started", async () => {
    const driver = openDriver();
    await driver.start(standInSpec("one", ["stubborn", "child"]));
    await reach(driver, "one", "running");
    expect(await markedPids("one")).toHaveLength(2);
    await driver.remove("one", 100);
    expect(await markedPids("one")).toEqual([]);
  });

  it("refuses a program that does not exist and leaves nothing", async () => {
    const driver = openDriver();
    await expect(driver.start(standInSpec("one", ["missing-program"]))).rejects.toThrow("ENOENT");
    expect(await driver.observe()).toEqual([]);
    expect(readdirSync(join(home, "instances"))).toEqual([]);
  });

  it("refuses ids that are no names, and a socket path that is too long", async () => {
    const driver = openDriver();
    await expect(driver.start(standInSpec("../one"))).rejects.toThrow("is not an id");
    const long = createLocalDriver({
      home,
      socketDirectory: join(home, "s".repeat(90)),
      engines: new Map([["stand-in", standInEngine]]),
      clock: systemClock,
      readyTimeoutMs: 1_000,
      environment: {},
      log: () => undefined,
    });
    drivers.push(long);
    await expect(long.start(standInSpec("one"))).rejects.toThrow("shorter BERTH_HOME");
  });
});

describe("what an engine inherits", () => {
  it.runIf(onLinux)(
    "is its own session, three descriptors, a short environment, and no secret anyone can list",
    async () => {
      const driver = openDriver();
      await driver.start(standInSpec("one"));
      const { secret } = await reach(driver, "one", "running");
      const pid = pidOf("one");
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      const visible = readFileSync(`/proc/${pid}/cmdline`, "utf8") + environment;
      expect(visible).not.toContain(secret);
      expect(visible).not.toContain("hf_environmentSecret");
      expect(environment.split("\0")).toContain("BERTH_INSTANCE_ID=one");
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(join(home, "instances", "one"));
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      expect([Number(stat[2]), Number(stat[3])]).toEqual([pid, pid]);
      const log = join(home, "logs", "dep", "one.log");
      expect([0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))).toEqual(["/dev/null", log, log]);
      const ours = new Set(readdirSync("/proc/self/fd").map((fd) => linkOf(`/proc/self/fd/${fd}`)));
      const shared = readdirSync(`/proc/${pid}/fd`)
        .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
        .filter((link) => /^(socket|pipe):/.test(link) && ours.has(link));
      expect(shared).toEqual([]);
      expect(statSync(join(home, "instances", "one")).mode & 0o777).toBe(0o700);
      for (const name of ["record.json", "launch.json"]) {
        expect(statSync(join(home, "instances", "one", name)).mode & 0o777).toBe(0o600);
      }
    },
  );
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // Closed meanwhile.
  }
}

describe("an engine that ends or hangs", () => {
  it("is reported with its last words when it crashes while loading; the secret is hidden", async () => {
    const driver = openDriver();
    await driver.start(standInSpec("one", ["crash"]));
    const { failure, secret } = await reach(driver, "one", "exited");
    expect(failure?.code).toBe("engine_crashed");
    expect(failure?.message).toBe("exit 7 null: stand-in: error: the weights are damaged; secret [hidden]");
    const [log] = await driver.readLogs("dep");
    expect(JSON.stringify(log)).not.toContain(secret);
    expect(log?.lines.map((line) => line.text)).toContain("loading the model");

    const next = openDriver();
    expect((await next.observe())[0]?.failure).toEqual(failure);
  });

  it("is reported when it is killed, by the driver that started it and by one that took it over", async () => {
    const first = openDriver();
    await first.start(standInSpec("own"));
    await reach(first, "own", "running");
    process.kill(pidOf("own"), "SIGKILL");
    expect((await reach(first, "own", "exited")).failure?.message).toMatch(/^exit null SIGKILL/);

    await first.start(standInSpec("adopted", ["child"]));
    await reach(first, "adopted", "running");
    await first.close();
    const second = openDriver();
    await reach(second, "adopted", "running");
    process.kill(pidOf("adopted"), "SIGKILL");
    expect((await reach(second, "adopted", "exited")).failure?.message).toMatch(/^exit null null/);
    expect(await markedPids("adopted")).toEqual([]);
  });

  it("is ended when it does not answer any more", async () => {
    const driver = openDriver({ probeTimeoutMs: 100, silentProbes: 3 });
    await driver.start(standInSpec("one"));
    await reach(driver, "one", "running");
    process.kill(pidOf("one"), "SIGSTOP");
    const { failure } = await reach(driver, "one", "exited");
    expect(failure).toMatchObject({ code: "engine_timeout", message: expect.stringContaining("had hung") });
    expect(await markedPids("one")).toEqual([]);
  });

  it("is ended when it loads for too long", async () => {
    const driver = openDriver({}, 300);
    await driver.start(standInSpec("one", ["slow"]));
    const { failure } = await reach(driver, "one", "exited");
    expect(failure).toMatchObject({ code: "engine_timeout", message: expect.stringContaining("0.3 s") });
  });
});

describe("taking over", () => {
  it("goes on with the same process, loading or ready, and lets it become ready later", async () => {
    const first = openDriver();
    await first.start(standInSpec("ready"));
    await first.start(standInSpec("loading", ["slow"]));
    const before = await reach(first, "ready", "running");
    await until("an answer of the loading one", async () =>
      (await first.observe()).some(({ loadProgress }) => loadProgress === 0.5),
    );
    const pids = [pidOf("ready"), pidOf("loading")];
    await first.close();

    const second = openDriver();
    const seen = await second.observe();
    expect(seen.find(({ id }) => id === "ready")).toEqual(before);
    expect(seen.find(({ id }) => id === "loading")?.state).toBe("starting");
    process.kill(pidOf("loading"), "SIGUSR2");
    await reach(second, "loading", "running");
    expect([pidOf("ready"), pidOf("loading")]).toEqual(pids);
    await second.start(standInSpec("ready"));
    expect(await markedPids("ready")).toEqual([pids[0]]);
  });

  it("does not take another process for the engine when the pid was given away", async () => {
    const first = openDriver();
    await first.start(standInSpec("one"));
    await reach(first, "one", "running");
    await first.close();
    process.kill(pidOf("one"), "SIGKILL");
    const stranger = startOther("setInterval(() => undefined, 1000)");
    await changeRecord("one", (record) => ({ ...record, process: { ...record.process, pid: stranger.pid } }));

    const second = openDriver();
    await reach(second, "one", "exited");
    await second.remove("one", 0);
    expect(stranger.exitCode).toBe(null);
    expect(stranger.signalCode).toBe(null);
  });

  it("finds a process whose pid was never written down, and forgets a start that never happened", async () => {
    const first = openDriver();
    await first.start(standInSpec("one"));
    await reach(first, "one", "running");
    await first.close();
    const pid = pidOf("one");
    await changeRecord("one", (record) => ({ ...record, process: null, ready: null }));
    const never = { ...(await readRecord("one")), id: "never" };
    mkdirSync(join(home, "instances", "never"));
    writeFileSync(join(home, "instances", "never", "record.json"), JSON.stringify(never));

    const second = openDriver();
    expect((await second.observe()).map(({ id, state }) => [id, state])).toEqual([["one", "running"]]);
    expect(pidOf("one")).toBe(pid);
    expect(readdirSync(join(home, "instances"))).toEqual(["one"]);
  });

  it("ends an engine whose record is damaged or gone, and keeps the others", async () => {
    const first = openDriver();
    for (const id of ["damaged", "emptied", "gone", "good"]) {
      await first.start(standInSpec(id));
      await reach(first, id, "running");
    }
    await first.close();
    const good = pidOf("good");
    await writeFile(join(home, "instances", "damaged", "record.json"), "{");
    await rm(join(home, "instances", "emptied", "record.json"));
    await rm(join(home, "instances", "gone"), { recursive: true });

    const second = openDriver();
    expect((await second.observe()).map(({ id }) => id)).toEqual(["good"]);
    for (const id of ["damaged", "emptied", "gone"]) expect(await markedPids(id)).toEqual([]);
    expect(await markedPids("good")).toEqual([good]);
  });

  it.runIf(onLinux)("counts a process that nobody reaps as gone", async () => {
    // The parent starts a driver's process and then stops itself, so that the exit is never collected.
    const parent = startOther(`
      const { spawn } = require("node:child_process");
      const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], { stdio: "ignore" });
      console.log(child.pid);
    `);
    const [line] = (await once(parent.stdout ?? parent, "data")) as [Buffer];
    const processes = processTable(process.platform);
    const identity = processes.identify(Number(line.toString()));
    if (identity === null || parent.pid === undefined) throw new Error("the child is not listed");
    expect(await processes.isAlive(identity)).toBe(true);
    process.kill(parent.pid, "SIGSTOP");
    process.kill(identity.pid, "SIGKILL");
    await until("a zombie", async () => readFileSync(`/proc/${identity.pid}/stat`, "utf8").includes(") Z "));
    expect(await processes.isAlive(identity)).toBe(false);
  });

  it("leaves no orphan whenever the process that holds the driver is killed around a start", async () => {
    const script = join(import.meta.dirname, "stand-in-control.ts");
    for (const stopAt of ["record", "spawn", "started"]) {
      const control = spawn(process.execPath, [script, home, `id-${stopAt}`, stopAt], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      others.push(control);
      if (stopAt === "spawn")
        await until("the process", async () => (await markedPids(`id-${stopAt}`)).length > 0);
      else await once(control.stdout, "data");
      control.kill("SIGKILL");
      await once(control, "exit");
      await rm(join(home, "instances", `id-${stopAt}`, "record.json.next"), { force: true });
    }
    const driver = openDriver();
    expect((await driver.observe()).map(({ id }) => id).sort()).toEqual(["id-spawn", "id-started"]);
    await reach(driver, "id-spawn", "running");
    for (const id of ["id-spawn", "id-started"]) {
      expect(await markedPids(id)).toHaveLength(1);
      await driver.remove(id, 1_000);
      expect(await markedPids(id)).toEqual([]);
    }
    expect(readdirSync(join(home, "instances"))).toEqual([]);
  });
});

describe("logs", () => {
  it("stay bounded while the engine writes by itself, and outlive the instance masked", async () => {
    const driver = openDriver({ maxLogBytes: 100_000, lookIntervalMs: 10 });
    await driver.start(standInSpec("one", ["chatty"]));
    await until("a cut", async () => existsSync(join(home, "logs", "dep", "one.past")));
    const { secret } = await reach(driver, "one", "running");
    const [log] = await driver.readLogs("dep");
    expect(log?.lines.length).toBeGreaterThan(50);
    const times = log?.lines.map((line) => line.atMs) ?? [];
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.abs(Date.now() - (times.at(-1) ?? 0))).toBeLessThan(60_000);

    await driver.remove("one", 1_000);
    expect(readdirSync(join(home, "logs", "dep"))).toEqual(["one.past"]);
    const kept = await readFile(join(home, "logs", "dep", "one.past"), "utf8");
    expect(kept.length).toBeLessThan(100_000);
    expect(kept).not.toContain(secret);
    expect((await driver.readLogs("dep"))[0]?.lines.length).toBeGreaterThan(50);
  });

  it("of past instances are given up oldest first", async () => {
    const driver = openDriver({ pastLogsPerDeployment: 2 });
    for (const id of ["a", "b", "c"]) {
      await driver.start(standInSpec(id, ["crash"]));
      await reach(driver, id, "exited");
      await driver.remove(id, 0);
    }
    expect((await driver.readLogs("dep")).map((log) => log.instanceId)).toEqual(["b", "c"]);
  });
});

function startOther(code: string): ChildProcess {
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "ignore"] });
  others.push(child);
  return child;
}

type RawRecord = Record<string, unknown> & { process: { pid: number } };

async function readRecord(id: string): Promise<RawRecord> {
  return JSON.parse(await readFile(join(home, "instances", id, "record.json"), "utf8")) as RawRecord;
}

async function changeRecord(id: string, change: (record: RawRecord) => object): Promise<void> {
  await writeFile(join(home, "instances", id, "record.json"), JSON.stringify(change(await readRecord(id))));
}
