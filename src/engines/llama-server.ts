/**
 * llama.cpp's own server as control sees it: which files it loads, how it is started, how it says that it is ready, and what
 * its end means. Faster than the embedded engine and can use GPUs; used where the program is on this machine.
 */
import type { Abilities } from "../core/abilities.ts";
import { FailureError, failure } from "../core/failure.ts";
import type { Endpoint } from "../core/instance.ts";
import type { Engine, EngineHealth, Launch, LaunchSpec } from "../ports/engine.ts";
import { callEngine, warmUpEngine } from "./client.ts";
import { askLoad, type LoadNames } from "./engine-load.ts";
import { chooseGgufFiles } from "./gguf-files.ts";
import { explainLlamaServerExit } from "./llama-server/failures.ts";
import { planLlamaServer, refuseLlamaServerArgs } from "./llama-server/flags.ts";
import { type LlamaServerProgram, programFolder } from "./llama-server/program.ts";
import { readLlamaLoadReport } from "./load-report.ts";

export type LlamaServerOptions = {
  readonly program: LlamaServerProgram;
  /** Memory for the context (KV cache) of one instance without GPUs, in bytes. */
  readonly contextMemoryBytes: number;
  /** Threads of one instance; 0: the server's own choice. */
  readonly threads: number;
};

/** Prompts that are kept beside the cache, in MB: within what a program of this kind may take of memory. */
const promptStoreMb = 256;

/** What differs between versions is read from their arguments. */
function abilitiesOf({ flags }: LlamaServerProgram): Abilities {
  return {
    engine: "llama-server",
    chat: true,
    completions: true,
    // A server gives embeddings or text, not both; the embedded engine has the models made for them.
    embeddings: false,
    tokenize: false,
    tools: flags.has("jinja"),
    jsonObject: true,
    jsonSchema: true,
    regex: false,
    logprobs: true,
    // Several choices came with the tree of child requests, in the same releases as unified caches by default.
    maxChoices: flags.has("kv-unified") ? 4 : 1,
    images: false,
    reasoning: flags.has("reasoning-format"),
    lora: false,
    usageByDefault: false,
    exactContinuation: false,
    deterministic: false,
    cacheScope: "none",
  };
}

/** Releases up to 2025 say how full the cache is. */
const loadNames: LoadNames = {
  running: ["llamacpp:requests_processing"],
  waiting: ["llamacpp:requests_deferred"],
  cacheShare: ["llamacpp:kv_cache_usage_ratio"],
};

/** Repositories of models that give vectors are told by their names: a listing says no more. */
const givesVectors = /embed|rerank|(^|[/_-])(bge|gte|e5|minilm|colbert)([_-]|$)/i;

export function createLlamaServerEngine(options: LlamaServerOptions): Engine {
  const { program } = options;
  const usesGpus = program.devices.length > 0;
  return {
    name: "llama-server",
    runsOn: usesGpus ? "gpu" : "cpu",
    abilities: abilitiesOf(program),
    memory: {
      kind: "llamacpp",
      mostCacheBytes: usesGpus ? null : options.contextMemoryBytes,
      leastContextTokens: null,
    },
    chooseFiles(listing, quantization) {
      const choice = chooseGgufFiles(listing, quantization);
      if (!choice.ok || !givesVectors.test(listing.repo)) {
        return choice.ok ? { ok: true, value: { ...choice.value, task: "text-generation" } } : choice;
      }
      const message = `The llama-server engine writes text; by its name, ${listing.repo} gives embeddings.`;
      const next = "The embedded engine loads GGUF files of embedding models.";
      return { ok: false, failure: { code: "no_loadable_weights", message, next } };
    },
    refuseArgs: (args) => refuseLlamaServerArgs(args, program.flags),
    launch: (spec) => launchLlamaServer(spec, options),
    probe: probeHealth,
    warmUp: warmUpEngine,
    loadReport: readLlamaLoadReport,
    load: (endpoint, secret, timeoutMs) => askLoad({ endpoint, secret }, loadNames, timeoutMs),
    explainExit: explainLlamaServerExit,
  };
}

