/**
 * Starts the engines that are compared, each by its own command line as Berth makes it, on a Unix socket in a folder of its
 * own and on one core. Owns their ends: what was started here is ended here. Knows nothing of what is measured.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createEmbeddedEngine } from "../../src/engines/embedded.ts";
import { findLlamaServer } from "../../src/engines/llama-server/program.ts";
import { createLlamaServerEngine } from "../../src/engines/llama-server.ts";
import type { Engine } from "../../src/ports/engine.ts";
import type { Target } from "./load.ts";

export type Server = AsyncDisposable & {
  readonly target: Target;
  /** From the start of its process until it said that it was ready. */
  readonly readyMs: number;
  /** Processor time that it has used so far, in seconds. */
  cpuS(): number;
};

const contextMemoryBytes = 2 ** 31;
/** Of one request: a prompt and an answer of these measurements. */
const contextTokens = 1024;
const readyTimeoutMs = 120_000;
const secret = "secret-of-this-measurement";

export async function openLlamaServer(path: string | undefined): Promise<Engine> {
  const found = await findLlamaServer([path ?? "llama-server"], process.env);
  if (found.state !== "found") throw new Error(`llama-server is ${found.state}: set BERTH_LLAMA_SERVER`);
  return createLlamaServerEngine({ program: found.program, contextMemoryBytes, threads: 1 });
}

export function openEmbedded(): Engine {
  return createEmbeddedEngine({
    nodePath: process.execPath,
    serverPath: join(import.meta.dirname, "../../src/engines/embedded/server.ts"),
    ...{ contextMemoryBytes, threads: 1 },
  });
}

/** @param core on which all its threads run */
export async function startServer(
  engine: Engine,
  of: { readonly model: string; readonly slots: number; readonly folder: string; readonly core: string },
): Promise<Server> {
  const folder = join(of.folder, engine.name);
  mkdirSync(folder, { recursive: true });
  const endpoint = { kind: "unix", path: join(folder, "s.sock") } as const;
  const launch = engine.launch({
    ...{ instanceId: "bench", snapshotPath: dirname(of.model), entryFile: basename(of.model) },
    ...{
      servedNames: ["m"],
      maxBatchSize: of.slots,
      endpoint,
      secret,
      placement: { node: "here", gpus: [] },
    },
    engineArgs: { standardArgs: { maxContextSize: contextTokens }, extraArgs: [] },
  });
  for (const { name, content } of launch.files) writeFileSync(join(folder, name), content);
  const args = launch.args.map((arg) => arg.replaceAll("{dir}", folder));
  const startedMs = performance.now();
  const child = spawn("taskset", ["-c", of.core, launch.command, ...args], {
    stdio: ["ignore", "ignore", process.env.BENCH_VERBOSE === undefined ? "ignore" : "inherit"],
    env: { ...process.env, ...launch.env },
  });
  const exited = once(child, "exit");
  await untilReady(engine, child, endpoint).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw error;
  });
  return {
    target: { socketPath: endpoint.path, secret, model: "m" },
    readyMs: performance.now() - startedMs,
    cpuS: () => readCpuS(child.pid ?? 0),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The kernel counts in hundredths of a second (USER_HZ on every Linux). */
function readCpuS(pid: number): number {
  const [user = "0", system = "0"] =
    readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ").slice(11, 13) ?? [];
  return (Number(user) + Number(system)) / 100;
}

async function untilReady(
  engine: Engine,
  child: ChildProcess,
  endpoint: { readonly kind: "unix"; readonly path: string },
): Promise<void> {
  const endMs = performance.now() + readyTimeoutMs;
  while ((await engine.probe(endpoint, secret, 1000)).state !== "ready") {
    if (child.exitCode !== null) throw new Error(`${engine.name} ended with ${child.exitCode}`);
    if (performance.now() > endMs) throw new Error(`${engine.name} was not ready in time`);
    await sleep(5);
  }
}
