/**
 * Instances as processes of this machine. Keeps what exists, puts starting, taking over, watching and ending together,
 * and takes care that nothing happens twice to one instance. Engines outlive this process: a driver is as good as any
 * other on the same home, one at a time.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../ports/clock.ts";
import type { Driver } from "../../ports/driver.ts";
import type { Engine } from "../../ports/engine.ts";
import { adoptInstances } from "./adopt.ts";
import { createBounder } from "./bounder.ts";
import { readCapacity } from "./capacity.ts";
import { type Containers, createContainers } from "./containers/containers.ts";
import { createSweeper } from "./containers/sweep.ts";
import type { LocalContext, LocalLimits } from "./context.ts";
import { endInstance } from "./end.ts";
import { openGpuInventory } from "./gpu-inventory.ts";
import type { GpuOwners } from "./gpu-judge.ts";
import { describeInstance, enginePid, type Instance, wakeWatch } from "./instance.ts";
import { createIsolator } from "./isolation.ts";
import { openLogShelf } from "./logs.ts";
import { processTable } from "./process.ts";
import { processTree } from "./process-tree.ts";
import { openInstanceFolders } from "./record.ts";
import { removeSocket } from "./socket.ts";
import { clearInstance, noRuntime, startInstance } from "./start.ts";
import { watchInstance } from "./watch.ts";

/** How this machine's instances are treated where nothing else is said. */
export const localLimits: LocalLimits = {
  probeIntervalMs: 5_000,
  probeTimeoutMs: 2_000,
  firstTokenMs: 120_000,
  silentProbes: 6,
  lookIntervalMs: 500,
  endGraceMs: 2_000,
  maxLogBytes: 8 * 2 ** 20,
  maxReadBytes: 256 * 2 ** 10,
  pastLogsPerDeployment: 10,
  pastLogs: 200,
};