/**
 * It uses its cache again for whoever asks, and a request cannot say for whom it is: one that several accounts ask has none.
 */
function launchLlamaServer(spec: LaunchSpec, { program, threads }: LlamaServerOptions): Launch {
  const { flags } = program;
  if (spec.isShared === true && !flags.has("no-cache-prompt")) throw new FailureError(cannotShare);
  const plan = planLlamaServer(spec.engineArgs, {
    maxBatchSize: spec.maxBatchSize,
    modelTokens: spec.modelContextTokens,
    fittingTokens: spec.fittingContextTokens,
    threads,
    known: flags,
  });
  const gpus = spec.placement.gpus;
  const where =
    spec.endpoint.kind === "unix"
      ? ["--host", spec.endpoint.path]
      : ["--host", spec.endpoint.host, "--port", String(spec.endpoint.port)];
  const has = (name: string, ...more: string[]) => (flags.has(name) ? [`--${name}`, ...more] : []);
  return {
    command: program.path,
    args: [
      ...["--model", `${spec.snapshotPath}/${spec.entryFile}`, ...where],
      ...["--alias", spec.servedNames[0] ?? "model", "--api-key-file", "{dir}/key"],
      ...["--parallel", String(plan.slots), "--ctx-size", String(plan.slots * plan.contextTokens)],
      ...has("jinja"),
      ...has("metrics"),
      ...has("offline"),
      // A server that shrinks what it was asked for would promise more than it has.
      ...has("fit", "off"),
      ...has("log-colors", "off"),
      // What it takes of memory is more than it usually says, and comes with some lines for each request.
      ...(spec.isUnmeasured === true ? has("log-verbosity", "4") : []),
      // Its own store of prompts beside the cache would be 8 GB, which nobody reckoned with.
      ...(plan.args.includes("--cache-ram") ? [] : has("cache-ram", String(promptStoreMb))),
      ...(flags.has("no-ui") ? ["--no-ui"] : has("no-webui")),
      ...has("no-slots"),
      ...(gpus.length === 0 && program.devices.length > 0 ? has("device", "none") : []),
      ...plan.args,
      // Last, so that it holds whatever else was asked for.
      ...(spec.isShared === true ? ["--no-cache-prompt", ...has("cache-ram", "0")] : []),
    ],
    env: gpus.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: gpus.join(",") },
    files: [{ name: "key", content: `${spec.secret}\n` }],
    reads: [programFolder(program)],
  };
}

const cannotShare = failure(
  "bad_engine_args",
  "This version of llama.cpp's server cannot be kept from using one account's prompts for another's requests.",
  "Install a newer version with `berth engines install llama-server`, or set BERTH_LLAMA_SERVER=off.",
);

/** `/health` says whether it has loaded; what it has is in `/props`, which needs the key. */
async function probeHealth(endpoint: Endpoint, secret: string, timeoutMs: number): Promise<EngineHealth> {
  const endMs = performance.now() + timeoutMs;
  try {
    const target = { endpoint, secret };
    const health = await callEngine(target, "/health", null, timeoutMs);
    if (health.status === 503) return { state: "loading", progress: null };
    if (health.status !== 200) return { state: "silent" };
    const restMs = Math.max(1, Math.floor(endMs - performance.now()));
    const props = await callEngine(target, "/props", null, restMs);
    return props.status === 200 ? readProps(JSON.parse(props.text)) : { state: "silent" };
  } catch {
    return { state: "silent" }; // Everything but a well-formed answer in time is silence.
  }
}

function readProps(value: unknown): EngineHealth {
  const { total_slots: slots, default_generation_settings: usual } = value as {
    total_slots?: unknown;
    default_generation_settings?: { n_ctx?: unknown };
  };
  const contextTokens = usual?.n_ctx;
  return typeof slots === "number" && typeof contextTokens === "number"
    ? { state: "ready", slots, contextTokens, note: null }
    : { state: "silent" };
}
