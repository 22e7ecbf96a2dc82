/**
 * Whether a deployment can run at all, before its weights are fetched: what its configuration and its engine's arguments
 * mean for memory, and the failure that names the sum and what would work. Pure. Only what is certain fails; a close call
 * is left to the engine.
 */
import type { Deployment, DeploymentConfig, EngineArgs } from "./deployment.ts";
import { type Failure, failure } from "./failure.ts";
import { type EngineMemory, type Fit, type FitArgs, leastContextTokens } from "./fit.ts";
import { type MeasuredMemory, measurementKey } from "./fit-measured.ts";
import {
  cpuHardware,
  fitOn,
  type Hardware,
  listHardware,
  type ModelAsk,
  nameHardware,
  nearestConfiguration,
} from "./fit-search.ts";
import { memoryOfGpus, usableGpuBytes } from "./gpu-memory.ts";
import type { NodeCapacity } from "./instance.ts";
import type { ModelFacts } from "./model-facts.ts";

export type FitInput = {
  readonly deployment: Pick<Deployment, "config" | "resolved" | "revisions">;
  readonly nodes: readonly NodeCapacity[];
  readonly engineRunsOn: "cpu" | "gpu" | null;
  readonly engineMemory: EngineMemory | null;
  readonly measured: MeasuredMemory | null;
};

/** Contexts are given in multiples of this. */
const contextStep = 256;

/** How an engine that does not say itself treats files of this format. */
export function usualMemory(facts: ModelFacts): EngineMemory {
  return {
    kind: facts.format === "gguf" ? "llamacpp" : "vllm",
    mostCacheBytes: null,
    leastContextTokens: null,
  };
}

/** Null where nothing can be said: facts are missing, or no node has what was asked for. */
export function fitDeployment(input: FitInput): Fit | null {
  const model = modelOf(input);
  const hardware = hardwareOf(input.deployment.config, input.nodes, input.engineRunsOn);
  return model === null || hardware === null ? null : fitOn(model, hardware);
}

/** Tokens to start with where none were promised and the whole context has no room; null: nothing to say. Rounded down. */
export function fittingContext(input: FitInput): number | null {
  const found = fitDeployment(input);
  const { config, revisions } = input.deployment;
  const isPromised = readFitArgs(config, revisions.wanted.args).contextTokens !== null;
  if (found === null || isPromised || found.verdict !== "shorter") return null;
  if (found.contextForOne >= found.contextTokens) return null;
  return Math.floor(found.contextForOne / contextStep) * contextStep;
}

/** Under which name what was measured of its load is remembered; null while its weights are not resolved. */
export function measurementOf({ config, resolved }: Pick<Deployment, "config" | "resolved">): string | null {
  if (resolved === null) return null;
  const { gpu, numGpus } = config;
  return measurementKey({ ...resolved, gpu, numGpus });
}

/** The answer in a sentence, with its sum. */
export function describeFit(found: Fit, where: string): string {
  const sum = found.lines
    .filter(({ what }) => what !== "reserve")
    .map(({ what, bytes }) => `${gibibytes(bytes)} ${what}`)
    .join(", ");
  const each = found.gpus > 1 ? "each has " : "it has ";
  const room = `${each}${gibibytes(found.memoryBytes)}`;
  const requests = found.batch === 1 ? "1 request" : `${found.batch} requests`;
  if (found.obstacle !== null) return `It does not fit on ${where}: ${found.obstacle}.`;
  if (found.verdict === "fits")
    return `It fits on ${where} with ${requests} of ${found.contextTokens} tokens: ${sum}; ${room}.`;
  if (found.verdict === "does-not-fit") return `It does not fit on ${where}: ${sum}; ${room}.`;
  const all =
    found.contextForAll > 0
      ? `${requests} at the same time can have ${found.contextForAll} tokens each`
      : `not ${requests} at the same time`;
  return `It fits on ${where} with a context of at most ${found.contextForOne} tokens; ${all}: ${sum}; ${room}.`;
}

/** Why the deployment can never run as it was asked for, or null. */
export function refuseUnfit(input: FitInput): Failure | null {
  const found = fitDeployment(input);
  const model = modelOf(input);
  if (found === null || model === null || found.verdict !== "does-not-fit" || !found.isCertain) return null;
  const { config } = input.deployment;
  const where = nameHardware({ gpu: config.gpu, numGpus: found.gpus });
  const message = `${config.weights.repo} does not fit on ${where}: ${whyUnfit(found, model)}.`;
  return failure("does_not_fit", message, nextAfter(input, model, found));
}

function modelOf({ deployment, engineMemory, measured }: FitInput): ModelAsk | null {
  const facts = deployment.resolved?.facts;
  if (facts === undefined) return null;
  const args = readFitArgs(deployment.config, deployment.revisions.wanted.args);
  return { facts, engine: engineMemory ?? usualMemory(facts), args, measured };
}

