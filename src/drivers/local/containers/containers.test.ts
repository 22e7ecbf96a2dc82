/** An instance's life in a container, on the stand-in for Docker: real processes that go on without their client. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isAlive } from "../../../../test/harness/alive.ts";
import { until } from "../../../../test/harness/until.ts";
import { type InstalledRuntime, installFakeDocker } from "../../../../tools/fake-docker/installed.ts";
import type { Published, World } from "../../../../tools/fake-docker/state.ts";
import { installFakeTool } from "../../../../tools/fake-nvidia-smi/installed.ts";
import { fakeMachine } from "../../../../tools/fake-nvidia-smi/machine.ts";
import type { LocalDriver } from "../driver.ts";
import { standInEngine, standInSpec } from "../stand-in.ts";
import { openStandInHome, reach, type StandInHome } from "../stand-in-home.ts";
import { callRuntime } from "./call.ts";
import { explainRuntime } from "./failures.ts";

const image = "registry.test/stand-in:1";
const berthFolder = join(import.meta.dirname, "../../../..");
const published: Published = {
  layers: 3,
  programs: { "stand-in": [process.execPath, join(berthFolder, "src/drivers/local/stand-in-engine.ts")] },
  folders: [berthFolder],
};

let at: StandInHome;
let folder: string;
let runtime: InstalledRuntime;

beforeEach(async () => {
  at = await openStandInHome();
  folder = mkdtempSync(join(tmpdir(), "berth-docker-"));
  await chmod(folder, 0o755);
  mkdirSync(join(at.home, "weights"));
  writeFileSync(join(at.home, "weights", "model"), "weights", { mode: 0o600 });
  runtime = installFakeDocker(folder, { registry: { [image]: published }, images: [image] });
});
afterEach(async () => {
  runtime.become({ daemon: "up" });
  await at.end();
  expect(runtime.containers()).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

const openDriver = () => at.openDriver({}, { containerRuntime: runtime.program });

function specOf(id: string, behaviour: readonly string[] = [], gpus: readonly string[] = []) {
  const spec = standInSpec(id, behaviour);
  return {
    ...spec,
    placement: { node: "here", gpus },
    launch: { ...spec.launch, snapshotPath: join(at.home, "weights"), image },
  };
}

const recordOf = (id: string) =>
  JSON.parse(readFileSync(join(at.home, "instances", id, "record.json"), "utf8")) as {
    container: { name: string };
    process: { pid: number };
  };

describe("an instance in a container", () => {
  it("serves, outlives its driver, is taken over, and is ended without a trace", async () => {
    const first = openDriver();
    await first.start(specOf("boxed"));
    const before = await reach(first, "boxed", "running");
    expect(runtime.containers()).toEqual([recordOf("boxed").container.name]);
    await first.close();
    const second = openDriver();
    expect(await second.observe()).toEqual([{ ...before, loadReport: undefined, memory: expect.anything() }]);
    const logs = await second.readLogs("dep");
    expect(logs[0]?.lines.map(({ text }) => text)).toEqual(["loading the model", "listening"]);
    await second.remove("boxed", 5_000);
    expect(runtime.containers()).toEqual([]);
    expect(await at.markedPids("boxed")).toEqual([]);
  });

  it("is one of Podman's just as well", async () => {
    rmSync(runtime.program);
    runtime = installFakeDocker(folder, {
      kind: "podman",
      registry: { [image]: published },
      images: [image],
    });
    const driver = openDriver();
    await driver.start(specOf("boxed"));
    await reach(driver, "boxed", "running");
    await driver.remove("boxed", 5_000);
    expect(runtime.containers()).toEqual([]);
  });

  it("uses its GPUs as Berth's, which another Berth is told of as somebody else's", async () => {
    const tool = installFakeTool(folder, fakeMachine("contained", 1));
    const [uuid = ""] = tool.machine.gpus.map((gpu) => gpu.uuid);
    const more = {
      engines: new Map([["stand-in", { ...standInEngine, runsOn: "gpu" as const }]]),
      ...{ nvidiaSmi: tool.program, gpuPollMs: 200, containerRuntime: runtime.program },
    };
    const driver = at.openDriver({}, more);
    await driver.start(specOf("boxed", [], [uuid]));
    await reach(driver, "boxed", "running");
    const gpuOf = async (of: LocalDriver) => (await of.capacity())[0]?.gpus[0];
    const other = await openStandInHome();
    try {
      const foreign = other.openDriver({}, more);
      await until("a stranger to see the process", async () =>
        /^process \d+ \(\w+\), not of Berth/.test((await gpuOf(foreign))?.reason ?? ""),
      );
      await until("the owner to know it", async () => (await gpuOf(driver))?.usable);
    } finally {
      await other.end();
    }
  });

  it("is killed when it does not end for being asked", async () => {
    const driver = openDriver();
    await driver.start(specOf("boxed", ["stubborn"]));
    await reach(driver, "boxed", "running");
    await driver.remove("boxed", 100);
    expect(runtime.containers()).toEqual([]);
  });

  it("tells what it printed last when it crashes", async () => {
    const driver = openDriver();
    await driver.start(specOf("boxed", ["crash"]));
    const { failure } = await reach(driver, "boxed", "exited");
    expect(failure?.message).toMatch(
      /^exit 7 null: stand-in: error: the weights are damaged; secret \[hidden\]/,
    );
    expect(runtime.containers()).toEqual([]);
  });

  it("ends with its client, which may be killed", async () => {
    const driver = openDriver();
    await driver.start(specOf("boxed"));
    await reach(driver, "boxed", "running");
    process.kill(recordOf("boxed").process.pid, "SIGKILL");
    await reach(driver, "boxed", "exited");
    expect(runtime.containers()).toEqual([]);
  });

  it("is ended when nothing of Berth's knows it any more", async () => {
    const first = openDriver();
    await first.start(specOf("boxed"));
    await reach(first, "boxed", "running");
    await first.close();
    const { pid } = recordOf("boxed").process;
    process.kill(pid, "SIGKILL");
    await until("the client to be gone", () => !isAlive(pid));
    rmSync(join(at.home, "instances", "boxed"), { recursive: true });
    expect(runtime.containers()).toHaveLength(1);
    const second = openDriver();
    expect(await second.observe()).toEqual([]);
    await until("the container to be gone", () => runtime.containers().length === 0);
  });
});

describe("a runtime that does not do it", () => {
  it.each<[what: string, world: Partial<World>, code: string, message: RegExp]>([
    ["the service is down", { daemon: "down" }, "container_failed", /service does not run/],
    ["it is for others", { daemon: "closed" }, "container_failed", /user may not use Docker/],
    ["the image was removed", { images: [] }, "image_missing", /registry\.test\/stand-in:1 is not on this/],
  ])("%s: no start, and nothing left", async (_, world, code, message) => {
    runtime.become(world);
    const driver = openDriver();
    await expect(driver.start(specOf("boxed"))).rejects.toMatchObject({
      failure: { code, message: expect.stringMatching(message), next: expect.stringMatching(/\S/) },
    });
    runtime.become({ daemon: "up" });
    expect(await driver.observe()).toEqual([]);
  });

  it("cannot give GPUs, or has no such program: the instance says so", async () => {
    runtime.become({ hasToolkit: false });
    const driver = openDriver();
    await driver.start(specOf("gpu", [], ["GPU-a"]));
    expect((await reach(driver, "gpu", "exited")).failure).toMatchObject({
      code: "container_failed",
      message: expect.stringContaining("NVIDIA Container Toolkit is not set up"),
    });
    runtime.become({ registry: { [image]: { ...published, programs: {} } } });
    await driver.start(specOf("program"));
    expect((await reach(driver, "program", "exited")).failure).toMatchObject({
      code: "image_unusable",
      message: `The image ${image} has no program stand-in.`,
    });
  });

  it("gives no answer, or was removed: it is given up in time", async () => {
    runtime.become({ daemon: "hung" });
    const { isOk, said } = await callRuntime(runtime.program, ["info"], process.env, 500);
    expect(isOk).toBe(false);
    expect(explainRuntime(image, said)).toMatchObject({
      code: "container_failed",
      message: "The container runtime gave no answer within 0.5 s.",
    });
    const gone = await callRuntime(join(folder, "gone"), ["info"], process.env);
    expect(explainRuntime(image, gone.said).message).toMatch(/is not on this machine any more\.$/);
  });

  it("is not there at all", async () => {
    const driver = at.openDriver();
    await expect(driver.start(specOf("boxed"))).rejects.toThrow("no container runtime is on this machine");
    expect(await driver.fetchImage(image, () => undefined, new AbortController().signal)).toMatchObject({
      code: "container_failed",
    });
  });
});

describe("an image that is not here", () => {
  const never = new AbortController().signal;

  it("is fetched once for all who want it, layer by layer", async () => {
    runtime.become({ images: [] });
    const driver = openDriver();
    const seen: number[] = [];
    const wanted = [1, 2, 3].map(() => driver.fetchImage(image, ({ done }) => seen.push(done), never));
    expect(await Promise.all(wanted)).toEqual([null, null, null]);
    expect(Math.max(...seen)).toBe(3);
    expect(runtime.world().pulls).toEqual([image]);
    expect(await driver.fetchImage(image, () => seen.push(-1), never)).toBeNull();
    expect(seen).not.toContain(-1);
  });

  it("is given up when the last who wants it does", async () => {
    runtime.become({ images: [], registry: { [image]: { ...published, fault: "stuck" } } });
    const driver = openDriver();
    const [one, two] = [new AbortController(), new AbortController()];
    let begun = 0;
    const wanted = [one, two].map(({ signal }) =>
      driver.fetchImage(image, ({ done }) => (begun = Math.max(begun, done)), signal),
    );
    await until("the first layer", () => begun === 1);
    one.abort(new Error("given up"));
    await expect(wanted[0]).rejects.toThrow("given up");
    two.abort(new Error("given up too"));
    await expect(wanted[1]).rejects.toThrow("given up too");
    runtime.become({ registry: { [image]: published } });
    expect(await driver.fetchImage(image, () => undefined, never)).toBeNull();
  });

  it.each([
    ["unreachable", "image_unreachable", /^The registry of registry\.test\/stand-in:1 cannot be reached/],
    ["forbidden", "image_not_found", /^The registry has no image registry\.test\/stand-in:1, or does not/],
    ["no-space", "disk_full", /^The disk that keeps container images has no room/],
  ] as const)("cannot be fetched: %s", async (fault, code, message) => {
    runtime.become({ images: [], registry: { [image]: { ...published, fault } } });
    expect(await openDriver().fetchImage(image, () => undefined, never)).toMatchObject({
      code,
      message: expect.stringMatching(message),
      next: expect.stringMatching(/\S.*\.$/),
    });
  });
});
