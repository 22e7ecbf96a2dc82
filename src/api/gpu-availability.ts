/**
 * `GET /deploy/llm/gpu_availability`: every configuration that this installation could place, and which of them it could
 * place now. Follows the rule of placement: "other" is the GPUs of no listed type where there are some, else the CPU.
 * `recommended` are the catalogue's for a model it knows; for another repository, the smallest that hold it.
 */

import { type GpuType, gpuTypes } from "../core/deployment.ts";
import type { FitArgs } from "../core/fit.ts";
import type { Hardware } from "../core/fit-search.ts";
import type { InstanceRecord, NodeCapacity } from "../core/instance.ts";
import { type CatalogueEntry, findByRepo, findEntry } from "../core/known-models.ts";
import { gpuUsdPerHour, type Prices } from "../core/prices.ts";
import { plainName } from "../core/repo.ts";
import { type GpuAvailabilityOut, gpuAvailabilityOut, gpuAvailabilityQuery } from "../schema/deploy.ts";
import type { ApiDeps } from "./deps.ts";
import { holdingConfigurations } from "./fit.ts";
import type { ModelLook } from "./model-look.ts";
import { type Operation, operation } from "./operation.ts";

/** `num_gpus` goes up to 8. */
const maxGpusPerInstance = 8;

export function gpuOperations({ store, capacity, catalogue, prices, look }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/deploy/llm/gpu_availability",
      id: "deploy_gpu_availability_deploy_llm_gpu_availability_get",
      summary: "Every configuration that this installation could place, and whether it could now",
      query: gpuAvailabilityQuery,
      answer: gpuAvailabilityOut,
      handle: async ({ query, caller }) => {
        const entry = findEntry(catalogue, query.base_model) ?? findByRepo(catalogue, query.source);
        const nodes = await capacity();
        const configurations = listConfigurations(nodes, await store.instances());
        const holding = entry === null ? await findHolding(look, caller.account, query.source, nodes) : null;
        const recommended =
          holding === null ? recommend(configurations, entry) : recommendHolding(configurations, holding);
        return { gpus: configurations.map(toOut(recommended, prices)) };
      },
    }),
  ];
}

/** Whoever waits for a list of GPUs waits no longer than this for what a repository says. */
const lookPatienceMs = 5_000;
/** What a small service needs: a few requests at once, each with some thousand tokens, one with all. */
const usualArgs: FitArgs = {
  batch: 8,
  contextTokens: null,
  gpuMemoryFraction: null,
  prefillTokens: null,
  kvCacheDtype: null,
  quantization: null,
};

/** What holds the repository's model; null where it cannot be told, or nothing was asked. */
async function findHolding(
  look: ModelLook,
  account: string,
  source: string,
  nodes: readonly NodeCapacity[],
): Promise<readonly Hardware[] | null> {
  if (plainName(source) === null) return null;
  const found = await look(account, { repo: source, revision: null }, lookPatienceMs);
  if (found.outcome !== "looked") return null;
  return holdingConfigurations(found.looked, usualArgs, nodes).map(({ hardware }) => hardware);
}

export type Configuration = {
  readonly type: GpuType;
  readonly count: number;
  /** `<count>x<gpu>`, always ending in `-<memory>GB`. */
  readonly name: string;
  /** It could be placed now. */
  readonly available: boolean;
};

/** Pure. */
export function listConfigurations(
  nodes: readonly NodeCapacity[],
  instances: readonly InstanceRecord[],
): Configuration[] {
  const occupied = new Set(instances.flatMap((record) => record.observed?.placement.gpus ?? []));
  const found = new Map<string, Configuration>();
  for (const node of nodes) {
    const usable = Map.groupBy(
      node.gpus.filter((gpu) => gpu.usable),
      (gpu) => gpuName(gpu.type, gpu.memoryBytes),
    );
    for (const [gpu, gpus] of usable) {
      const free = gpus.filter(({ id }) => !occupied.has(id)).length;
      const whole = gpus.filter(({ isSlice }) => isSlice !== true);
      const freeWhole = whole.filter(({ id }) => !occupied.has(id)).length;
      for (let count = 1; count <= Math.max(1, Math.min(whole.length, maxGpusPerInstance)); count += 1) {
        const name = `${count}x${gpu}`;
        const available = (found.get(name)?.available ?? false) || (count === 1 ? free : freeWhole) >= count;
        found.set(name, { type: typeOf(gpu), count, name, available });
      }
    }
  }
  const hasOtherGpu = nodes.some((node) => node.gpus.some((gpu) => gpu.usable && gpu.type === "other"));
  const first = nodes[0];
  if (!hasOtherGpu && first !== undefined) {
    const name = `1x${gpuName("other", first.memoryBytes)}`;
    found.set(name, { type: "other", count: 1, name, available: true });
  }
  return [...found.values()];
}

/** Those that the catalogue recommends for the model; where it does not know it, the first that is free. Pure. */
export function recommend(
  configurations: readonly Configuration[],
  entry: CatalogueEntry | null,
): ReadonlySet<string> {
  if (entry === null) {
    const free = configurations.find(({ available }) => available);
    return new Set(free === undefined ? [] : [free.name]);
  }
  const fits = ({ type, count }: Configuration) =>
    entry.presets.some((preset) => preset.gpu === type && preset.numGpus === count);
  return new Set(configurations.filter(fits).map(({ name }) => name));
}

/** Those that hold the model; the CPU goes by one of the type `other`. Pure. */
export function recommendHolding(
  configurations: readonly Configuration[],
  holding: readonly Pick<Hardware, "gpu" | "numGpus" | "isHere">[],
): ReadonlySet<string> {
  const fits = ({ type, count }: Configuration) =>
    holding.some(({ gpu, numGpus, isHere }) => isHere && gpu === type && Math.max(1, numGpus) === count);
  return new Set(configurations.filter(fits).map(({ name }) => name));
}

function toOut(recommended: ReadonlySet<string>, prices: Prices) {
  return ({ type, count, name, available }: Configuration): GpuAvailabilityOut["gpus"][number] => ({
    gpu_config: name,
    usd_per_hour: count * gpuUsdPerHour(prices, type),
    available,
    recommended: recommended.has(name),
  });
}

function typeOf(gpu: string): GpuType {
  return gpuTypes.find((type) => type === gpu) ?? "other";
}

/** The listed types carry their memory in their name; "other" does not say how much. */
function gpuName(type: string, memoryBytes: number): string {
  return /-\d+GB$/.test(type) ? type : `${type}-${Math.max(1, Math.round(memoryBytes / 2 ** 30))}GB`;
}