/** The rule of placement: `other` is the GPUs of no listed type where an engine can use one, else the CPU. */
function hardwareOf(
  { gpu, numGpus }: Pick<DeploymentConfig, "gpu" | "numGpus">,
  nodes: readonly NodeCapacity[],
  runsOn: "cpu" | "gpu" | null,
): Hardware | null {
  const memory = memoryOfGpus(nodes, gpu, gpu === "other" ? 1 : numGpus);
  if (gpu === "other" && (runsOn !== "gpu" || memory === null)) return cpuHardware(nodes);
  const each = memoryOfGpus(nodes, gpu, numGpus);
  return each === null ? null : { gpu, numGpus, memoryBytes: usableGpuBytes(each), isHere: true };
}

function whyUnfit(found: Fit, model: ModelAsk): string {
  if (found.obstacle !== null) return found.obstacle;
  const of = (...names: readonly string[]) =>
    found.lines.filter(({ what }) => names.includes(what)).reduce((sum, { bytes }) => sum + bytes, 0);
  const each = found.gpus > 1 ? "each GPU" : found.gpus === 1 ? "the GPU" : "the machine";
  const weights = `${gibibytes(of("weights"))} of weights`;
  const work = `${gibibytes(of("activations", "graphs", "runtime"))} to work in`;
  const room = gibibytes(found.memoryBytes - of("reserve"));
  const tokens =
    model.engine.leastContextTokens ??
    model.args.contextTokens ??
    Math.min(found.contextTokens, leastContextTokens);
  const cache =
    model.engine.mostCacheBytes === null ? "" : ` (at most ${gibibytes(model.engine.mostCacheBytes)} of it)`;
  return `it needs ${weights}, ${work} and the cache${cache} of ${tokens} tokens in ${room} of memory that ${each} has for it`;
}

function nextAfter({ deployment, nodes, engineRunsOn }: FitInput, model: ModelAsk, found: Fit): string {
  const asked = deployment.config.gpu;
  const nearest = nearestConfiguration(model, listHardware(nodes, engineRunsOn), asked);
  const where =
    nearest === null
      ? null
      : `${nameHardware(nearest.hardware)}${nearest.hardware.isHere ? "" : ", which this installation does not have"}`;
  const isShorter =
    found.obstacle === null &&
    model.args.contextTokens !== null &&
    found.contextForOne >= Math.min(leastContextTokens, model.args.contextTokens);
  if (isShorter) {
    const or = where === null ? "" : `, or on ${where}`;
    return `Deploy again with max_context_size ${found.contextForOne} or less${or}.`;
  }
  if (where !== null) return `It fits on ${where}: deploy again there, or choose a smaller quantization.`;
  const here = engineRunsOn === "cpu" ? "of this installation" : "of up to 8 GPUs";
  return `No configuration ${here} holds it: choose a smaller model or quantization.`;
}

/** In binary units, as engines and `nvidia-smi` count memory. */
export function gibibytes(bytes: number): string {
  if (bytes < 2 ** 30) return `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const amount = bytes / 2 ** 30;
  return `${amount >= 100 ? Math.round(amount) : amount.toFixed(1)} GiB`;
}

/** Names under which engines take what matters for memory; an engine's own argument wins over the knob. */
const names = {
  contextTokens: ["--max-model-len", "--ctx-size", "-c"],
  batch: ["--max-num-seqs", "--parallel", "-np"],
  gpuMemoryFraction: ["--gpu-memory-utilization"],
  prefillTokens: ["--max-num-batched-tokens", "--prefill-tokens"],
} as const;

export function readFitArgs(
  { maxBatchSize }: Pick<DeploymentConfig, "maxBatchSize">,
  { standardArgs, extraArgs }: EngineArgs,
): FitArgs {
  const own = (field: keyof typeof names) => lastNumber(extraArgs, names[field]);
  return {
    batch: own("batch") ?? standardArgs.maxConcurrentRequests ?? maxBatchSize,
    contextTokens: own("contextTokens") ?? standardArgs.maxContextSize ?? null,
    gpuMemoryFraction: own("gpuMemoryFraction") ?? standardArgs.gpuMemoryFraction ?? null,
    prefillTokens: own("prefillTokens") ?? standardArgs.maxPrefillTokens ?? null,
    kvCacheDtype: isNarrowCache(extraArgs) ? "fp8" : (standardArgs.kvCacheDtype ?? null),
    quantization: standardArgs.quantization ?? null,
  };
}

/** `--name 5` or `--name=5`; the last counts, and what is no positive number ("auto") says nothing. */
function lastNumber(args: readonly string[], known: readonly string[]): number | null {
  const values = args.flatMap((arg, index) => {
    const [name = "", inline] = arg.split("=", 2);
    return known.includes(name) ? [inline ?? args[index + 1] ?? ""] : [];
  });
  const number = Number(values.at(-1) ?? "");
  return Number.isFinite(number) && number > 0 ? number : null;
}

function isNarrowCache(args: readonly string[]): boolean {
  return /--kv-cache-dtype[= ]fp8/.test(args.join(" "));
}
