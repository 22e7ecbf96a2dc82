/** What is read of a model before its download never stands in the way of the deployment. */
import { expect, test } from "vitest";
import { type Deployment, nothingSeen } from "../core/deployment.ts";
import { failure } from "../core/failure.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { Driver } from "../ports/driver.ts";
import type { Hub } from "../ports/hub.ts";
import type { Store } from "../ports/store.ts";
import { estimateFit, readFacts } from "./model-facts.ts";

const facts: ModelFacts = {
  ...{ format: "gguf", architecture: "llama", task: "text-generation", parameters: 1e9, weightBytes: 1e9 },
  ...{ bytesByDtype: { Q8_0: 1e9 }, bytesByPart: {}, isCounted: true },
  quantization: { method: "Q8_0", bits: 8 },
  layers: 16,
  layerKinds: {
    ...{ fullAttention: 16, slidingAttention: 0, recurrent: 0, stateless: 0 },
    ...{ windowTokens: null, recurrentStateSize: null },
  },
  ...{ hiddenSize: 2048, intermediateSize: 8192, vocabularySize: 128_256, contextTokens: 4096 },
  ...{ heads: 32, kvHeads: 8, headSize: 64, valueHeadSize: 64, latentAttention: null, experts: null },
  ...{ hasTiedEmbeddings: true, hasChatTemplate: true, adapter: null },
};
const resolved = { commit: "c".repeat(40), files: [], engine: "e", entryFile: "f", task: "text-generation" };
const deployment: Deployment = {
  ...{ id: "d1", account: "ann", name: "ann/m", isPublic: false, desired: "run" },
  config: {
    ...{ gpu: "other", numGpus: 1, maxBatchSize: 4, baseModel: null, containerImage: null },
    weights: { repo: "o/n", revision: null },
  },
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  ...{ createdAtMs: 0, updatedAtMs: 0 },
  ...nothingSeen,
  resolved,
};

const listed = { listing: { repo: "o/n", commit: resolved.commit, files: [] }, files: [] };

const hubThat = (inspect: Hub["inspect"]) => ({ hub: { inspect } as unknown as Hub, log: () => undefined });
const read = (inspect: Hub["inspect"], signal = new AbortController().signal) =>
  readFacts(hubThat(inspect), deployment, listed, "token", signal);

test("the very files that were chosen are looked at", async () => {
  const asked: unknown[] = [];
  const found = await read(async (weights, token, _signal, given) => {
    asked.push(weights, token, given);
    return { ok: true, value: facts };
  });
  expect(found).toEqual({ facts });
  expect(asked).toEqual([{ repo: "o/n", revision: null }, "token", listed]);
});

test("headers that cannot be read are told, and so is a defect; being cancelled is neither", async () => {
  const broken = failure("hub_unreachable", "The endpoint is away.", "Try later.");
  expect(await read(async () => ({ ok: false, failure: broken }))).toEqual({ why: "The endpoint is away" });
  const defect = await read(async () => {
    throw new Error("oh");
  });
  expect(defect).toMatchObject({ why: expect.stringContaining("a defect in Berth") as string });
  const cancelled = AbortSignal.abort(new Error("stopped"));
  await expect(
    read(async () => {
      throw new Error("aborted");
    }, cancelled),
  ).rejects.toThrow("stopped");
});

test("the estimate is told with what was measured before", async () => {
  const notes = new Map<string, string>();
  const world = {
    driver: {
      capacity: async () => [{ node: "n", cpuCores: 2, memoryBytes: 8 * 2 ** 30, gpus: [] }],
    } as unknown as Driver,
    store: { note: async (key: string) => notes.get(key) ?? null } as unknown as Store,
    engines: new Map(),
  };
  const withFacts = { ...deployment, resolved: { ...resolved, facts } };
  const first = await estimateFit(world, withFacts, { facts });
  expect(first).toMatchObject({ code: "fit", inputs: { verdict: "fits" } });
  expect(first?.text).toMatch(/^It fits on the CPU with 4 requests of 4096 tokens: 954 MiB weights, /);
  const measured = { weightBytes: 2e9, workBytes: null, cacheBytes: null, cacheTokens: null };
  notes.set(`memory e 1xother ${resolved.commit} f`, JSON.stringify(measured));
  expect((await estimateFit(world, withFacts, { facts }))?.text).toContain("1.9 GiB weights");
  expect(await estimateFit(world, deployment, { why: "it rains" })).toEqual({
    code: "fit_unknown",
    text: "Whether it fits is not known before it is loaded: the headers of o/n could not be read, because it rains.",
    inputs: {},
  });
});
