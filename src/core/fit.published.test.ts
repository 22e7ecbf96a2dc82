/** That core/fit agrees with what others measured: fit-published.yaml holds their figures, each with its source. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { headerOf, type ModelShape, tensorsOf } from "../../tools/model-headers/tensors.ts";
import { readCatalogue } from "../catalogue/read.ts";
import { readModelConfig } from "../hub/inspect/model-config.ts";
import { sumTensors } from "../hub/inspect/safetensors-header.ts";
import { type FitArgs, fitModel } from "./fit.ts";
import { cacheBytes, shapeOfCache } from "./fit-cache.ts";
import { readFitArgs } from "./fit-deployment.ts";
import { weightsOfOneGpu } from "./fit-weights.ts";
import { listedMemoryBytes, usableGpuBytes } from "./gpu-memory.ts";
import type { ModelFacts } from "./model-facts.ts";

const count = z.int().min(1);
const amount = z.number().positive();
const from = z.string().min(10);
const packing = z.enum([
  "bf16",
  "fp8",
  "fp8-mlp",
  "int8",
  "gptq-8",
  "gptq-4",
  "awq-4",
  "fp8-twice",
  "awq-4-twice",
]);
type Packing = z.output<typeof packing>;
const ofModel = { model: z.string(), gpus: count, from, packed: packing.default("bf16") };

const published = z
  .strictObject({
    models: z.record(
      z.string(),
      z.union([
        z.strictObject({ config: z.record(z.string(), z.unknown()), from }),
        z.strictObject({ like: z.string(), context: count.optional(), from }),
      ]),
    ),
    weights: z.array(z.strictObject({ ...ofModel, gib: amount })),
    footprint: z.array(
      z.strictObject({
        from,
        tokens: count,
        gib: z.record(z.string(), z.partialRecord(packing, amount)),
      }),
    ),
    cache: z.array(z.strictObject({ ...ofModel, tokens: count, gib: amount })),
    failures: z.array(
      z.strictObject({
        ...ofModel,
        memory: amount,
        fraction: amount,
        context: count,
        step: count,
        batch: count,
      }),
    ),
  })
  .parse(read("fit-published.yaml"));

const catalogued = z
  .record(z.string(), z.object({ config: z.record(z.string(), z.unknown()) }))
  .parse(read("../catalogue/published.yaml"));

function read(name: string): unknown {
  return parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}

function configOf(model: string): Record<string, unknown> {
  const own = published.models[model];
  if (own === undefined) {
    const found = catalogued[model];
    if (found === undefined) throw new Error(`no sizes of ${model}`);
    return found.config;
  }
  if ("config" in own) return own.config;
  const like = configOf(own.like);
  return own.context === undefined ? like : { ...like, max_position_embeddings: own.context };
}

const packings: Readonly<Record<Packing, Partial<ModelShape>>> = {
  bf16: {},
  fp8: { quant_method: "fp8" },
  "fp8-mlp": { quant_method: "fp8", keeps_attention: true },
  int8: { quant_method: "int8" },
  "gptq-8": { quant_method: "gptq", bits: 8 },
  "gptq-4": { quant_method: "gptq", bits: 4 },
  "awq-4": { quant_method: "awq", bits: 4 },
  "fp8-twice": { quant_method: "fp8", tie_word_embeddings: false },
  "awq-4-twice": { quant_method: "awq", bits: 4, tie_word_embeddings: false },
};

const known = new Map<string, ModelFacts>();

/** What the hub would read from the headers of such a repository. */
function factsOf(model: string, packed: Packing): ModelFacts {
  const key = `${model} ${packed}`;
  const facts = known.get(key) ?? readFacts(model, packed);
  known.set(key, facts);
  return facts;
}

function readFacts(model: string, packed: Packing): ModelFacts {
  const config = configOf(model);
  const shape = { ...config, ...packings[packed] } as ModelShape;
  const { json, dataBytes } = headerOf(tensorsOf(shape));
  const { quant_method: method, bits } = shape;
  const header = Buffer.from(json);
  const sums = sumTensors(header, 8 + header.byteLength + dataBytes, bits ?? null);
  if (!sums.ok) throw new Error(sums.why);
  const quantized = method === undefined ? {} : { quantization_config: { quant_method: method, bits } };
  return {
    ...readModelConfig({ ...config, architectures: [shape.architecture], ...quantized }),
    format: "safetensors",
    parameters: sums.value.parameters,
    weightBytes: sums.value.bytes,
    bytesByDtype: Object.fromEntries(sums.value.bytesByDtype),
    bytesByPart: Object.fromEntries(sums.value.bytesByPart),
    isCounted: true,
    hasChatTemplate: true,
    adapter: null,
  };
}