export type LocalDriverOptions = {
  /** `$BERTH_HOME`, absolute; `instances/` and `logs/` in it are the driver's. */
  readonly home: string;
  /** Short absolute path: a Unix socket's whole path has at most 107 bytes (103 on macOS). Created private. */
  readonly socketDirectory: string;
  readonly engines: ReadonlyMap<string, Engine>;
  readonly clock: Clock;
  /** Longest time from start to ready. */
  readonly readyTimeoutMs: number;
  /** Where engines inherit PATH, HOME, locale and the like from. */
  readonly environment: NodeJS.ProcessEnv;
  /** NVIDIA's tool, by name or path; absent: `nvidia-smi`. */
  readonly nvidiaSmi?: string;
  /** How often GPUs are looked at; absent: every 30 s. */
  readonly gpuPollMs?: number;
  /** Shut engines in where this machine allows it; false: run them as any program. */
  readonly isolates: boolean;
  /** The command of the container runtime, absolute; absent: no engine is run in a container. */
  readonly containerRuntime?: string;
  /** Longest time that fetching a container image may take; absent: an hour. */
  readonly imageLimitMs?: number;
  /** Folders that every engine reads: Berth itself and its Node. */
  readonly programs: readonly string[];
  readonly limits?: Partial<LocalLimits>;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

export type LocalDriver = Driver & {
  /** Stops watching, so that the process can end. Engines go on. */
  close(): Promise<void>;
};

export function createLocalDriver(options: LocalDriverOptions): LocalDriver {
  const { clock, engines, log } = options;
  const limits = { ...localLimits, ...options.limits, readyTimeoutMs: options.readyTimeoutMs };
  const instancesRoot = join(options.home, "instances");
  const folders = openInstanceFolders(instancesRoot);
  const shelf = openLogShelf(join(options.home, "logs"), limits);
  const processes = processTable(process.platform);
  const isolator = createIsolator({
    ...{ home: options.home, programs: options.programs, environment: options.environment },
    isWanted: options.isolates,
  });
  const containers: Containers | null =
    options.containerRuntime === undefined
      ? null
      : createContainers({
          ...{ program: options.containerRuntime, home: options.home, environment: options.environment },
          imageLimitMs: options.imageLimitMs ?? 3_600_000,
        });
  const instances = new Map<string, Instance>();
  const listeners = new Set<(deploymentId: string) => void>();
  const turns = new Map<string, Promise<void>>();
  let adoption: Promise<void> | null = null;
  let isClosed = false;

  function changed({ record }: Instance): void {
    for (const listener of listeners) listener(record.deploymentId);
  }

  function keep(instance: Instance): void {
    instances.set(instance.record.id, instance);
    if (!isClosed && instance.ended === null) instance.watching = watchInstance(instance, context);
    changed(instance);
  }

  const gpus = openGpuInventory({
    ...{ clock, log, owners, environment: options.environment, platform: process.platform },
    nvidiaSmi: options.nvidiaSmi ?? "nvidia-smi",
    pollMs: options.gpuPollMs ?? 30_000,
    isOfUse: [...engines.values()].some((engine) => engine.runsOn === "gpu"),
  });

  /** An engine that is just starting counts: its process may be listed before its record is. */
  async function owners(): Promise<GpuOwners> {
    const marked = await processes.findMarked();
    const own = marked.filter(({ instanceId }) => context.isKept(instanceId));
    const living = [...instances.values()].filter(({ ended }) => ended === null);
    const contained = await Promise.all(living.map(containedPids));
    return {
      pids: new Set([...own.map(({ identity }) => identity.pid), ...contained.flat()]),
      held: new Set(living.flatMap(({ record }) => record.placement.gpus)),
    };
  }

  /** What runs in a container carries no mark of Berth's that could be read from outside, whoever's it is. */
  async function containedPids(instance: Instance): Promise<number[]> {
    if (instance.record.container === undefined || instance.record.placement.gpus.length === 0) return [];
    const pid = await enginePid(instance, containers);
    return pid === null ? [] : await processTree(pid);
  }

  const context: LocalContext = {
    limits,
    clock,
    processes,
    folders,
    log,
    changed,
    shelf,
    isolator,
    containers,
    bounder: createBounder(process.platform, log),
    engines,
    environment: options.environment,
    socketDirectory: options.socketDirectory,
    keep,
    isKept: (id) => instances.has(id) || turns.has(id),
    lookAtGpus: gpus.refresh,
  };

  const sweeper =
    containers === null
      ? null
      : createSweeper({ containers, clock, log, environment: options.environment, isKept: context.isKept });

  /** Everything waits for the first look at the disk; one that was not complete is repeated by the next caller. */
  async function adopted(): Promise<void> {
    adoption ??= (async () => {
      await mkdir(instancesRoot, { recursive: true, mode: 0o700 });
      if (!(await adoptInstances(context))) adoption = null;
      sweeper?.look();
    })().catch((error: unknown) => {
      adoption = null;
      throw error;
    });
    await adoption;
  }

  /** One thing at a time for one instance. */
  async function inTurn(id: string, work: () => Promise<void>): Promise<void> {
    const before = turns.get(id) ?? Promise.resolve();
    const turn = before.catch(() => undefined).then(work);
    turns.set(id, turn);
    try {
      await turn;
    } finally {
      if (turns.get(id) === turn) turns.delete(id);
    }
  }

  async function remove(instanceId: string, graceMs: number): Promise<void> {
    const instance = instances.get(instanceId);
    if (instance === undefined) {
      // There is none of that id, or its record could not be read so far.
      if ((await folders.list()).includes(instanceId)) {
        await clearInstance(instanceId, graceMs, null, context);
        sweeper?.look();
      }
      return;
    }
    const { record, output } = instance;
    await release(instance);
    const folder = await folders.realPath(instanceId);
    await endInstance({
      ...{ instanceId, folder, leader: record.process, container: record.container ?? null },
      ...{ graceMs, processes, clock, environment: options.environment },
    });
    await removeSocket(options.socketDirectory, instanceId, record.endpoint.path);
    // The log is worth keeping, but a full disk must not keep an instance from being forgotten.
    await output.finish().catch((error: unknown) => logTrouble(instanceId, error));
    await folders.remove(instanceId);
    await context.bounder.release(instanceId);
    instances.delete(instanceId);
    if (record.container !== undefined) sweeper?.look();
    changed(instance);
    const others = [...instances.keys(), ...turns.keys()].filter((id) => id !== instanceId);
    await shelf.prune(new Set(others)).catch((error: unknown) => logTrouble(instanceId, error));
  }

  function logTrouble(instanceId: string, error: unknown): void {
    log("warn", "the log of a removed instance could not be put away", { instanceId, error: String(error) });
  }

  return {
    async capacity() {
      // Engines of an earlier control are no strangers.
      await adopted();
      return await readCapacity(gpus);
    },
    watchCapacity: gpus.watch,
    isolation: isolator.state,
    async observe() {
      await adopted();
      return [...instances.values()].map(describeInstance);
    },
    async fetchImage(image, onLayers, signal) {
      return containers === null ? noRuntime(image) : await containers.fetchImage(image, onLayers, signal);
    },
    async start(spec) {
      await adopted();
      await inTurn(spec.id, async () => {
        if (!instances.has(spec.id)) await startInstance(spec, context);
      });
    },
    async remove(instanceId, graceMs) {
      await adopted();
      await inTurn(instanceId, () => remove(instanceId, graceMs));
    },
    watch(onChange) {
      const listener = (deploymentId: string) => onChange(deploymentId);
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async readLogs(deploymentId) {
      await adopted();
      const own = [...instances.values()].filter(({ record }) => record.deploymentId === deploymentId);
      return await shelf.read(
        deploymentId,
        own.map(({ record }) => record.secret),
      );
    },
    async close() {
      isClosed = true;
      listeners.clear();
      await Promise.all([...instances.values()].map(release));
      await sweeper?.close();
      await gpus.close();
    },
  };
}

/** From here on nobody but the caller acts on the instance. */
async function release(instance: Instance): Promise<void> {
  instance.isReleased = true;
  wakeWatch(instance);
  await instance.watching;
}
