import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FitAsk, fitModel } from "./fit.ts";
import { cacheBytes, shapeOfCache } from "./fit-cache.ts";
import { correct, measurementKey, readMeasurement } from "./fit-measured.ts";
import { weightsOfOneGpu } from "./fit-weights.ts";
import type { LayerKinds, ModelFacts } from "./model-facts.ts";

const gib = 2 ** 30;

const llama: ModelFacts = {
  format: "safetensors",
  architecture: "LlamaForCausalLM",
  task: "text-generation",
  parameters: 8_030_261_248,
  weightBytes: 16_060_522_496,
  bytesByDtype: { BF16: 16_060_522_496 },
  bytesByPart: {
    embedding: 1_050_673_152,
    output: 1_050_673_152,
    attention: 2_684_354_560,
    feedForward: 11_274_289_152,
    other: 532_480,
  },
  isCounted: true,
  quantization: null,
  layers: 32,
  layerKinds: kinds({ fullAttention: 32 }),
  hiddenSize: 4096,
  intermediateSize: 14_336,
  vocabularySize: 128_256,
  contextTokens: 131_072,
  heads: 32,
  kvHeads: 8,
  headSize: 128,
  valueHeadSize: 128,
  latentAttention: null,
  experts: null,
  hasTiedEmbeddings: false,
  hasChatTemplate: true,
  adapter: null,
};

function kinds(some: Partial<LayerKinds>): LayerKinds {
  const none = { fullAttention: 0, slidingAttention: 0, recurrent: 0, stateless: 0 };
  return { ...none, windowTokens: null, recurrentStateSize: null, ...some };
}

const ask = (
  some: Partial<Omit<FitAsk, "args">> & { readonly args?: Partial<FitAsk["args"]> } = {},
): FitAsk => ({
  facts: llama,
  engine: { kind: "vllm", mostCacheBytes: null, leastContextTokens: null },
  gpus: 1,
  memoryBytes: 79 * gib,
  measured: null,
  ...some,
  args: {
    batch: 8,
    contextTokens: null,
    gpuMemoryFraction: null,
    prefillTokens: null,
    kvCacheDtype: null,
    quantization: null,
    ...some.args,
  },
});

const verdict = (one: FitAsk) => fitModel(one)?.verdict;

