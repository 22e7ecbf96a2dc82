/** What an engine reports of its memory corrects the estimate for the next deployment of the same weights. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "../../test/harness/until.ts";
import { unknownAbilities } from "../core/abilities.ts";
import { type Deployment, nothingSeen } from "../core/deployment.ts";
import type { ObservedInstance } from "../core/instance.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { Driver } from "../ports/driver.ts";
import type { Engine } from "../ports/engine.ts";
import type { Hub } from "../ports/hub.ts";
import { openStore } from "../store/store.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createReconciler } from "./reconciler.ts";

const gb = 2 ** 30;
const commit = "c".repeat(40);
const facts: ModelFacts = {
  ...{ format: "gguf", architecture: "llama", task: "text-generation", parameters: 8e9, weightBytes: 8 * gb },
  ...{ bytesByDtype: { Q8_0: 8 * gb }, bytesByPart: {}, isCounted: true },
  quantization: { method: "Q8_0", bits: 8 },
  layers: 32,
  layerKinds: {
    ...{ fullAttention: 32, slidingAttention: 0, recurrent: 0, stateless: 0 },
    ...{ windowTokens: null, recurrentStateSize: null },
  },
  ...{ hiddenSize: 4096, intermediateSize: 14_336, vocabularySize: 128_256, contextTokens: 4096 },
  ...{ heads: 32, kvHeads: 8, headSize: 128, valueHeadSize: 128, latentAttention: null, experts: null },
  ...{ hasTiedEmbeddings: false, hasChatTemplate: true, adapter: null },
};

const deployment = (id: string): Deployment => ({
  ...{ id, account: "ann", name: `ann/${id}`, isPublic: false, desired: "run" },
  config: {
    ...{ gpu: "other", numGpus: 1, maxBatchSize: 1, baseModel: null, containerImage: null },
    weights: { repo: "o/n", revision: null },
  },
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  ...{ createdAtMs: 1, updatedAtMs: 1 },
  ...nothingSeen,
});

const hub = {
  list: async () => ({ ok: true, value: { repo: "o/n", commit, files: [] } }),
  inspect: async () => ({ ok: true, value: facts }),
  fetch: async () => ({ ok: true, value: null }),
  changed: async () => null,
  snapshotPath: () => "/",
} as unknown as Hub;

const engine = {
  ...{ name: "e", runsOn: "cpu", abilities: unknownAbilities },
  chooseFiles: () => ({ ok: true, value: { files: [], entryFile: "m.gguf", task: "text-generation" } }),
  refuseArgs: () => null,
  warmUp: async () => null,
} as unknown as Engine;

/** Instances are ready at once and say that they took 12 GB for their weights. */
function openDriver() {
  const there = new Map<string, ObservedInstance>();
  const driver = {
    capacity: async () => [{ node: "n", cpuCores: 2, memoryBytes: 16 * gb, gpus: [] }],
    isolation: async () => ({ isApart: true, missing: [] }),
    observe: async () => [...there.values()],
    start: async ({ id, deploymentId, placement }: Parameters<Driver["start"]>[0]) => {
      there.set(id, {
        ...{ id, deploymentId, placement, state: "running", secret: "s", slots: 1, contextTokens: 4096 },
        endpoint: { kind: "unix", path: "/s" },
        ...{ loadProgress: null, note: null, startedAtMs: 1000, readyAtMs: 3500, failure: null },
        loadReport: { weightBytes: 12 * gb, workBytes: null, cacheBytes: null, cacheTokens: null },
      });
    },
    remove: async (id: string) => void there.delete(id),
    watch: () => () => undefined,
    watchCapacity: () => () => undefined,
    readLogs: async () => [],
  } as unknown as Driver;
  return driver;
}

test("a report is remembered for the weights, engine and hardware, and told to the next deployment", async () => {
  const home = await mkdtemp(join(tmpdir(), "berth-memory-"));
  const store = await openStore({ home, databaseUrl: null });
  await store.addAccount({ name: "ann", isAdmin: true, createdAtMs: 1 });
  const ids = ["i1", "i2"].values();
  const reconciler = createReconciler({
    ...{ store, hub, driver: openDriver(), engines: new Map([["e", engine]]), clock: systemClock },
    engineMemory: "auto",
    limits: {
      ...{
        loadTries: 3,
        drainMs: 1000,
        inactiveShutdownMs: 60_000,
        stopGraceMs: 10,
        firstTokenMs: 1000,
        sweepMs: 60_000,
      },
    },
    newInstanceId: () => ids.next().value ?? "more than two",
    hfToken: async () => null,
    log: () => undefined,
  });
  const told = async (id: string) => {
    await store.addDeployment(deployment(id), null);
    reconciler.poke(id);
    return await until("the deployment to run", async () => {
      const events = await store.events(id, 100);
      const isUp = events.some(({ code }) => code === "instance_running");
      return isUp ? events.find(({ code }) => code === "fit")?.text : undefined;
    });
  };
  try {
    await reconciler.start();
    expect(await told("first")).toMatch(/^It fits on the CPU .*: 8\.0 GiB weights, /);
    const note = await store.note(`memory e 1xother ${commit} m.gguf`);
    expect(JSON.parse(note ?? "")).toMatchObject({ weightBytes: 12 * gb });
    // So is what the load took: a control that starts anew knows it at once.
    expect((await store.deployment("first"))?.loadTimeMs).toBe(2500);
    expect(await told("second")).toMatch(/: 12\.0 GiB weights, /);
  } finally {
    await reconciler.stop();
    await store.close();
    await rm(home, { recursive: true, force: true });
  }
});
