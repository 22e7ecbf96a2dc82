/**
 * `GET /v1/berth/fit`: whether a model fits, line by line, and the smallest configurations that hold it, from what its
 * repository's headers say. Whoever may deploy a repository may ask.
 */

import type { GpuType } from "../core/deployment.ts";
import type { Failure } from "../core/failure.ts";
import type { Fit, FitArgs } from "../core/fit.ts";
import { describeFit, usualMemory } from "../core/fit-deployment.ts";
import {
  cpuHardware,
  type Fitted,
  fitOn,
  type Hardware,
  listHardware,
  type ModelAsk,
  nameHardware,
  smallestConfigurations,
} from "../core/fit-search.ts";
import { listedMemoryBytes, memoryOfGpus, usableGpuBytes } from "../core/gpu-memory.ts";
import type { NodeCapacity } from "../core/instance.ts";
import { gpuUsdPerHour, type Prices } from "../core/prices.ts";
import { isLocal, isRevision, localNameRule, plainName, repoNameRule, revisionRule } from "../core/repo.ts";
import { HttpError } from "../schema/errors.ts";
import { type ConfigurationOut, fitOut, fitQuery } from "../schema/fit.ts";
import type { ApiDeps } from "./deps.ts";
import type { Looked, LookOutcome } from "./model-look.ts";
import { type Operation, operation } from "./operation.ts";

export function fitOperations({ capacity, prices, look }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/berth/fit",
      id: "berth_fit",
      summary:
        "Whether a model fits, and the smallest configurations that hold it, before anything is fetched",
      query: fitQuery,
      answer: fitOut,
      handle: async ({ query, caller }) => {
        const { source, revision = null } = query;
        if (plainName(source) === null) {
          const rule = isLocal(source) ? localNameRule : repoNameRule;
          refuse("source", `A source is named ${rule}.`);
        }
        if (revision !== null && !isRevision(revision)) refuse("revision", `A revision is ${revisionRule}.`);
        const looked = accept(await look(caller.account, { repo: source, revision }));
        const nodes = await capacity();
        const args: FitArgs = {
          batch: query.max_batch_size,
          contextTokens: query.context ?? null,
          gpuMemoryFraction: null,
          prefillTokens: null,
          kvCacheDtype: query.kv_cache_dtype ?? null,
          quantization: null,
        };
        const { facts } = looked;
        const asked =
          query.gpu === undefined
            ? null
            : fitOne(looked, args, nodes, { gpu: query.gpu, numGpus: query.num_gpus });
        return {
          source,
          commit: looked.commit,
          engine: looked.engine?.engine ?? null,
          model: {
            architecture: facts.architecture,
            parameters: facts.parameters,
            weight_bytes: facts.weightBytes,
            quantization: facts.quantization?.method ?? null,
            context: facts.contextTokens,
          },
          asked: asked === null ? null : toOut(asked, prices),
          configurations: holdingConfigurations(looked, args, nodes).map((one) => toOut(one, prices)),
        };
      },
    }),
  ];
}

function refuse(param: string, sentence: string): never {
  throw new HttpError("bad_request", sentence, { param });
}

function accept(found: LookOutcome): Looked {
  if (found.outcome === "looked") return found.looked;
  if (found.outcome === "busy") {
    const sentence = "As many repositories as may be are looked at already. Try again in a moment.";
    throw new HttpError("queue_full", sentence, { retryAfterS: 5 });
  }
  throw notLooked(found.failure);
}

function notLooked({ code, message, next }: Failure): HttpError {
  const isMissing = code === "repo_not_found" || code === "revision_not_found";
  return new HttpError(isMissing ? "not_found" : "bad_request", `${message} ${next}`);
}

/** What holds the model and a whole request: the fewest GPUs of each type. Pure. */
export function holdingConfigurations(
  looked: Looked,
  args: FitArgs,
  nodes: readonly NodeCapacity[],
): readonly Fitted[] {
  const hardware = listHardware(nodes, null).map((one) => placeable(one, looked));
  const [onCpu, onGpus] = [hardware.filter(isCpu), hardware.filter((one) => !isCpu(one))];
  const found = [
    ...smallestConfigurations(modelOn(looked, args, onGpus[0]), onGpus),
    ...smallestConfigurations(modelOn(looked, args, onCpu[0]), onCpu),
  ];
  return found.toSorted((a, b) => Number(b.hardware.isHere) - Number(a.hardware.isHere));
}

/** Null where no memory is known, or too little of the model. */
function fitOne(
  looked: Looked,
  args: FitArgs,
  nodes: readonly NodeCapacity[],
  { gpu, numGpus }: { readonly gpu: GpuType; readonly numGpus: number },
): Fitted | null {
  const hardware = hardwareFor(looked, nodes, gpu, numGpus);
  if (hardware === null) return null;
  const found = fitOn(modelOn(looked, args, hardware), hardware);
  return found === null ? null : { hardware: placeable(hardware, looked), fit: found };
}

function hardwareFor(
  { engine }: Looked,
  nodes: readonly NodeCapacity[],
  gpu: GpuType,
  numGpus: number,
): Hardware | null {
  const here = memoryOfGpus(nodes, gpu, numGpus);
  if (gpu === "other" && (engine?.runsOn === "cpu" || here === null)) return cpuHardware(nodes);
  const memory = here ?? listedMemoryBytes(gpu);
  return memory === null
    ? null
    : { gpu, numGpus, memoryBytes: usableGpuBytes(memory), isHere: here !== null };
}

function isCpu({ numGpus }: Hardware): boolean {
  return numGpus === 0;
}

/** Hardware that the engine cannot use is not here for this model. */
function placeable(hardware: Hardware, { engine }: Looked): Hardware {
  const isUsed = engine !== null && (engine.runsOn === "cpu") === isCpu(hardware);
  return { ...hardware, isHere: hardware.isHere && isUsed };
}

/** On hardware that the installed engine cannot use, what is usual for such files holds. */
function modelOn({ facts, engine }: Looked, args: FitArgs, hardware: Hardware | undefined): ModelAsk {
  const isOwn = engine !== null && hardware !== undefined && (engine.runsOn === "cpu") === isCpu(hardware);
  const memory = isOwn ? engine.memory : null;
  return { facts, engine: memory ?? usualMemory(facts), args, measured: null };
}

const verdicts: Readonly<Record<Fit["verdict"], ConfigurationOut["verdict"]>> = {
  fits: "fits",
  shorter: "shorter",
  "does-not-fit": "does_not_fit",
};

function toOut({ hardware, fit }: Fitted, prices: Prices): ConfigurationOut {
  return {
    gpu: hardware.gpu,
    num_gpus: hardware.numGpus,
    here: hardware.isHere,
    verdict: verdicts[fit.verdict],
    max_batch_size: fit.batch,
    context: fit.contextTokens,
    context_for_all: fit.contextForAll,
    context_for_one: fit.contextForOne,
    needed_bytes: fit.neededBytes,
    memory_bytes: fit.memoryBytes,
    lines: fit.lines.map(({ what, bytes, text }) => ({ what, bytes: Math.round(bytes), text })),
    usd_per_hour: Math.max(1, hardware.numGpus) * gpuUsdPerHour(prices, hardware.gpu),
    text: describeFit(fit, nameHardware(hardware)),
  };
}