describe("answers", () => {
  it("names each part with its bytes", () => {
    const found = fitModel(ask({ gpus: 2 }));
    expect(found?.lines.map(({ what }) => what)).toEqual([
      "weights",
      "cache",
      "activations",
      "graphs",
      "runtime",
      "reserve",
    ]);
    expect(found?.lines[0]?.text).toBe("weights on each of 2 GPUs, BF16");
    // A token takes 32 layers x 8 heads x (128 + 128) x 2 bytes, half of it on each of two GPUs.
    expect(found?.lines[1]).toMatchObject({ bytes: 8 * 131_072 * 65_536 });
  });

  it("says how much context fits where not all of it does", () => {
    const found = fitModel(ask({ memoryBytes: 23.5 * gib }));
    expect(found?.verdict).toBe("shorter");
    expect(found?.contextForOne).toBeGreaterThan(20_000);
    expect(found?.contextForOne).toBeLessThan(60_000);
    expect(found?.contextForAll).toBeGreaterThan(1_000);
    expect(found?.contextForAll).toBeLessThan(8_000);
    expect(
      verdict(ask({ memoryBytes: 23.5 * gib, args: { contextTokens: found?.contextForAll ?? 0 } })),
    ).toBe("fits");
  });

  it("takes a context that was promised as it is", () => {
    const promised = ask({ memoryBytes: 23.5 * gib, args: { contextTokens: 131_072 } });
    expect(fitModel(promised)).toMatchObject({ verdict: "does-not-fit", isCertain: true });
    expect(verdict(ask({ memoryBytes: 23.5 * gib, args: { batch: 1, contextTokens: 16_384 } }))).toBe("fits");
  });

  it("is certain where weights alone are too large", () => {
    expect(fitModel(ask({ memoryBytes: 12 * gib }))).toMatchObject({
      verdict: "does-not-fit",
      isCertain: true,
    });
  });

  it("refuses a number of GPUs that heads cannot be shared out to", () => {
    expect(fitModel(ask({ gpus: 3 }))).toMatchObject({
      verdict: "does-not-fit",
      isCertain: true,
      obstacle: "its 32 attention heads cannot be shared out evenly to 3 GPUs",
    });
  });

  it("halves the cache in 8 bits", () => {
    const narrow = fitModel(ask({ args: { kvCacheDtype: "fp8" } }))?.lines[1]?.bytes ?? 0;
    expect(narrow * 2).toBe(fitModel(ask())?.lines[1]?.bytes);
  });

  it("keeps a window and a state at their size whatever the context", () => {
    const hybrid = kinds({
      slidingAttention: 16,
      windowTokens: 1024,
      recurrent: 16,
      recurrentStateSize: 65_536,
    });
    const of = (tokens: number) =>
      fitModel(ask({ facts: { ...llama, layerKinds: hybrid }, args: { contextTokens: tokens } }))?.lines[1]
        ?.bytes;
    expect(of(65_536)).toBe(of(131_072));
    expect(of(131_072)).toBeLessThan((fitModel(ask())?.lines[1]?.bytes ?? 0) / 10);
  });

  it("counts layers with heads of their own, and those that keep a part, as they are", () => {
    const of = (some: Partial<LayerKinds>) =>
      fitModel(
        ask({ facts: { ...llama, layerKinds: kinds(some) }, args: { batch: 1, contextTokens: 16_000 } }),
      )?.lines[1]?.bytes;
    expect(of({ fullAttention: 32, fullHeads: { kvHeads: 2, headSize: 512 } })).toBe(
      16_000 * 32 * 2 * 1024 * 2,
    );
    const window = of({ slidingAttention: 32, windowTokens: 16 }) ?? 0;
    const compressed = of({ slidingAttention: 32, windowTokens: 16, compressedTokens: 0.25 }) ?? 0;
    expect(compressed - window).toBe(16_000 * 0.25 * 8 * 256 * 2);
  });

  it("says nothing of a model whose layers are not known", () => {
    expect(fitModel(ask({ facts: { ...llama, layers: null, layerKinds: null } }))).toBeNull();
  });

  it("loads 32 bits as 16, and quantizes where it was asked to", () => {
    const wide = { ...llama, bytesByDtype: { F32: llama.weightBytes } };
    const of = (facts: ModelFacts, quantization: "fp8" | null) =>
      weightsOfOneGpu({ facts, kind: "vllm", gpus: 1, quantization });
    expect(of(wide, null)).toBeLessThan(llama.weightBytes * 0.51);
    expect(of(llama, "fp8")).toBeLessThan(llama.weightBytes * 0.6);
  });

  it("holds the cache of an engine that has a bound of its own to it", () => {
    const engine = { kind: "llamacpp", mostCacheBytes: gib, leastContextTokens: 256 } as const;
    const found = fitModel(ask({ engine, gpus: 0, args: { batch: 1 } }));
    expect(found?.contextForOne).toBe(8192);
  });
});

describe("measured", () => {
  it("replaces what was computed, within reason", () => {
    const estimate = { weightBytes: 10 * gib, workBytes: 2 * gib };
    const measured = { weightBytes: 11 * gib, workBytes: 100 * gib, cacheBytes: null, cacheTokens: null };
    expect(correct(estimate, measured)).toEqual({ weightBytes: 11 * gib, workBytes: 2 * gib });
    expect(correct(estimate, null)).toEqual(estimate);
  });

  it("changes the next answer", () => {
    const measured = { weightBytes: 22 * gib, workBytes: null, cacheBytes: null, cacheTokens: null };
    expect(verdict(ask({ memoryBytes: 23.5 * gib }))).toBe("shorter");
    expect(verdict(ask({ memoryBytes: 23.5 * gib, measured }))).toBe("does-not-fit");
  });

  it("survives being written down, and what was not written by it is nothing", () => {
    const measured = { weightBytes: 1, workBytes: null, cacheBytes: 2, cacheTokens: 3 };
    expect(readMeasurement(JSON.stringify(measured))).toEqual(measured);
    for (const text of [null, "", "no", "[]", "null", '{"weightBytes":"1"}'])
      expect(readMeasurement(text)?.weightBytes ?? null).toBeNull();
    const key = { commit: "c", entryFile: "f", engine: "e", gpu: "L4-24GB", numGpus: 2 };
    expect(measurementKey(key)).toBe("memory e 2xL4-24GB c f");
    expect(measurementKey({ ...key, entryFile: "a b\0\ud800/é.gguf" })).toBe(
      "memory e 2xL4-24GB c a%20b%0%d800/%e9.gguf",
    );
  });
});

