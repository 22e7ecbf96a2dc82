/**
 * Engines and driver of this machine, as control and `berth down` both open them.
 */

import { dirname, join } from "node:path";
import { createLocalDriver } from "../drivers/local/driver.ts";
import { createEmbeddedEngine } from "../engines/embedded.ts";
import type { Engine } from "../ports.ts";
import type { Settings } from "../settings.ts";
import { systemClock } from "../telemetry/clock.ts";
import type { Log } from "../telemetry/log.ts";
import { root, sockets } from "./process.ts";

/** How long an engine may take to end before it is killed. */
export const engineGraceMs = 5_000;

export function openEngines(settings: Settings): ReadonlyMap<string, Engine> {
  const embedded = createEmbeddedEngine({
    nodePath: process.execPath,
    serverPath: join(root, "src/engines/embedded/server.ts"),
    contextMemoryBytes: settings.BERTH_CPU_CONTEXT_MB * 2 ** 20,
    threads: settings.BERTH_CPU_THREADS,
  });
  return new Map([[embedded.name, embedded]]);
}

export function openDriver(settings: Settings, log: Log) {
  return createLocalDriver({
    home: settings.BERTH_HOME,
    socketDirectory: sockets(settings).directory,
    engines: openEngines(settings),
    clock: systemClock,
    readyTimeoutMs: settings.BERTH_LOAD_S * 1000,
    environment: process.env,
    nvidiaSmi: settings.BERTH_NVIDIA_SMI,
    gpuPollMs: settings.BERTH_GPU_POLL_S * 1000,
    isolates: settings.BERTH_ISOLATION === "auto",
    programs: [root, dirname(process.execPath)],
    log,
  });
}
