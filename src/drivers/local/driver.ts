/**
 * Instances as processes of this machine. Keeps what exists, puts starting, taking over, watching and ending together,
 * and takes care that nothing happens twice to one instance. Engines outlive this process: a driver is as good as any
 * other on the same home, one at a time.
 */
import { randomBytes } from "node:crypto";
import { lstat, mkdir, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Endpoint } from "../../core/instance.ts";
import type { Clock, Driver, Engine, InstanceSpec } from "../../ports.ts";
import { type AdoptContext, adoptInstances } from "./adopt.ts";
import { createCapacityReader } from "./capacity.ts";
import { endProcesses } from "./end.ts";
import { describeInstance, type Instance, makeInstance, wakeWatch } from "./instance.ts";
import { type LogLimits, openLogShelf } from "./logs.ts";
import { processTable } from "./process.ts";
import { checkId, openInstanceFolders, type SavedRecord } from "./record.ts";
import { checkLaunch, spawnEngine, writeLaunchFiles } from "./spawn.ts";
import { type WatchLimits, watchInstance } from "./watch.ts";

export type LocalLimits = Omit<WatchLimits, "readyTimeoutMs"> & LogLimits;

/** How this machine's instances are treated where nothing else is said. */
export const localLimits: LocalLimits = {
  probeIntervalMs: 5_000,
  probeTimeoutMs: 2_000,
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
  readonly limits?: Partial<LocalLimits>;
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
};

export type LocalDriver = Driver & {
  /** Stops watching, so that the process can end. Engines go on. */
  close(): Promise<void>;
};

/** sockaddr_un holds 108 bytes on Linux and 104 on macOS, the last of them zero. */
const maxSocketPathBytes = process.platform === "linux" ? 107 : 103;

export function createLocalDriver(options: LocalDriverOptions): LocalDriver {
  const { clock, engines, log } = options;
  const limits = { ...localLimits, ...options.limits, readyTimeoutMs: options.readyTimeoutMs };
  const instancesRoot = join(options.home, "instances");
  const folders = openInstanceFolders(instancesRoot);
  const shelf = openLogShelf(join(options.home, "logs"), limits);
  const processes = processTable(process.platform);
  const readCapacity = createCapacityReader({ engines, clock, log, environment: options.environment });
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

  const context: AdoptContext = {
    limits,
    clock,
    processes,
    folders,
    log,
    changed,
    shelf,
    engines,
    instancesRoot,
    keep,
    // What is being started or removed just now is in good hands too.
    isKept: (id) => instances.has(id) || turns.has(id),
  };

  /** Everything waits for the first look at the disk; one that was not complete is repeated by the next caller. */
  async function adopted(): Promise<void> {
    adoption ??= (async () => {
      await mkdir(instancesRoot, { recursive: true, mode: 0o700 });
      const root = await realpath(instancesRoot);
      const isComplete = await adoptInstances({ ...context, instancesRoot: root });
      if (!isComplete) adoption = null;
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

  async function start(spec: InstanceSpec): Promise<void> {
    if (instances.has(spec.id)) return;
    const engine = engines.get(spec.engine);
    if (engine === undefined) throw new Error(`The engine "${spec.engine}" is not installed here.`);
    const endpoint = await prepareSocket(options.socketDirectory, checkId(spec.id));
    const record: SavedRecord = {
      version: 1,
      id: spec.id,
      deploymentId: checkId(spec.deploymentId),
      engine: spec.engine,
      placement: { node: spec.placement.node, gpus: [...spec.placement.gpus] },
      endpoint,
      secret: randomBytes(32).toString("hex"),
      startedAtMs: clock.now(),
      process: null,
      ready: null,
    };
    try {
      await launchInstance(spec, engine, record);
    } catch (error) {
      await endProcesses({ instanceId: spec.id, leader: null, graceMs: 0, processes, clock });
      await folders.remove(spec.id);
      throw error;
    }
  }

  /** The record comes before the process: a crash in between is found by the mark that the process carries. */
  async function launchInstance(spec: InstanceSpec, engine: Engine, record: SavedRecord): Promise<void> {
    const { id, deploymentId, secret, endpoint } = record;
    const launch = engine.launch({
      ...spec.launch,
      instanceId: id,
      endpoint,
      secret,
      placement: spec.placement,
    });
    checkLaunch(launch, secret);
    const output = await shelf.open({ deploymentId, instanceId: id }, secret);
    await folders.create(id);
    await writeLaunchFiles(launch, folders.path(id));
    await folders.saveRecord(record);
    const { environment } = options;
    const folder = folders.path(id);
    const spawned = await spawnEngine({
      instanceId: id,
      launch,
      folder,
      logPath: output.path,
      processes,
      environment,
    });
    const started = { ...record, process: spawned.identity };
    await folders.saveRecord(started);
    const instance = makeInstance(started, engine, output, null);
    instance.isOwnChild = true;
    void spawned.exited.then((exit) => {
      instance.exit = exit;
      wakeWatch(instance);
    });
    keep(instance);
  }

  async function remove(instanceId: string, graceMs: number): Promise<void> {
    const instance = instances.get(instanceId);
    if (instance === undefined) return await removeUnread(instanceId);
    const { record, output } = instance;
    await release(instance);
    await endProcesses({ instanceId, leader: record.process, graceMs, processes, clock });
    await output.finish();
    await rm(record.endpoint.path, { force: true });
    await folders.remove(instanceId);
    instances.delete(instanceId);
    changed(instance);
    await shelf.prune(new Set(instances.keys()));
  }

  /** An instance whose record could not be read so far; usually there is none of that id. */
  async function removeUnread(instanceId: string): Promise<void> {
    if (!(await folders.list()).includes(instanceId)) return;
    await endProcesses({ instanceId, leader: null, graceMs: limits.endGraceMs, processes, clock });
    await folders.remove(instanceId);
  }

  return {
    capacity: readCapacity,
    async observe() {
      await adopted();
      return [...instances.values()].map(describeInstance);
    },
    async start(spec) {
      await adopted();
      await inTurn(spec.id, () => start(spec));
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
    },
  };
}

/** From here on nobody but the caller acts on the instance. */
async function release(instance: Instance): Promise<void> {
  instance.isReleased = true;
  wakeWatch(instance);
  await instance.watching;
}

async function prepareSocket(directory: string, id: string): Promise<Endpoint & { kind: "unix" }> {
  const path = join(directory, `${id}.sock`);
  if (Buffer.byteLength(path) > maxSocketPathBytes) {
    throw new Error(
      `The socket path ${path} is longer than the ${maxSocketPathBytes} bytes the system allows; choose a shorter BERTH_HOME.`,
    );
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // The directory may be in a public place such as /tmp: somebody else's would let them listen in.
  const info = await lstat(directory);
  if (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o077) !== 0) {
    throw new Error(
      `${directory} must be a folder that only this user can enter; remove it or correct its owner and mode (700).`,
    );
  }
  await rm(path, { force: true });
  return { kind: "unix", path };
}
