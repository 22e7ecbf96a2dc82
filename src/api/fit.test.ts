import { expect, test } from "vitest";
import type { FitArgs } from "../core/fit.ts";
import type { NodeCapacity } from "../core/instance.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import { holdingConfigurations } from "./fit.ts";
import { recommendHolding } from "./gpu-availability.ts";
import type { Looked } from "./model-look.ts";

const gb = 2 ** 30;
const args: FitArgs = {
  batch: 8,
  contextTokens: null,
  gpuMemoryFraction: null,
  prefillTokens: null,
  kvCacheDtype: null,
  quantization: null,
};
/** 8 billion parameters in 16 bits. */
const facts: ModelFacts = {
  ...{ format: "safetensors", architecture: "LlamaForCausalLM", task: "text-generation", parameters: 8.03e9 },
  ...{ weightBytes: 16.06e9, bytesByDtype: { BF16: 16.06e9 }, bytesByPart: {}, isCounted: true },
  ...{ quantization: null, layers: 32 },
  layerKinds: {
    ...{ fullAttention: 32, slidingAttention: 0, recurrent: 0, stateless: 0 },
    ...{ windowTokens: null, recurrentStateSize: null },
  },
  ...{ hiddenSize: 4096, intermediateSize: 14_336, vocabularySize: 128_256, contextTokens: 131_072 },
  ...{ heads: 32, kvHeads: 8, headSize: 128, valueHeadSize: 128, latentAttention: null, experts: null },
  ...{ hasTiedEmbeddings: false, hasChatTemplate: true, adapter: null },
};
const vllm = { engine: "vllm", runsOn: "gpu", memory: null } as const;
const embedded = {
  engine: "embedded",
  runsOn: "cpu",
  memory: { kind: "llamacpp", mostCacheBytes: gb, leastContextTokens: 256 },
} as const;
const gpu = (id: string, type: string, memoryMib: number) => ({
  ...{ id, type, name: type, memoryBytes: memoryMib * 2 ** 20, usable: true, reason: null },
});
const nodes: NodeCapacity[] = [
  {
    node: "n",
    cpuCores: 8,
    memoryBytes: 64 * gb,
    gpus: [1, 2, 3, 4].map((index) => gpu(String(index), "L4-24GB", 23_034)),
  },
];

const list = (looked: Omit<Looked, "commit">) =>
  holdingConfigurations({ ...looked, commit: "" }, args, nodes).map(
    ({ hardware: { gpu: type, numGpus, isHere } }) => `${numGpus} x ${type}${isHere ? " here" : ""}`,
  );

test("the fewest GPUs of each type, what is here first", () => {
  expect(list({ facts, engine: vllm })).toEqual([
    "2 x L4-24GB here",
    "1 x L40S-48GB",
    "1 x H100-80GB",
    "1 x A100-80GB",
    "1 x RTXPRO6000-96GB",
    "1 x H200-141GB",
    "1 x B200-180GB",
    "1 x B300-270GB",
    "0 x other",
  ]);
});

test("hardware that no installed engine can use is not here", () => {
  expect(list({ facts, engine: null }).filter((one) => one.endsWith("here"))).toEqual([]);
  const small = { ...facts, format: "gguf", weightBytes: 1e9, contextTokens: 2048 } as const;
  const found = list({ facts: small, engine: embedded });
  expect(found.filter((one) => one.endsWith("here"))).toEqual(["0 x other here"]);
  expect(found).toContain("1 x L4-24GB");
});

test("what holds a model is recommended where it can be placed", () => {
  const configurations = [
    { type: "L4-24GB", count: 1, name: "1xL4-24GB", available: true },
    { type: "L4-24GB", count: 2, name: "2xL4-24GB", available: true },
    { type: "other", count: 1, name: "1xother-64GB", available: true },
  ] as const;
  const holding = holdingConfigurations({ facts, engine: vllm, commit: "" }, args, nodes);
  expect([
    ...recommendHolding(
      configurations,
      holding.map(({ hardware }) => hardware),
    ),
  ]).toEqual(["2xL4-24GB"]);
  const onCpu = [{ gpu: "other", numGpus: 0, isHere: true }] as const;
  expect([...recommendHolding(configurations, onCpu)]).toEqual(["1xother-64GB"]);
  expect(recommendHolding(configurations, []).size).toBe(0);
});
