import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { standInSpec } from "./stand-in.ts";
import { openStandInHome, reach, type StandInHome } from "./stand-in-home.ts";

/** Some of what is checked can be seen in /proc only. */
const onLinux = process.platform === "linux";

let at: StandInHome;
let home: string;

beforeEach(async () => {
  at = await openStandInHome();
  home = at.home;
});
afterEach(() => at.end());

describe("an instance's life", () => {
  it("starts, becomes ready with what the engine reports, and is removed without a trace", async () => {
    const driver = at.openDriver();
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
      loadReport: { weightBytes: 1000, workBytes: 10, cacheBytes: null, cacheTokens: null },
    });
    expect(running.readyAtMs).toBeGreaterThanOrEqual(running.startedAtMs);
    expect(hints).toContain("dep");

    await driver.remove("one", 5_000);
    expect(await driver.observe()).toEqual([]);
    expect(await at.markedPids("one")).toEqual([]);
    expect(existsSync(join(home, "instances", "one"))).toBe(false);
    expect(readdirSync(join(home, "s"))).toEqual([]);
  });

  it.runIf(onLinux)("says what it uses of memory, and the most it may", async () => {
    const driver = at.openDriver();
    const limitBytes = 2 ** 30;
    await driver.start({ ...standInSpec("one"), memoryBytes: limitBytes });
    const { memory } = await reach(driver, "one", "running");
    expect(memory).toMatchObject({ limitBytes });
    expect(memory?.usedBytes).toBeGreaterThan(2 ** 20);
    expect(memory?.usedBytes).toBeLessThan(limitBytes);
  });

  it("is never ready, and is ended, where health is all it has", async () => {
    const driver = at.openDriver();
    await driver.start(standInSpec("one", [], ["mute"]));
    expect(await reach(driver, "one", "exited")).toMatchObject({
      slots: 0,
      readyAtMs: null,
      failure: { code: "warm_up_failed", message: "It says nothing. The last it printed was: listening." },
    });
    expect(await at.markedPids("one")).toEqual([]);
    await driver.start(standInSpec("two", [], ["ann/m"]));
    await reach(driver, "two", "running");
  });

  it("starts one process for the same id, however often and at once", async () => {
    const driver = at.openDriver();
    await Promise.all([1, 2, 3].map(() => driver.start(standInSpec("one"))));
    await reach(driver, "one", "running");
    await driver.start(standInSpec("one"));
    expect(await at.markedPids("one")).toEqual([at.pidOf("one")]);
  });

  it("is removed while it loads, twice at once, and an unknown id at once", async () => {
    const driver = at.openDriver();
    await driver.start(standInSpec("one", ["slow"]));
    await Promise.all([
      driver.remove("one", 5_000),
      driver.remove("one", 5_000),
      driver.remove("none", 5_000),
    ]);
    expect(await at.markedPids("one")).toEqual([]);
    expect(await driver.observe()).toEqual([]);
  });

  it("is ended by force when it ignores the polite request, with the children it started", async () => {
    const driver = at.openDriver();
    await driver.start(standInSpec("one", ["stubborn", "child"]));
    await reach(driver, "one", "running");
    expect(await at.markedPids("one")).toHaveLength(2);
    await driver.remove("one", 100);
    expect(await at.markedPids("one")).toEqual([]);
  });

  it("refuses a program that does not exist and leaves nothing", async () => {
    const driver = at.openDriver();
    await expect(driver.start(standInSpec("one", ["missing-program"]))).rejects.toThrow("ENOENT");
    expect(await driver.observe()).toEqual([]);
    expect(readdirSync(join(home, "instances"))).toEqual([]);
  });

  it("refuses ids that are no names, and a socket path that is too long", async () => {
    const driver = at.openDriver();
    await expect(driver.start(standInSpec("../one"))).rejects.toThrow("is not an id");
    const long = at.openDriver({}, { socketDirectory: join(home, "s".repeat(90)) });
    await expect(long.start(standInSpec("one"))).rejects.toThrow("shorter BERTH_HOME");
  });
});

