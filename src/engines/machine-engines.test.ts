import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { installFakeVllm } from "../../tools/fake-vllm/installed.ts";
import { findEngines } from "./machine-engines.ts";
import { vllmImage, vllmOfImage } from "./vllm/program.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-places-"));
  await mkdir(join(folder, "bin"));
});
afterEach(() => rm(folder, { recursive: true }));

async function install(...names: string[]): Promise<void> {
  for (const name of names) {
    await writeFile(join(folder, "bin", name), "#!/bin/sh\n");
    await chmod(join(folder, "bin", name), 0o755);
  }
}
const find = async (places: Record<string, string> = {}) =>
  await findEngines({ BERTH_HOME: folder, ...places }, { PATH: join(folder, "bin") });

describe("where vLLM is looked for", () => {
  it("is an image only where something runs it and, for the usual one, NVIDIA's driver is", async () => {
    expect(await find()).toMatchObject({ vllm: { state: "absent" }, containerRuntime: null });
    await install("podman");
    expect(await find()).toMatchObject({
      ...{ vllm: { state: "absent" }, containerRuntime: join(folder, "bin/podman") },
    });
    await install("docker", "nvidia-smi");
    expect(await find()).toMatchObject({
      ...{
        vllm: { state: "found", program: { image: vllmImage } },
        containerRuntime: join(folder, "bin/docker"),
      },
    });
    expect(await find({ BERTH_CONTAINER_RUNTIME: "off" })).toMatchObject({
      ...{ vllm: { state: "absent" }, containerRuntime: null },
    });
  });

  it("is a program before an image, unless the settings say which", async () => {
    await install("docker", "nvidia-smi");
    const own = join(folder, "engines/vllm");
    await mkdir(own, { recursive: true });
    installFakeVllm(own);
    const found = await find({ BERTH_VLLM_IMAGE: "here/vllm:1" });
    expect(found.vllm).toMatchObject({ state: "found", program: { path: join(own, "bin/vllm") } });
    expect(found.vllm).not.toHaveProperty("program.image");
    expect((await find({ BERTH_VLLM: "image", BERTH_VLLM_IMAGE: "here/vllm:1" })).vllm).toMatchObject({
      program: { image: "here/vllm:1", version: "1", folders: [] },
    });
    expect((await find({ BERTH_VLLM: "image" })).vllm).toMatchObject({ program: { image: vllmImage } });
    expect((await find({ BERTH_VLLM: "off" })).vllm).toEqual({ state: "absent" });
    expect((await find({ BERTH_VLLM: join(folder, "elsewhere") })).vllm).toEqual({ state: "absent" });
  });
});

it("an image's version is its tag, and its name says whether it is for processors", () => {
  expect(vllmOfImage("docker.io/vllm/vllm-openai:v0.32.0")).toMatchObject({
    version: "0.32.0",
    isForCpu: false,
  });
  expect(vllmOfImage("localhost:5000/vllm-cpu@sha256:00")).toMatchObject({
    ...{ version: "of unknown version", isForCpu: true },
  });
});
