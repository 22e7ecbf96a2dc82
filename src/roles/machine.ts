/**
 * Engines and driver of this machine, as control and `berth down` both open them.
 */

import { dirname, join } from "node:path";
import { createLocalDriver } from "../drivers/local/driver.ts";
import { createEmbeddedEngine } from "../engines/embedded.ts";
import { createLlamaServerEngine } from "../engines/llama-server.ts";
import { findEngines } from "../engines/machine-engines.ts";
import { createVllmEngine } from "../engines/vllm.ts";
import type { Engine } from "../ports/engine.ts";
import type { Settings } from "../settings.ts";
import { listed } from "../settings-kinds.ts";
import { systemClock } from "../telemetry/clock.ts";
import type { Log } from "../telemetry/log.ts";
import { root, sockets } from "./process.ts";

/** How long an engine may take to end before it is killed. */
export const engineGraceMs = 5_000;

export type OpenEngines = {
  readonly engines: ReadonlyMap<string, Engine>;
  /** The command that runs those that are in container images; absent where there is none. */
  readonly containerRuntime?: string;
};

/** In the order of preference: the first that can load a repository gets it. */
export async function openEngines(settings: Settings, log: Log): Promise<OpenEngines> {
  const contextMemoryBytes = settings.BERTH_CPU_CONTEXT_MB * 2 ** 20;
  const threads = settings.BERTH_CPU_THREADS;
  const hasOwnUsers = process.getuid?.() === 0 && settings.BERTH_ISOLATION === "auto";
  const { llamaServer, vllm, containerRuntime } = await findEngines(settings, process.env);
  const engines: Engine[] = [];
  if (llamaServer.state === "found") {
    engines.push(createLlamaServerEngine({ program: llamaServer.program, contextMemoryBytes, threads }));
  }
  engines.push(
    createEmbeddedEngine({
      nodePath: process.execPath,
      serverPath: join(root, "src/engines/embedded/server.ts"),
      ...{ contextMemoryBytes, threads },
    }),
  );
  if (vllm.state === "found") {
    engines.push(
      createVllmEngine({
        ...{ program: vllm.program, allowPickle: settings.BERTH_ALLOW_PICKLE, contextMemoryBytes },
        runsImages: containerRuntime !== null,
        trustedCode: listed(settings.BERTH_TRUST_REMOTE_CODE ?? ""),
        cacheFolder: hasOwnUsers ? null : join(settings.BERTH_HOME, "engine-cache"),
      }),
    );
  }
  for (const found of [llamaServer, vllm]) {
    if (found.state === "broken") log("warn", "an engine is there and cannot be used", found);
  }
  return {
    engines: new Map(engines.map((engine) => [engine.name, engine])),
    ...(containerRuntime === null ? {} : { containerRuntime }),
  };
}

/** How long an engine may take to one token when nothing else is asked of it; clients may be more patient. */
const longestFirstTokenMs = 120_000;
export const firstTokenMs = (settings: Settings) =>
  Math.min(longestFirstTokenMs, settings.BERTH_FIRST_TOKEN_S * 1000);

export function openDriver(settings: Settings, open: OpenEngines, log: Log) {
  return createLocalDriver({
    ...open,
    imageLimitMs: settings.BERTH_IMAGE_S * 1000,
    home: settings.BERTH_HOME,
    socketDirectory: sockets(settings).directory,
    clock: systemClock,
    readyTimeoutMs: settings.BERTH_LOAD_S * 1000,
    environment: process.env,
    nvidiaSmi: settings.BERTH_NVIDIA_SMI,
    gpuPollMs: settings.BERTH_GPU_POLL_S * 1000,
    isolates: settings.BERTH_ISOLATION === "auto",
    programs: [root, dirname(process.execPath)],
    limits: { firstTokenMs: firstTokenMs(settings) },
    log,
  });
}
