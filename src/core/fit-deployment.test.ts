import { describe, expect, it } from "vitest";
import { type Deployment, firstRevisions, noEngineArgs, noTries } from "./deployment.ts";
import {
  describeFit,
  type FitInput,
  fitDeployment,
  fittingContext,
  readFitArgs,
  refuseUnfit,
} from "./fit-deployment.ts";
import type { NodeCapacity } from "./instance.ts";
import type { ModelFacts } from "./model-facts.ts";
import { planDeployment } from "./plan.ts";
import { noLoad } from "./routing.ts";
import type { World } from "./world.ts";

const gb = 2 ** 30;

/** Sizes of a model of 70 billion parameters in 16 bits. */
const large: ModelFacts = {
  format: "safetensors",
  architecture: "LlamaForCausalLM",
  task: "text-generation",
  parameters: 70_553_706_496,
  weightBytes: 141_107_412_992,
  bytesByDtype: { BF16: 141_107_412_992 },
  bytesByPart: {
    embedding: 2_101_346_304,
    output: 2_101_346_304,
    attention: 24_159_191_040,
    feedForward: 112_742_891_520,
    other: 2_637_824,
  },
  isCounted: true,
  quantization: null,
  layers: 80,
  layerKinds: {
    fullAttention: 80,
    slidingAttention: 0,
    recurrent: 0,
    stateless: 0,
    windowTokens: null,
    recurrentStateSize: null,
  },
  hiddenSize: 8192,
  intermediateSize: 28_672,
  vocabularySize: 128_256,
  contextTokens: 131_072,
  heads: 64,
  kvHeads: 8,
  headSize: 128,
  valueHeadSize: 128,
  latentAttention: null,
  experts: null,
  hasTiedEmbeddings: false,
  hasChatTemplate: true,
  adapter: null,
};

const deployment: Deployment = {
  id: "d1",
  account: "alice",
  name: "alice/m",
  isPublic: false,
  config: {
    gpu: "H100-80GB",
    numGpus: 1,
    maxBatchSize: 8,
    weights: { repo: "acme/large", revision: null },
    baseModel: null,
    containerImage: null,
  },
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  desired: "run",
  createdAtMs: 0,
  updatedAtMs: 0,
  loadTimeMs: null,
  resolved: {
    commit: "a".repeat(40),
    files: [],
    engine: "vllm",
    entryFile: "model.safetensors",
    task: "text-generation",
    facts: large,
  },
  weightsReadyAtMs: null,
  failure: null,
  hasRun: false,
  tries: noTries,
  revisions: firstRevisions(noEngineArgs),
};

const node = (count: number, type = "H100-80GB", memoryMib = 81_559): NodeCapacity => ({
  node: "n",
  cpuCores: 8,
  memoryBytes: 64 * gb,
  gpus: Array.from({ length: count }, (_, index) => ({
    id: `${type}-${index}`,
    type,
    name: type,
    memoryBytes: memoryMib * 2 ** 20,
    usable: true,
    reason: null,
  })),
});

function input(change: Partial<Deployment["config"]>, more: Partial<FitInput> = {}): FitInput {
  return {
    deployment: { ...deployment, config: { ...deployment.config, ...change } },
    nodes: [node(8)],
    engineRunsOn: "gpu",
    engineMemory: null,
    measured: null,
    ...more,
  };
}

describe("what cannot run is refused", () => {
  it("with the sum and the nearest configuration that works", () => {
    const refusal = refuseUnfit(input({}));
    expect(refusal?.code).toBe("does_not_fit");
    expect(refusal?.message).toMatch(
      /^acme\/large does not fit on 1 x H100-80GB: it needs 131 GiB of weights, [\d.]+ GiB to work in and the cache of 2048 tokens in 70\.\d GiB of memory that the GPU has for it\.$/,
    );
    expect(refusal?.next).toBe(
      "It fits on 4 x H100-80GB: deploy again there, or choose a smaller quantization.",
    );
  });

  it("naming GPUs that are not here where none here would do", () => {
    const refusal = refuseUnfit(input({}, { nodes: [node(1)] }));
    expect(refusal?.next).toContain("It fits on 4 x H100-80GB, which this installation does not have");
    const small = refuseUnfit(input({ gpu: "L4-24GB" }, { nodes: [node(2, "L4-24GB", 23_034), node(4)] }));
    expect(small?.next).toContain("It fits on 4 x H100-80GB: deploy again there");
  });

  it("with the context that would do where only that is too long", () => {
    const args = { standardArgs: { maxContextSize: 1_000_000 }, extraArgs: [] };
    const long = { ...deployment, revisions: firstRevisions(args) };
    const config = { ...deployment.config, numGpus: 4 };
    const refusal = refuseUnfit(input({}, { deployment: { ...long, config } }));
    expect(refusal?.next).toMatch(/^Deploy again with max_context_size \d+ or less, or on 8 x H100-80GB\.$/);
  });

  it("where heads cannot be shared out", () => {
    expect(refuseUnfit(input({ numGpus: 3 }))?.message).toBe(
      "acme/large does not fit on 3 x H100-80GB: its 64 attention heads cannot be shared out evenly to 3 GPUs.",
    );
  });

  it("on a machine's CPU by the machine's memory", () => {
    const gguf: ModelFacts = { ...large, format: "gguf" };
    const resolved = { commit: "c", files: [], engine: "embedded", entryFile: "m", task: "", facts: gguf };
    const onCpu = input({ gpu: "other" }, { engineRunsOn: "cpu" });
    const refusal = refuseUnfit({ ...onCpu, deployment: { ...onCpu.deployment, resolved } });
    expect(refusal?.message).toContain("acme/large does not fit on the CPU");
    expect(refusal?.next).toBe(
      "No configuration of this installation holds it: choose a smaller model or quantization.",
    );
  });
});

