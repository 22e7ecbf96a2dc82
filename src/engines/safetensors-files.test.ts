import { describe, expect, test } from "vitest";
import type { RepoFile } from "../core/deployment.ts";
import { chooseSafetensorsFiles } from "./safetensors-files.ts";
import { weightFilesChooser } from "./weight-files.ts";

const file = (path: string): RepoFile => ({ path, bytes: 1000, sha256: null, gitOid: null });
const listing = (...paths: string[]) => ({ repo: "acme/m", commit: "a".repeat(40), files: paths.map(file) });
const chosen = (paths: readonly string[], allowPickle = false) => {
  const choice = chooseSafetensorsFiles(listing(...paths), { allowPickle });
  return choice.ok ? choice.value.files.map(({ path }) => path).sort() : choice.failure;
};

describe("choosing a safetensors model", () => {
  test("takes one copy of the weights, the configuration and the tokenizer, and nothing for other programs", () => {
    const needed = [
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
      "config.json",
      "generation_config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "tokenizer.model",
      "special_tokens_map.json",
      "chat_template.jinja",
      "merges.txt",
    ];
    const passedOver = [
      "README.md",
      ".gitattributes",
      "LICENSE",
      "pytorch_model-00001-of-00002.bin",
      "pytorch_model-00002-of-00002.bin",
      "pytorch_model.bin.index.json",
      "consolidated.safetensors",
      "tf_model.h5",
      "flax_model.msgpack",
      "onnx/model.onnx",
      "onnx/config.json",
      "original/consolidated.00.pth",
      "original/params.json",
      "metal/model.bin",
      "training_args.bin",
      "optimizer.pt",
      "model.fp16.safetensors",
      "modeling_acme.py",
      "m-Q4_K_M.gguf",
    ];
    expect(chosen([...needed, ...passedOver])).toEqual(needed.toSorted());
  });

  test("takes what Mistral's own format has where there is nothing else", () => {
    const paths = ["consolidated.safetensors", "params.json", "tekken.json"];
    const choice = chooseSafetensorsFiles(listing(...paths), { allowPickle: false });
    expect(choice).toMatchObject({ ok: true, value: { entryFile: "params.json" } });
    expect(chosen(paths)).toEqual(paths.toSorted());
  });

  test("takes the steps that a sentence encoder has after its model", () => {
    const paths = [
      "model.safetensors",
      "config.json",
      "modules.json",
      "1_Pooling/config.json",
      "2_Dense/model.safetensors",
    ];
    expect(chosen([...paths, "onnx/model.onnx", "3_Other/readme.txt"])).toEqual(paths.toSorted());
  });

  test.each<[string, string[], RegExp]>([
    ["pickles alone", ["pytorch_model.bin", "config.json"], /Python pickles.*run code/],
    ["an adapter", ["adapter_model.safetensors", "adapter_config.json"], /LoRA adapter/],
    [
      "a missing shard",
      ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors", "config.json"],
      /2 of the 3/,
    ],
    ["no configuration", ["model.safetensors"], /no config.json/],
    ["GGUF alone", ["m.gguf", "config.json"], /GGUF files alone/],
    ["parts in folders", ["unet/model.safetensors", "vae/model.safetensors"], /in folders/],
    ["nothing", ["README.md"], /no weights/],
  ])("refuses %s with the reason", (_name, paths, why) => {
    expect(chosen(paths)).toMatchObject({ code: "no_loadable_weights", message: expect.stringMatching(why) });
  });

  test("takes pickles only where they are allowed, and never before safetensors", () => {
    const pickles = ["pytorch_model.bin", "config.json", "training_args.bin"];
    expect(chosen(pickles, true)).toEqual(["config.json", "pytorch_model.bin"]);
    expect(chosen([...pickles, "model.safetensors"], true)).toEqual(["config.json", "model.safetensors"]);
  });
});

describe("choosing without an engine", () => {
  const choose = weightFilesChooser({ allowPickle: false });
  const paths = ["model.safetensors", "config.json", "m-Q4_K_M.gguf", "m-Q8_0.gguf"];

  test.each([
    [null, paths, ["model.safetensors", "config.json"]],
    ["Q8_0", paths, ["m-Q8_0.gguf"]],
    [null, paths.slice(1), ["m-Q4_K_M.gguf"]],
  ])("the quantization %s of %j gives %j", (quantization, all, expected) => {
    const choice = choose(listing(...all), quantization);
    expect(choice.ok && choice.value.files.map(({ path }) => path)).toEqual(expected);
  });
});
