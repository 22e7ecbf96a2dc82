import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { llamaServerBuild, llamaServerDownload } from "./install.ts";

const build = { folder: "/e", bundle: "/n/gitRelease.bundle", release: "v0.4.0", jobs: 2 };
const argsOf = (of: Parameters<typeof llamaServerBuild>[0], step: number) =>
  llamaServerBuild(of).steps[step]?.args.join(" ") ?? "";

describe("building llama.cpp's server", () => {
  test("takes the shipped libraries where they are there", () => {
    const linked = argsOf({ ...build, libraries: "/n/linux-x64", withCuda: false }, 1);
    expect(linked).toMatch(/-S \S+\/llama-server\/build -DSOURCE=\/e\/source -DLIBRARIES=\/n\/linux-x64 /);
    expect(linked).toContain("-DCMAKE_RUNTIME_OUTPUT_DIRECTORY=/e/bin");
  });

  test("compiles everything without them, and for GPUs", () => {
    const whole = argsOf({ ...build, libraries: null, withCuda: false }, 1);
    expect(whole).toContain("-S /e/source ");
    expect(whole).not.toContain("GGML_CUDA");
    const cuda = argsOf({ ...build, libraries: "/n/linux-x64", withCuda: true }, 1);
    expect(cuda).toContain("-S /e/source ");
    expect(cuda).toContain("-DGGML_CUDA=ON");
  });

  test("needs no network and leaves nothing but the program", () => {
    const { steps, leftovers } = llamaServerBuild({ ...build, libraries: null, withCuda: false });
    expect(steps[0]).toMatchObject({ command: "git", args: expect.arrayContaining([build.bundle]) });
    expect(leftovers).toEqual(["/e/source", "/e/build"]);
  });
});

describe("fetching llama.cpp's server", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "berth-install-"));
  });
  afterAll(async () => await rm(folder, { recursive: true, force: true }));

  test("is of a pinned release, over TLS, no larger than it is", () => {
    const args = llamaServerDownload({ folder, platform: "linux-x64" })?.steps[0]?.args.join(" ");
    expect(args).toMatch(/--proto =https .*--max-filesize 16997245 /);
    expect(args).toMatch(
      / https:\/\/github\.com\/ggml-org\/llama\.cpp\/releases\/download\/b\d+\/\S+\.tar\.gz$/,
    );
  });

  test("is not offered where nothing is published", () => {
    expect(llamaServerDownload({ folder, platform: "sunos-x64" })).toBeNull();
  });

  test("another file than the pinned one is refused before it is unpacked", async () => {
    const steps = llamaServerDownload({ folder, platform: "linux-x64" })?.steps ?? [];
    const target = steps[0]?.args[steps[0].args.indexOf("--output") + 1] ?? "";
    const [sum] = steps[1]?.writes ?? [];
    await writeFile(target, "another file");
    await writeFile(sum?.path ?? "", sum?.content ?? "");
    const check = promisify(execFile)(steps[1]?.command ?? "", steps[1]?.args ?? []);
    await expect(check).rejects.toMatchObject({ code: 1 });
    expect(steps.map(({ command }) => command)).toEqual(["curl", "sha256sum", "tar"]);
  });
});
