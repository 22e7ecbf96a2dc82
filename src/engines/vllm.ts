/**
 * vLLM as control sees it: which files it loads, how it is started, how it says that it is ready, how far it is, and what its
 * end means. Its program is somebody else's; nothing of it runs in this process.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Abilities } from "../core/abilities.ts";
import type { Endpoint } from "../core/instance.ts";
import type { Engine, EngineHealth, Launch, LaunchSpec } from "../ports/engine.ts";
import { callEngine, warmUpEngine } from "./client.ts";
import { askLoad, type LoadNames } from "./engine-load.ts";
import { readVllmLoadReport } from "./load-report.ts";
import { chooseSafetensorsFiles } from "./safetensors-files.ts";
import { explainVllmExit } from "./vllm/failures.ts";
import { planVllm, refuseVllmArgs } from "./vllm/flags.ts";
import { readLoadProgress } from "./vllm/output.ts";
import { type VllmProgram, vllmOfImage } from "./vllm/program.ts";

export type VllmOptions = {
  readonly program: VllmProgram;
  /** Container images can be run here, also those that a deployment names. */
  readonly runsImages: boolean;
  readonly allowPickle: boolean;
  /** `owner/name@commit`, whose own code an administrator lets run. */
  readonly trustedCode: readonly string[];
  /**
   * Where compiled code is kept for the next instance, absolute; null: with the instance. A folder that one engine wrote and another
   * user's engine is given would have to change its owner while the first still writes into it.
   */
  readonly cacheFolder: string | null;
  /** Memory for the context (KV cache) of one instance without GPUs, in bytes. */
  readonly contextMemoryBytes: number;
};

const abilities: Abilities = {
  engine: "vllm",
  chat: true,
  completions: true,
  embeddings: false,
  tokenize: true,
  tools: true,
  jsonObject: true,
  jsonSchema: true,
  regex: false,
  logprobs: true,
  maxChoices: 4,
  images: true,
  reasoning: true,
  lora: false,
  usageByDefault: false,
  exactContinuation: false,
  deterministic: false,
  cacheScope: "salt",
};

const loadNames: LoadNames = {
  running: ["vllm:num_requests_running"],
  waiting: ["vllm:num_requests_waiting"],
  // The older name is that of releases before 0.10.
  cacheShare: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
};

/** Begins a further served name, which holds how many requests it takes: its API does not tell. */
const slotsName = "berth:slots=";

export function createVllmEngine(options: VllmOptions): Engine {
  const { program, allowPickle } = options;
  return {
    name: "vllm",
    runsOn: program.isForCpu ? "cpu" : "gpu",
    takesImages: options.runsImages,
    ...(program.image === undefined ? {} : { image: program.image }),
    abilities,
    memory: {
      kind: "vllm",
      mostCacheBytes: program.isForCpu ? options.contextMemoryBytes : null,
      leastContextTokens: null,
    },
    chooseFiles(listing, quantization) {
      if (quantization !== null) {
        const message = `A quantization names a GGUF file, which the vllm engine does not load: ${listing.repo}:${quantization.slice(0, 40)}.`;
        const next = "Leave the quantization out, or choose a repository with GGUF files.";
        return { ok: false, failure: { code: "no_loadable_weights", message, next } };
      }
      const choice = chooseSafetensorsFiles(listing, { allowPickle });
      return choice.ok ? { ok: true, value: { ...choice.value, task: "text-generation" } } : choice;
    },
    refuseArgs: refuseVllmArgs,
    launch: (spec) => launchVllm(spec, options),
    probe: probeHealth,
    warmUp: warmUpEngine,
    load: (endpoint, secret, timeoutMs) => askLoad({ endpoint, secret }, loadNames, timeoutMs),
    loadReport: readVllmLoadReport,
    loadProgress: readLoadProgress,
    explainExit: explainVllmExit,
  };
}

