/**
 * What this machine offers: cores, memory (less where a container may not use all of it) and NVIDIA GPUs as their
 * driver lists them. The inventory is read again now and then; one that cannot be read leaves the last one standing,
 * so that a hiccup of the GPU driver does not look like missing hardware.
 */
import { execFile } from "node:child_process";
import { availableParallelism, hostname, totalmem } from "node:os";
import { promisify } from "node:util";
import type { NodeCapacity } from "../../core/instance.ts";
import type { Clock, Engine } from "../../ports.ts";
import { gpuTypeOf } from "./gpu-types.ts";

const run = promisify(execFile);
/** `nvidia-smi` takes up to some seconds where the driver has to wake the cards. */
const gpuQueryTimeoutMs = 10_000;
const inventoryAgeMs = 60_000;

export type CapacityOptions = {
  readonly engines: ReadonlyMap<string, Engine>;
  readonly clock: Clock;
  /** PATH is where `nvidia-smi` is looked for. */
  readonly environment: NodeJS.ProcessEnv;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

type Gpu = NodeCapacity["gpus"][number];

export function createCapacityReader(options: CapacityOptions): () => Promise<readonly NodeCapacity[]> {
  const { clock, log } = options;
  const isGpuOfUse = [...options.engines.values()].some((engine) => engine.runsOn === "gpu");
  let gpus: readonly Gpu[] = [];
  let readAtMs: number | null = null;
  let reading: Promise<void> | null = null;

  async function refresh(): Promise<void> {
    try {
      gpus = parseGpus(await listGpus(options.environment), isGpuOfUse);
    } catch (error) {
      log("warn", "the GPUs could not be listed; the last list stays", { error: String(error) });
    }
    readAtMs = clock.now();
  }

  return async () => {
    if (readAtMs === null || clock.now() - readAtMs > inventoryAgeMs) {
      reading ??= refresh().finally(() => {
        reading = null;
      });
      await reading;
    }
    return [{ node: hostname(), cpuCores: availableParallelism(), memoryBytes: usableMemory(), gpus }];
  };
}

/** A container's limit where there is one; without one the system answers 0 or a number beyond all memory. */
function usableMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** "" where NVIDIA's driver is not installed. */
async function listGpus(environment: NodeJS.ProcessEnv): Promise<string> {
  const query = ["--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"];
  try {
    const { stdout } = await run("nvidia-smi", query, {
      timeout: gpuQueryTimeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: 2 ** 20,
      env: { PATH: environment.PATH ?? "/usr/bin:/bin", LC_ALL: "C" },
    });
    return stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** Lines such as `GPU-5c…, NVIDIA L4, 23034`; memory in MiB. */
export function parseGpus(listing: string, isGpuOfUse: boolean): Gpu[] {
  return listing.split("\n").flatMap((line): Gpu[] => {
    const match = /^\s*([^,\s]+)\s*,\s*(.+?)\s*,\s*(\d+)\s*$/.exec(line);
    if (match === null) return [];
    const [, id = "", name = "", mebibytes] = match;
    const memoryBytes = Number(mebibytes) * 2 ** 20;
    return [
      {
        id,
        type: gpuTypeOf(name, memoryBytes),
        name,
        memoryBytes,
        usable: isGpuOfUse,
        reason: isGpuOfUse ? null : "no engine installed here can use a GPU",
      },
    ];
  });
}
