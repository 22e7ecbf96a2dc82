import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../test/harness/until.ts";
import { createIsolator } from "./isolation.ts";
import { standInSpec } from "./stand-in.ts";
import { openStandInHome, reach, type StandInHome } from "./stand-in-home.ts";

let at: StandInHome;
beforeEach(async () => {
  at = await openStandInHome();
});
afterEach(() => at.end());

/** A cache as the hub makes it: a snapshot whose file is a link to a blob. */
function makeWeights(home: string): string {
  const repo = join(home, "hub", "models--o--n");
  const snapshot = join(repo, "snapshots", "c");
  for (const folder of [join(repo, "blobs"), snapshot]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(repo, "blobs", "hash"), "weights", { mode: 0o600 });
  symlinkSync("../../blobs/hash", join(snapshot, "model"));
  return snapshot;
}

function specOf(id: string, snapshotPath: string, attempts: object) {
  const spec = standInSpec(id, ["hostile", JSON.stringify(attempts)]);
  return { ...spec, launch: { ...spec.launch, snapshotPath } };
}

describe("an engine that is shut in", () => {
  it("reads its weights and nothing of Berth's or its neighbours', and cannot change what Berth keeps of it", async () => {
    const driver = at.openDriver({}, { isolates: true });
    // Holds on every Linux where a program may make namespaces; elsewhere Berth says so, which the next test sees.
    expect(await driver.isolation()).toEqual({ isIsolated: true });
    writeFileSync(join(at.home, "token"), "berth_secret");
    const snapshot = makeWeights(at.home);
    const neighbour = standInSpec("neighbour");
    await driver.start({ ...neighbour, launch: { ...neighbour.launch, snapshotPath: snapshot } });
    await reach(driver, "neighbour", "running");

    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const own = join(at.home, "instances", "one");
    const other = join(at.home, "instances", "neighbour");
    await driver.start(
      specOf("one", snapshot, {
        reads: [
          join(snapshot, "model"),
          join(at.home, "token"),
          join(own, "record.json"),
          join(other, "record.json"),
          join(other, "engine", "launch.json"),
          `/proc/${at.pidOf("neighbour")}/environ`,
        ],
        lists: [at.home, join(at.home, "instances"), join(at.home, "s"), "/root", "/home"],
        writes: [
          join(own, "engine", "x"),
          "/tmp/x",
          join(snapshot, "model"),
          "/usr/x",
          join(own, "record.json"),
        ],
        ports: [(server.address() as AddressInfo).port],
      }),
    );
    const said = await until("all attempts", async () => {
      const text = readFileSync(join(at.home, "logs", "dep", "one.log"), "utf8");
      return text.includes("done\n") && text;
    });
    server.close();
    const lines = said.trimEnd().split("\n");
    expect(lines.filter((line) => line.startsWith("could "))).toEqual(
      lines.filter((line) =>
        /^could (not|read \S+models--o--n|list|write \S+(engine\/x|tmp\/x|record.json))/.test(line),
      ),
    );
    expect(said).toContain(`could read ${join(snapshot, "model")}: "weights"`);
    expect(said).toContain(`could list ${at.home}: ["hub","instances","s"]`);
    expect(said).toContain(`could list ${join(at.home, "instances")}: ["one"]`);
    expect(said).toContain(`could list ${join(at.home, "s")}: ["one"]`);
    for (const hidden of ["token", "record.json", "launch.json", "environ"]) {
      expect(said).toMatch(new RegExp(`could not read \\S+${hidden}: ENOENT`));
    }
    expect(said).toContain(`could write ${join(own, "engine", "x")}`);
    expect(said).toMatch(/could not write \S+models--o--n\S+: E(ROFS|ACCES)/);
    expect(said).toContain("sees processes: true\n");
    expect(said).toContain("has networks: \n");
    expect(said).toContain("could not connect: E");
    expect(said).toContain("has powers: 0000000000000000");
    if (process.getuid?.() === 0) expect(said).toMatch(/is user: 2\d{9}\n/);
    // Without root it may write in the folders that hold its own, which are not the real ones.
    expect(readFileSync(join(own, "record.json"), "utf8")).toContain(`"id":"one"`);
    expect(statSync(join(own, "record.json")).uid).toBe(process.getuid?.());
  });

  it("reads weights in a folder that only Berth may enter, and says which file nobody lets it read", async () => {
    const folder = mkdtempSync(join(tmpdir(), "berth-weights-"));
    try {
      chmodSync(folder, 0o700);
      mkdirSync(join(folder, "deep"));
      writeFileSync(join(folder, "model"), "weights", { mode: 0o644 });
      writeFileSync(join(folder, "deep", "part"), "more", { mode: 0o644 });
      const driver = at.openDriver({}, { isolates: true });
      const reads = [join(folder, "model"), join(folder, "deep", "part")];
      await driver.start(specOf("one", folder, { reads, lists: [], writes: reads, ports: [] }));
      const said = await until("all attempts", async () => {
        const text = readFileSync(join(at.home, "logs", "dep", "one.log"), "utf8");
        return text.includes("done\n") && text;
      });
      expect(said).toContain(`could read ${reads[0]}: "weights"`);
      expect(said).toContain(`could read ${reads[1]}: "more"`);
      expect(said).not.toMatch(/could write/);
      chmodSync(join(folder, "model"), 0o600);
      const second = driver.start(specOf("two", folder, { reads: [], lists: [], writes: [], ports: [] }));
      if (process.getuid?.() === 0) await expect(second).rejects.toThrow(`${folder}/model cannot be read`);
      else await second;
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("serves, is taken over, is ended politely, and leaves nothing", async () => {
    const first = at.openDriver({}, { isolates: true });
    const snapshot = makeWeights(at.home);
    const spec = standInSpec("one", ["child"]);
    await first.start({ ...spec, launch: { ...spec.launch, snapshotPath: snapshot } });
    const before = await reach(first, "one", "running");
    await first.close();
    const second = at.openDriver({}, { isolates: true });
    expect(await second.observe()).toEqual([{ ...before, loadReport: undefined, memory: expect.anything() }]);
    expect((await at.markedPids("one")).length).toBeGreaterThanOrEqual(2);
    await second.remove("one", 5_000);
    expect(await at.markedPids("one")).toEqual([]);
    expect(await second.observe()).toEqual([]);
  });

  it("is ended when its folder is gone, which nobody can own any more", async () => {
    const first = at.openDriver({}, { isolates: true });
    const spec = standInSpec("gone");
    await first.start({ ...spec, launch: { ...spec.launch, snapshotPath: makeWeights(at.home) } });
    await reach(first, "gone", "running");
    await first.close();
    rmSync(join(at.home, "instances", "gone"), { recursive: true });
    expect(await at.openDriver({}, { isolates: true }).observe()).toEqual([]);
    expect(await at.markedPids("gone")).toEqual([]);
  });

  it("is reported with its exit code and last words when it crashes", async () => {
    const driver = at.openDriver({}, { isolates: true });
    const spec = standInSpec("one", ["crash"]);
    await driver.start({ ...spec, launch: { ...spec.launch, snapshotPath: makeWeights(at.home) } });
    const { failure } = await reach(driver, "one", "exited");
    expect(failure?.message).toMatch(/^exit 7 null: stand-in: error: the weights are damaged/);
  });
});

describe("a machine without the means", () => {
  const options = { programs: ["/usr"], isWanted: true };

  it("is told from one that has them, with what to do", async () => {
    const broken = createIsolator({
      ...options,
      home: at.home,
      programs: ["/nowhere/at/all"],
      environment: process.env,
    });
    expect(await broken.state()).toMatchObject({
      isIsolated: false,
      next: expect.stringContaining("util-linux"),
    });
  });

  it("or where an administrator wants none, runs engines as they are", async () => {
    const off = createIsolator({ ...options, isWanted: false, home: at.home, environment: process.env });
    expect(await off.state()).toMatchObject({ isIsolated: false, reason: "BERTH_ISOLATION is off" });
    const launch = { command: "/bin/engine", args: ["a"], env: {}, files: [] };
    const folder = at.home;
    const quarters = {
      instanceId: "one",
      launch,
      outer: folder,
      folder,
      socketFolder: folder,
      snapshotPath: folder,
    };
    expect(await off.wall(quarters)).toEqual({ launch, env: {} });
  });
});