describe("what may run is left to the engine", () => {
  it("as a close call", () => {
    const close = fitDeployment(
      input({ numGpus: 2, gpu: "A100-80GB" }, { nodes: [node(2, "A100-80GB", 76_000)] }),
    );
    expect(close).toMatchObject({ verdict: "does-not-fit", isCertain: false });
    expect(refuseUnfit(input({ numGpus: 2 }))).toBeNull();
  });

  it("and where nothing is known, or there are no such GPUs", () => {
    expect(fitDeployment(input({}, { nodes: [] }))).toBeNull();
    expect(refuseUnfit(input({ gpu: "B200-180GB" }))).toBeNull();
    const { facts: _, ...unknown } = deployment.resolved ?? {
      facts: null,
      commit: "",
      files: [],
      engine: "",
      entryFile: "",
      task: "",
    };
    expect(fitDeployment(input({}, { deployment: { ...deployment, resolved: unknown } }))).toBeNull();
  });

  it("with what was measured in place of what was computed", () => {
    const measured = { weightBytes: 60 * gb, workBytes: null, cacheBytes: null, cacheTokens: null };
    expect(refuseUnfit(input({}, { measured }))).toBeNull();
  });
});

describe("a context that fits", () => {
  it("is given where none was promised and the whole has no room", () => {
    const nodes = [node(2, "RTXPRO6000-96GB", 97_887)];
    const short =
      fittingContext(input({ numGpus: 2, gpu: "RTXPRO6000-96GB", maxBatchSize: 1 }, { nodes })) ?? 0;
    expect(short % 256).toBe(0);
    expect(short).toBeGreaterThan(2048);
    expect(short).toBeLessThan(131_072);
    expect(fittingContext(input({ numGpus: 4 }))).toBeNull();
    const promised = firstRevisions({ standardArgs: { maxContextSize: 4096 }, extraArgs: [] });
    const config = { ...deployment.config, numGpus: 2, gpu: "RTXPRO6000-96GB", maxBatchSize: 1 } as const;
    const asked = { ...deployment, config, revisions: promised };
    expect(fittingContext(input({}, { deployment: asked, nodes }))).toBeNull();
  });
});

describe("the plan", () => {
  const world = (change: Partial<Deployment>): World => ({
    now: 0,
    deployment: { ...deployment, ...change },
    instances: [],
    load: noLoad,
    gateways: 1,
    underWay: { resolve: false, fetch: false, removing: new Set(), warming: new Set() },
    warmFailures: new Map(),
    nodes: [node(8)],
    occupiedGpus: new Set(),
    engineRunsOn: "gpu",
    watchingSinceMs: 0,
    limits: { loadTries: 3, drainMs: 1, inactiveShutdownMs: 1 },
  });
  const doing = (change: Partial<Deployment>) =>
    planDeployment(world(change)).actions.map((action) => action.do);

  it("gives up before the download, never after it", () => {
    expect(doing({})).toEqual(["fail"]);
    expect(doing({ config: { ...deployment.config, numGpus: 4 } })).toEqual(["fetch"]);
    expect(doing({ weightsReadyAtMs: 1 })).toEqual(["start"]);
  });

  it("takes arguments back that cannot fit, unless what serves should not fit either", () => {
    const context = (maxContextSize: number) => ({ standardArgs: { maxContextSize }, extraArgs: [] });
    const updating = {
      ...firstRevisions(context(1_000_000)),
      wanted: { id: 2, args: context(1_000_000) },
      fallback: { id: 1, args: context(4096) },
    };
    const four = { ...deployment.config, numGpus: 4 };
    expect(doing({ config: four, weightsReadyAtMs: 1, revisions: updating })).toEqual(["revert-update"]);
    expect(doing({ weightsReadyAtMs: 1, revisions: updating })).not.toContain("revert-update");
  });
});

describe("arguments", () => {
  it("an engine's own win over the knobs, and those over the configuration", () => {
    const of = (extraArgs: readonly string[]) =>
      readFitArgs(
        { maxBatchSize: 96 },
        { standardArgs: { maxContextSize: 100, maxConcurrentRequests: 5 }, extraArgs },
      );
    expect(of([])).toMatchObject({
      batch: 5,
      contextTokens: 100,
      gpuMemoryFraction: null,
      kvCacheDtype: null,
    });
    expect(
      of([
        "--max-model-len=200",
        "--max-num-seqs",
        "7",
        "--gpu-memory-utilization",
        "0.8",
        "--kv-cache-dtype",
        "fp8",
      ]),
    ).toMatchObject({ batch: 7, contextTokens: 200, gpuMemoryFraction: 0.8, kvCacheDtype: "fp8" });
    expect(of(["--max-model-len", "auto"])).toMatchObject({ contextTokens: 100 });
  });
});

describe("words", () => {
  it("say what fits, and with how much", () => {
    const told = (change: Partial<Deployment["config"]>) => {
      const found = fitDeployment(input(change));
      return found === null ? "" : describeFit(found, "there");
    };
    expect(told({ numGpus: 8, maxBatchSize: 1 })).toMatch(
      /^It fits on there with 1 request of 131072 tokens: /,
    );
    expect(told({ numGpus: 4 })).toMatch(
      /^It fits on there with a context of at most 131072 tokens; 8 requests at the same time can have \d+ tokens each: /,
    );
    expect(told({})).toMatch(/^It does not fit on there: 131 GiB weights, .*; it has 78\.5 GiB\.$/);
  });
});