const gib = 2 ** 30;
const weightsOf = (facts: ModelFacts, gpus: number) =>
  weightsOfOneGpu({ facts, kind: "vllm", gpus, quantization: null }) / gib;

function cacheOf(facts: ModelFacts, gpus: number, tokens: number): number {
  const shape = shapeOfCache({ facts, kind: "vllm", gpus, numberBytes: 2, prefillTokens: 0 });
  if (shape === null) throw new Error("nothing is known of the cache");
  return cacheBytes(shape, 1, tokens, 0) / gib;
}

const footprints = published.footprint.flatMap(({ gib: models, tokens }) =>
  Object.entries(models).flatMap(([model, found]) =>
    Object.entries(found).map(([packed, total]) => ({ model, packed: packing.parse(packed), tokens, total })),
  ),
);

describe("weights", () => {
  it("are compared for at least 30 models", () => {
    const repositories = [...published.weights, ...footprints].map(
      ({ model, packed }) => `${model} ${packed}`,
    );
    expect(new Set(repositories).size).toBeGreaterThanOrEqual(60);
    expect(
      new Set([...published.weights, ...footprints].map(({ model }) => model)).size,
    ).toBeGreaterThanOrEqual(24);
  });

  it.each(published.weights)("$model $packed on $gpus: what an engine reports, within 10 %", (one) => {
    const estimate = weightsOf(factsOf(one.model, one.packed), one.gpus);
    expect(Math.abs(estimate / one.gib - 1), `${estimate} GiB and ${one.gib}`).toBeLessThan(0.1);
  });

  it.each(footprints)(
    "$model $packed: what a process takes, within 10 %",
    ({ model, packed, tokens, total }) => {
      const facts = factsOf(model, packed);
      const estimate = weightsOf(facts, 1) + cacheOf(facts, 1, tokens);
      expect(Math.abs(estimate / total - 1), `${estimate} GiB and ${total}`).toBeLessThan(0.1);
    },
  );
});

describe("the cache", () => {
  it.each(published.cache)("$model on $gpus: $tokens tokens, within 5 %", (one) => {
    const estimate = cacheOf(factsOf(one.model, one.packed), one.gpus, one.tokens);
    expect(Math.abs(estimate / one.gib - 1), `${estimate} GiB and ${one.gib}`).toBeLessThan(0.05);
  });
});

describe("the catalogue", () => {
  const presets = readCatalogue([new URL("../catalogue/models.yaml", import.meta.url).pathname]).flatMap(
    (entry) =>
      entry.presets.filter(({ engine }) => engine === "vllm").map((preset) => ({ name: entry.name, preset })),
  );

  // Some are close calls, which are left to the engine; none may be refused before its download.
  it.each(presets.map(({ preset }) => [preset.id, preset] as const))("%s is not refused", (_id, preset) => {
    const name = presets.find((one) => one.preset === preset)?.name ?? "";
    const packed = /-FP8$/.test(name) ? "fp8" : "bf16";
    const found = fitModel({
      facts: factsOf(name, packed),
      engine: { kind: "vllm", mostCacheBytes: null, leastContextTokens: null },
      args: readFitArgs({ maxBatchSize: 96 }, preset.args),
      gpus: preset.numGpus,
      memoryBytes: usableGpuBytes(listedMemoryBytes(preset.gpu) ?? 0),
      measured: null,
    });
    expect(found?.isCertain, JSON.stringify(found)).toBe(false);
  });
});

describe("what ran out of memory", () => {
  it.each(published.failures)("$model $packed on $gpus with $context tokens does not fit", (one) => {
    const args: FitArgs = {
      batch: one.batch,
      contextTokens: one.context,
      gpuMemoryFraction: one.fraction,
      prefillTokens: one.step,
      kvCacheDtype: null,
      quantization: null,
    };
    const found = fitModel({
      facts: factsOf(one.model, one.packed),
      engine: { kind: "vllm", mostCacheBytes: null, leastContextTokens: null },
      args,
      gpus: one.gpus,
      memoryBytes: one.memory * gib,
      measured: null,
    });
    expect(found?.verdict, JSON.stringify(found)).toBe("does-not-fit");
  });
});