describe("what an engine inherits", () => {
  it.runIf(onLinux)(
    "is its own session, three descriptors, a short environment, and no secret anyone can list",
    async () => {
      const driver = at.openDriver();
      await driver.start(standInSpec("one"));
      const { secret } = await reach(driver, "one", "running");
      const pid = at.pidOf("one");
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      const visible = readFileSync(`/proc/${pid}/cmdline`, "utf8") + environment;
      expect(visible).not.toContain(secret);
      expect(visible).not.toContain("hf_environmentSecret");
      expect(environment.split("\0")).toContain("BERTH_INSTANCE_ID=one");
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(join(home, "instances", "one", "engine"));
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
      for (const name of ["record.json", "engine/launch.json"]) {
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
    const driver = at.openDriver();
    await driver.start(standInSpec("one", ["crash"]));
    const { failure, secret } = await reach(driver, "one", "exited");
    expect(failure?.code).toBe("engine_crashed");
    expect(failure?.message).toBe("exit 7 null: stand-in: error: the weights are damaged; secret [hidden]");
    const [log] = await driver.readLogs("dep");
    expect(JSON.stringify(log)).not.toContain(secret);
    expect(log?.lines.map((line) => line.text)).toContain("loading the model");

    const next = at.openDriver();
    expect((await next.observe())[0]?.failure).toEqual(failure);
  });

  it("is reported when it is killed, by the driver that started it and by one that took it over", async () => {
    const first = at.openDriver();
    await first.start(standInSpec("own"));
    await reach(first, "own", "running");
    process.kill(at.pidOf("own"), "SIGKILL");
    expect((await reach(first, "own", "exited")).failure?.message).toMatch(/^exit null SIGKILL/);

    await first.start(standInSpec("adopted", ["child"]));
    await reach(first, "adopted", "running");
    await first.close();
    const second = at.openDriver();
    await reach(second, "adopted", "running");
    process.kill(at.pidOf("adopted"), "SIGKILL");
    expect((await reach(second, "adopted", "exited")).failure?.message).toMatch(/^exit null null/);
    expect(await at.markedPids("adopted")).toEqual([]);
  });

  it("is ended when it does not answer any more", async () => {
    const driver = at.openDriver({ probeTimeoutMs: 100, silentProbes: 3 });
    await driver.start(standInSpec("one"));
    await reach(driver, "one", "running");
    process.kill(at.pidOf("one"), "SIGSTOP");
    const { failure } = await reach(driver, "one", "exited");
    expect(failure).toMatchObject({ code: "engine_timeout", message: expect.stringContaining("had hung") });
    expect(await at.markedPids("one")).toEqual([]);
  });

  it("is ended when it loads for too long", async () => {
    const driver = at.openDriver({}, { readyTimeoutMs: 300 });
    await driver.start(standInSpec("one", ["slow"]));
    const { failure } = await reach(driver, "one", "exited");
    expect(failure).toMatchObject({ code: "engine_timeout", message: expect.stringContaining("0.3 s") });
  });
});

describe("logs", () => {
  it("stay bounded while the engine writes by itself, and outlive the instance masked", async () => {
    const driver = at.openDriver({ maxLogBytes: 100_000, lookIntervalMs: 10 });
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

  it("do not keep an instance from being removed", async () => {
    const driver = at.openDriver();
    await driver.start(standInSpec("one"));
    await reach(driver, "one", "running");
    await rm(join(home, "logs", "dep"), { recursive: true });
    await writeFile(join(home, "logs", "dep"), "not a folder");
    await driver.remove("one", 1_000);
    expect(await driver.observe()).toEqual([]);
    expect(await at.markedPids("one")).toEqual([]);
  });

  it("of past instances are given up oldest first", async () => {
    const driver = at.openDriver({ pastLogsPerDeployment: 2 });
    for (const id of ["a", "b", "c"]) {
      await driver.start(standInSpec(id, ["crash"]));
      await reach(driver, id, "exited");
      await driver.remove(id, 0);
    }
    expect((await driver.readLogs("dep")).map((log) => log.instanceId)).toEqual(["b", "c"]);
  });
});
