import { describe, expect, test } from "vitest";
import { llamaServerBuild } from "./install.ts";

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