/** The key is in a file of settings: neither other users nor the engine's own log see it there. */
function launchVllm(spec: LaunchSpec, options: VllmOptions): Launch {
  const image = spec.image ?? options.program.image;
  const program = spec.image === undefined ? options.program : vllmOfImage(spec.image);
  const { gpus } = spec.placement;
  const plan = planVllm(spec.engineArgs, {
    maxBatchSize: spec.maxBatchSize,
    fittingTokens: spec.fittingContextTokens,
    gpus: gpus.length,
  });
  const where =
    spec.endpoint.kind === "unix"
      ? ["--uds", spec.endpoint.path]
      : ["--host", spec.endpoint.host, "--port", String(spec.endpoint.port)];
  const { cacheFolder } = options;
  const keeps = gpus.length > 0 && cacheFolder !== null;
  const cache = keeps ? join(cacheFolder, "vllm", cacheName(spec, program)) : null;
  const mayRunCode = spec.weights !== undefined && isTrusted(spec.weights, options.trustedCode);
  return {
    command: program.path,
    args: [
      ...["serve", spec.snapshotPath, "--config", "{dir}/serve.yaml", ...where],
      ...["--served-model-name", ...spec.servedNames, `${slotsName}${plan.slots}`],
      "--enable-prompt-tokens-details",
      ...(mayRunCode ? ["--trust-remote-code"] : []),
      ...plan.args,
    ],
    env: {
      HF_HUB_OFFLINE: "1",
      TRANSFORMERS_OFFLINE: "1",
      HF_HOME: "{dir}/huggingface",
      VLLM_NO_USAGE_STATS: "1",
      DO_NOT_TRACK: "1",
      VLLM_HOST_IP: "127.0.0.1",
      VLLM_CACHE_ROOT: cache ?? "{dir}/cache",
      ...(cache === null
        ? {}
        : { TORCHINDUCTOR_CACHE_DIR: join(cache, "inductor"), TRITON_CACHE_DIR: join(cache, "triton") }),
      ...(gpus.length === 0
        ? { VLLM_CPU_KVCACHE_SPACE: String(wholeGibibytes(options.contextMemoryBytes)) }
        : { CUDA_VISIBLE_DEVICES: gpus.join(","), CUDA_DEVICE_ORDER: "PCI_BUS_ID" }),
    },
    files: [{ name: "serve.yaml", content: `api-key: ${JSON.stringify(spec.secret)}\n` }],
    reads: program.folders,
    ...(cache === null ? {} : { writes: [cache] }),
    // Its processes find each other over the loopback address.
    needsNetwork: true,
    ...(image === undefined ? {} : { image }),
  };
}

/** Compiled code is another for each version, model and GPU, and no account's engine may write what another's runs. */
function cacheName(spec: LaunchSpec, program: VllmProgram): string {
  const { account = "", repo = "", commit = spec.snapshotPath } = spec.weights ?? {};
  const parts = [program.image ?? program.version, account, repo, commit, ...spec.placement.gpus];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

function isTrusted({ repo, commit }: { repo: string; commit: string }, trusted: readonly string[]): boolean {
  const asked = `${repo}@${commit}`.toLowerCase();
  return trusted.some((one) => one.toLowerCase() === asked);
}

function wholeGibibytes(bytes: number): number {
  return Math.max(1, Math.floor(bytes / 2 ** 30));
}

/** `/health` says whether it has loaded; what it has is in its list of models. */
async function probeHealth(endpoint: Endpoint, secret: string, timeoutMs: number): Promise<EngineHealth> {
  const endMs = performance.now() + timeoutMs;
  try {
    const target = { endpoint, secret };
    const health = await callEngine(target, "/health", null, timeoutMs);
    if (health.status !== 200) return { state: "silent" };
    const restMs = Math.max(1, Math.floor(endMs - performance.now()));
    const models = await callEngine(target, "/v1/models", null, restMs);
    return models.status === 200 ? readModels(JSON.parse(models.text)) : { state: "silent" };
  } catch {
    return { state: "silent" }; // Everything but a well-formed answer in time is silence.
  }
}

function readModels(value: unknown): EngineHealth {
  const { data = [] } = value as { data?: { id?: unknown; max_model_len?: unknown }[] };
  const named = data.find(({ id }) => typeof id === "string" && id.startsWith(slotsName));
  const slots = Number(String(named?.id ?? "").slice(slotsName.length));
  const contextTokens = data[0]?.max_model_len;
  return slots > 0 && typeof contextTokens === "number"
    ? { state: "ready", slots, contextTokens, note: null }
    : { state: "silent" };
}
