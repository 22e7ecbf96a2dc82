import { describe, expect, it } from "vitest";
import type { RepoFile } from "../core/deployment.ts";
import { chooseGgufFiles } from "./gguf-files.ts";

const file = (path: string, bytes = 1000): RepoFile => ({ path, bytes, sha256: null, gitOid: null });
const files = (...paths: string[]) => paths.map((path) => file(path));
const chosen = (list: readonly RepoFile[], quantization: string | null = null) => {
  const choice = chooseGgufFiles({ repo: "acme/m", files: list }, quantization);
  return choice.ok ? choice.value.files.map(({ path }) => path) : choice.failure;
};

describe("choosing a quantization", () => {
  const several = files(
    "README.md",
    "m.Q8_0.gguf",
    "m.Q4_K_M.gguf",
    "m.Q4_K_S.gguf",
    "m.IQ4_XS.gguf",
    "m.f16.gguf",
  );

  it("takes the first of the default order, without being asked", () => {
    expect(chosen(several)).toEqual(["m.Q4_K_M.gguf"]);
    expect(chosen(files("a-F16.gguf", "a-Q6_K.gguf"))).toEqual(["a-Q6_K.gguf"]);
    expect(chosen([file("b.gguf", 9), file("a.gguf", 10)])).toEqual(["b.gguf"]);
  });

  it.each([
    ["q4_k_s", "m.Q4_K_S.gguf"],
    ["Q4-K-S", "m.Q4_K_S.gguf"],
    ["Q8_0", "m.Q8_0.gguf"],
    ["F16", "m.f16.gguf"],
    ["iq4_xs", "m.IQ4_XS.gguf"],
  ])("finds %s", (asked, path) => {
    expect(chosen(several, asked)).toEqual([path]);
  });

  it("does not take a quantization for another that begins like it", () => {
    expect(chosen(files("m.BF16.gguf", "m.Q4_K_M.gguf"), "F16")).toMatchObject({
      code: "no_loadable_weights",
    });
    expect(chosen(files("m.Q4_K_M.gguf"), "Q4_K")).toEqual(["m.Q4_K_M.gguf"]);
    expect(chosen(several, "")).toMatchObject({ code: "no_loadable_weights" });
  });

  it("lists what is there when the one asked for is not", () => {
    const failure = chosen(several, "Q2_K");
    expect(failure).toMatchObject({ code: "no_loadable_weights" });
    expect(failure).toMatchObject({ next: expect.stringContaining("Q8_0, Q4_K_M, Q4_K_S, IQ4_XS, F16") });
  });
});

describe("shards", () => {
  const shard = (index: number, of = 3) => `q/m-Q8_0-0000${index}-of-0000${of}.gguf`;

  it("takes all of them in order, and points at the first", () => {
    const list = files(shard(3), shard(1), shard(2), "m-Q4_0.gguf");
    expect(chosen(list, "Q8_0")).toEqual([shard(1), shard(2), shard(3)]);
    expect(chooseGgufFiles({ repo: "acme/m", files: list }, "Q8_0")).toMatchObject({
      value: { entryFile: shard(1) },
    });
  });

  it("fails when one is missing", () => {
    expect(chosen(files(shard(1), shard(3)))).toMatchObject({
      message: expect.stringContaining("2 of the 3 parts"),
    });
  });
});

describe("repositories without a model", () => {
  it.each([
    [["model.safetensors", "config.json"], "safetensors"],
    [["pytorch_model.bin"], "pickles"],
    [["adapter_model.safetensors", "adapter_config.json"], "adapter"],
    [["README.md"], "no weights"],
    [["mmproj-F16.gguf", "m.imatrix.gguf"], "none of them is a model"],
  ])("says what %j is", (paths, word) => {
    expect(chosen(files(...paths))).toMatchObject({
      code: "no_loadable_weights",
      message: expect.stringContaining(word),
    });
  });

  it("leaves projectors, importance matrices and adapters aside", () => {
    expect(chosen(files("mmproj-model-f16.gguf", "imatrix.gguf", "m-lora.gguf", "m.gguf"))).toEqual([
      "m.gguf",
    ]);
  });
});
