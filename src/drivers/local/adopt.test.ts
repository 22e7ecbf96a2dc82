import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { processTable } from "./process.ts";
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

describe("taking over", () => {
  it("goes on with the same process, loading or ready, and lets it become ready later", async () => {
    const first = at.openDriver();
    await first.start(standInSpec("ready"));
    await first.start(standInSpec("loading", ["slow"]));
    const before = await reach(first, "ready", "running");
    await until("an answer of the loading one", async () =>
      (await first.observe()).some(({ loadProgress }) => loadProgress === 0.5),
    );
    const pids = [at.pidOf("ready"), at.pidOf("loading")];
    await first.close();

    const second = at.openDriver();
    const seen = await second.observe();
    // What it reported of its memory was told by the control that saw it become ready.
    expect(seen.find(({ id }) => id === "ready")).toEqual({
      ...before,
      loadReport: undefined,
      memory: expect.anything(),
    });
    expect(seen.find(({ id }) => id === "loading")?.state).toBe("starting");
    process.kill(at.pidOf("loading"), "SIGUSR2");
    await reach(second, "loading", "running");
    expect([at.pidOf("ready"), at.pidOf("loading")]).toEqual(pids);
    await second.start(standInSpec("ready"));
    expect(await at.markedPids("ready")).toEqual([pids[0]]);
  });

  it("reports what ended meanwhile at the first look", async () => {
    const first = at.openDriver();
    await first.start(standInSpec("one", ["child"]));
    await reach(first, "one", "running");
    await first.close();
    const pid = at.pidOf("one");
    const processes = processTable(process.platform);
    const identity = processes.identify(pid);
    process.kill(pid, "SIGKILL");
    // A dying process loses its environment, which holds the mark, before it is dead.
    await until("its end", async () => identity !== null && !(await processes.isAlive(identity)));
    const [seen] = await at.openDriver().observe();
    expect(seen).toMatchObject({ id: "one", state: "exited", failure: { code: "engine_crashed" } });
    expect(await at.markedPids("one")).toEqual([]);
  });

  it("does not take another process for the engine when the pid was given away", async () => {
    const first = at.openDriver();
    await first.start(standInSpec("one"));
    await reach(first, "one", "running");
    await first.close();
    process.kill(at.pidOf("one"), "SIGKILL");
    const stranger = at.startOther(["-e", "setInterval(() => undefined, 1000)"]);
    await changeRecord("one", (record) => ({ ...record, process: { ...record.process, pid: stranger.pid } }));

    const second = at.openDriver();
    await reach(second, "one", "exited");
    await second.remove("one", 0);
    expect(stranger.exitCode).toBe(null);
    expect(stranger.signalCode).toBe(null);
  });

  it("finds a process whose pid was never written down, and forgets a start that never happened", async () => {
    const first = at.openDriver();
    await first.start(standInSpec("one", ["child"]));
    await reach(first, "one", "running");
    await first.close();
    const pid = at.pidOf("one");
    await changeRecord("one", (record) => ({ ...record, process: null, ready: null }));
    const never = { ...(await readRecord("one")), id: "never" };
    mkdirSync(join(home, "instances", "never"));
    writeFileSync(join(home, "instances", "never", "record.json"), JSON.stringify(never));

    const second = at.openDriver();
    expect((await second.observe()).map(({ id, state }) => [id, state])).toEqual([["one", "running"]]);
    expect(at.pidOf("one")).toBe(pid);
    expect(readdirSync(join(home, "instances"))).toEqual(["one"]);
  });

  it("ends an engine whose record is damaged or gone, and keeps the others", async () => {
    const first = at.openDriver();
    for (const id of ["damaged", "emptied", "gone", "good"]) {
      await first.start(standInSpec(id));
      await reach(first, id, "running");
    }
    await first.close();
    const good = at.pidOf("good");
    await writeFile(join(home, "instances", "damaged", "record.json"), "{");
    await rm(join(home, "instances", "emptied", "record.json"));
    await rm(join(home, "instances", "gone"), { recursive: true });

    const second = at.openDriver();
    expect((await second.observe()).map(({ id }) => id)).toEqual(["good"]);
    for (const id of ["damaged", "emptied", "gone"]) expect(await at.markedPids(id)).toEqual([]);
    expect(await at.markedPids("good")).toEqual([good]);
  });

  it.runIf(onLinux)("counts a process that nobody reaps as gone", async () => {
    // The parent starts a driver's process and then stops itself, so that the exit is never collected.
    const parent = at.startOther([
      "-e",
      `
      const { spawn } = require("node:child_process");
      const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], { stdio: "ignore" });
      console.log(child.pid);
    `,
    ]);
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
      const control = at.startOther([script, home, `id-${stopAt}`, stopAt]);
      if (stopAt === "spawn")
        await until("the process", async () => (await at.markedPids(`id-${stopAt}`)).length > 0);
      else await once(control.stdout ?? control, "data");
      control.kill("SIGKILL");
      await once(control, "exit");
      await rm(join(home, "instances", `id-${stopAt}`, "record.json.next"), { force: true });
    }
    const driver = at.openDriver();
    expect((await driver.observe()).map(({ id }) => id).sort()).toEqual(["id-spawn", "id-started"]);
    await reach(driver, "id-spawn", "running");
    for (const id of ["id-spawn", "id-started"]) {
      expect(await at.markedPids(id)).toHaveLength(1);
      await driver.remove(id, 1_000);
      expect(await at.markedPids(id)).toEqual([]);
    }
    expect(readdirSync(join(home, "instances"))).toEqual([]);
  });
});

type RawRecord = Record<string, unknown> & { process: { pid: number } };

async function readRecord(id: string): Promise<RawRecord> {
  return JSON.parse(await readFile(join(home, "instances", id, "record.json"), "utf8")) as RawRecord;
}

async function changeRecord(id: string, change: (record: RawRecord) => object): Promise<void> {
  await writeFile(join(home, "instances", id, "record.json"), JSON.stringify(change(await readRecord(id))));
}
