import { expect, test } from "vitest";
import { explainAdapter, holdsAdapterAlone } from "./adapter.ts";

test.each([
  [["adapter_config.json", "adapter_model.safetensors", "README.md"], true],
  [["adapter_config.json", "adapter_model.bin", "training_args.bin", "checkpoint-5/model.safetensors"], true],
  [["adapter_config.json", "adapter_model.safetensors", "model.safetensors"], false],
  [["adapter_config.json", "merged-Q4_K_M.gguf"], false],
  [["model.safetensors", "config.json"], false],
  [["folder/adapter_config.json"], false],
])("%j", (paths, isAlone) => {
  expect(holdsAdapterAlone(paths.map((path) => ({ path })))).toBe(isAlone);
});

test("the base is named where it is a name, and nothing else is repeated", () => {
  expect(explainAdapter("ann/lora", "meta-llama/Llama-3.1-8B")).toMatchObject({
    message: "ann/lora holds a LoRA adapter for meta-llama/Llama-3.1-8B, and no model of its own.",
    next: "Deploy meta-llama/Llama-3.1-8B, or a repository in which both were merged into one model.",
  });
  for (const base of [null, "/home/ann/llama", "<script>", "file:///etc/passwd", "a b/c"]) {
    const { message, next } = explainAdapter("ann/lora", base);
    expect(message).toBe("ann/lora holds a LoRA adapter, and no model of its own.");
    expect(next).toMatch(/^Deploy the model that its page names as the base/);
  }
});
