/**
 * The embedded engine as control sees it: which files it loads, how its server program is started, how it says that it is
 * ready, and what its end means. The program itself is embedded/server.ts; nothing of it runs in this process.
 */
import type { Abilities } from "../core/abilities.ts";
import type { Endpoint } from "../core/instance.ts";
import type { Engine, EngineHealth } from "../ports/engine.ts";
import { callEngine, warmUpEngine } from "./client.ts";
import { refuseEngineArgs, translateStandardArgs } from "./embedded/arguments.ts";
import { contextStep } from "./embedded/capacity.ts";
import { explainEmbeddedExit } from "./embedded/failures.ts";
import type { LaunchFile } from "./embedded/launch.ts";
import { chooseGgufFiles } from "./gguf-files.ts";
import { readLlamaLoadReport } from "./load-report.ts";

export type EmbeddedEngineOptions = {
  /** The Node that runs the server program. */
  readonly nodePath: string;
  /** Path of embedded/server.ts. */
  readonly serverPath: string;
  /** Memory for the context (KV cache) of one instance, in bytes. */
  readonly contextMemoryBytes: number;
  /** Threads of one instance; 0: the cores less one. */
  readonly threads: number;
};

/**
 * The program collects garbage itself where the collector cannot see how much there is. Without a small space for new
 * objects (in MB) Node lets the heap grow for long under load, to several times what is in use.
 */
const nodeFlags = ["--expose-gc", "--max-semi-space-size=8"];

const abilities: Abilities = {
  engine: "embedded",
  chat: true,
  completions: true,
  embeddings: true,
  tokenize: true,
  tools: true,
  jsonObject: true,
  jsonSchema: true,
  regex: true,
  logprobs: true,
  maxChoices: 4,
  images: false,
  reasoning: false,
  lora: false,
  usageByDefault: true,
  exactContinuation: true,
  deterministic: false,
  cacheScope: "header",
};

export function createEmbeddedEngine(options: EmbeddedEngineOptions): Engine {
  return {
    name: "embedded",
    runsOn: "cpu",
    abilities,
    memory: {
      kind: "llamacpp",
      mostCacheBytes: options.contextMemoryBytes,
      leastContextTokens: contextStep,
    },
    chooseFiles(listing, quantization) {
      const choice = chooseGgufFiles(listing, quantization);
      return choice.ok ? { ok: true, value: { ...choice.value, task: "text-generation" } } : choice;
    },
    refuseArgs: refuseEngineArgs,
    launch(spec) {
      const { standardArgs, extraArgs } = spec.engineArgs;
      const file: LaunchFile = {
        modelPath: `${spec.snapshotPath}/${spec.entryFile}`,
        servedNames: spec.servedNames,
        slots: standardArgs.maxConcurrentRequests ?? spec.maxBatchSize,
        endpoint: spec.endpoint,
        secret: spec.secret,
        contextMemoryBytes: options.contextMemoryBytes,
        threads: options.threads,
        extraArgs: [...translateStandardArgs(standardArgs), ...extraArgs],
      };
      return {
        command: options.nodePath,
        args: [...nodeFlags, options.serverPath, "{dir}/launch.json"],
        env: {},
        files: [{ name: "launch.json", content: JSON.stringify(file) }],
      };
    },
    probe: probeHealth,
    warmUp: warmUpEngine,
    loadReport: readLlamaLoadReport,
    explainExit: explainEmbeddedExit,
  };
}

/** Everything but a well-formed answer in time is silence. */
async function probeHealth(endpoint: Endpoint, secret: string, timeoutMs: number): Promise<EngineHealth> {
  try {
    return readHealth(JSON.parse((await callEngine({ endpoint, secret }, "/health", null, timeoutMs)).text));
  } catch {
    return { state: "silent" };
  }
}

function readHealth(value: unknown): EngineHealth {
  const { state, progress, slots, contextTokens, note } = value as Record<string, unknown>;
  if (state === "loading") {
    return { state: "loading", progress: typeof progress === "number" ? progress : null };
  }
  if (state === "ready" && typeof slots === "number" && typeof contextTokens === "number") {
    return { state: "ready", slots, contextTokens, note: typeof note === "string" ? note : null };
  }
  return { state: "silent" };
}