const facts = fc
  .record({
    layers: fc.integer({ min: 1, max: 128 }),
    sliding: fc.integer({ min: 0, max: 128 }),
    kvHeads: fc.constantFrom(1, 2, 4, 8, 16),
    headSize: fc.constantFrom(64, 128, 256),
    window: fc.constantFrom(null, 512, 4096),
    gigabytes: fc.integer({ min: 4, max: 400 }),
    kind: fc.constantFrom("vllm" as const, "llamacpp" as const),
  })
  .map(({ layers, sliding, kvHeads, headSize, window, gigabytes, kind }) => {
    const some = Math.min(layers, sliding);
    const weightBytes = gigabytes * 1e9;
    const found: ModelFacts = {
      ...llama,
      ...{ layers, kvHeads, headSize, valueHeadSize: headSize, weightBytes },
      layerKinds: kinds({ fullAttention: layers - some, slidingAttention: some, windowTokens: window }),
      bytesByPart: { attention: weightBytes * 0.2, feedForward: weightBytes * 0.7, other: weightBytes * 0.1 },
    };
    return { facts: found, engine: { kind, mostCacheBytes: null, leastContextTokens: null } };
  });
const tokens = fc.integer({ min: 1, max: 200_000 });
const batch = fc.integer({ min: 1, max: 256 });
const memory = fc.integer({ min: 8, max: 300 }).map((amount) => amount * gib);
const gpus = fc.constantFrom(1, 2, 4);
const rank = { "does-not-fit": 0, shorter: 1, fits: 2 } as const;

describe("properties", () => {
  it("more context, more requests: never less memory, never a better answer", () => {
    fc.assert(
      fc.property(
        facts,
        tokens,
        tokens,
        batch,
        batch,
        memory,
        gpus,
        (model, a, b, c, d, memoryBytes, count) => {
          const of = (contextTokens: number, requests: number) =>
            fitModel(ask({ ...model, memoryBytes, gpus: count, args: { contextTokens, batch: requests } }));
          const less = of(Math.min(a, b), Math.min(c, d));
          const more = of(Math.max(a, b), Math.max(c, d));
          if (less === null || more === null) throw new Error("no answer");
          expect(more.neededBytes).toBeGreaterThanOrEqual(less.neededBytes);
          expect(rank[more.verdict]).toBeLessThanOrEqual(rank[less.verdict]);
        },
      ),
    );
  });

  it("twice the GPUs: each holds no more, and what fitted fits", () => {
    fc.assert(
      fc.property(
        facts,
        tokens,
        batch,
        memory,
        gpus,
        (model, contextTokens, requests, memoryBytes, count) => {
          const of = (many: number) =>
            fitModel(ask({ ...model, memoryBytes, gpus: many, args: { contextTokens, batch: requests } }));
          const [few, many] = [of(count), of(count * 2)];
          if (few === null || many === null) throw new Error("no answer");
          const part = (found: typeof few, what: string) =>
            found.lines.find((line) => line.what === what)?.bytes ?? 0;
          expect(part(many, "weights")).toBeLessThanOrEqual(part(few, "weights"));
          expect(part(many, "cache")).toBeLessThanOrEqual(part(few, "cache"));
          // The first exchange between GPUs costs a little memory, which only a model that is nearly all cache does not save.
          const hasSaved = part(few, "weights") - part(many, "weights") > gib;
          if (hasSaved || count > 1) expect(rank[many.verdict]).toBeGreaterThanOrEqual(rank[few.verdict]);
        },
      ),
    );
  });

  it("what is said to fit adds up to no more than there is", () => {
    fc.assert(
      fc.property(facts, batch, memory, gpus, (model, requests, memoryBytes, count) => {
        const found = fitModel(ask({ ...model, memoryBytes, gpus: count, args: { batch: requests } }));
        if (found === null) throw new Error("no answer");
        if (found.verdict === "fits") expect(found.neededBytes).toBeLessThanOrEqual(memoryBytes);
        if (found.verdict === "does-not-fit") return;
        const again = fitModel(
          ask({ ...model, memoryBytes, gpus: count, args: { batch: 1, contextTokens: found.contextForOne } }),
        );
        expect(again?.verdict).toBe("fits");
        expect(found.isCertain).toBe(false);
      }),
    );
  });

  it("the cache of several requests is no more than that many caches", () => {
    fc.assert(
      fc.property(facts, tokens, batch, gpus, ({ facts: model, engine }, context, requests, count) => {
        const shape = shapeOfCache({
          facts: model,
          kind: engine.kind,
          gpus: count,
          numberBytes: 2,
          prefillTokens: 512,
        });
        if (shape === null) throw new Error("no shape");
        const [one, all] = [cacheBytes(shape, 1, context, 512), cacheBytes(shape, requests, context, 512)];
        expect(all).toBeLessThanOrEqual(one * requests);
        expect(all).toBeGreaterThanOrEqual(one);
      }),
    );
  });
});
