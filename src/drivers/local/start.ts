/**
 * Starting one instance: its socket, record, files and process, in an order that a crash at any point leaves findable.
 * Either the instance is in the driver's care afterwards, or nothing of it is left.
 */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { type Failure, FailureError, failure } from "../../core/failure.ts";
import type { InstanceSpec } from "../../ports/driver.ts";
import type { Engine } from "../../ports/engine.ts";
import type { ContainerName } from "./containers/containers.ts";
import type { LocalContext } from "./context.ts";
import { endInstance } from "./end.ts";
import { deviceEnvironment } from "./gpu-devices.ts";
import { makeInstance, wakeWatch } from "./instance.ts";
import type { Walled } from "./isolation.ts";
import type { Quarters } from "./quarters.ts";
import { checkId, type SavedRecord } from "./record.ts";
import { prepareSocket, removeSocket, socketPath } from "./socket.ts";
import { checkLaunch, spawnEngine, writeLaunchFiles } from "./spawn.ts";

/** Throws when it cannot be started; the system's code (ENOSPC, ENOENT …) is kept on the error. */
export async function startInstance(spec: InstanceSpec, context: LocalContext): Promise<void> {
  const engine = context.engines.get(spec.engine);
  if (engine === undefined) throw new Error(`The engine "${spec.engine}" is not installed here.`);
  const [servedName] = spec.launch.servedNames;
  const container = containerOf(spec.id, spec.launch.image ?? engine.image, context);
  const record: SavedRecord = {
    version: 1,
    id: checkId(spec.id),
    deploymentId: checkId(spec.deploymentId),
    engine: spec.engine,
    placement: { node: spec.placement.node, gpus: [...spec.placement.gpus] },
    endpoint: { kind: "unix", path: await prepareSocket(context.socketDirectory, spec.id) },
    secret: randomBytes(32).toString("hex"),
    ...(servedName === undefined ? {} : { servedName }),
    ...(spec.memoryBytes === undefined ? {} : { memoryBytes: spec.memoryBytes }),
    ...(container === null ? {} : { container }),
    startedAtMs: context.clock.now(),
    process: null,
    ready: null,
  };
  try {
    await launchInstance(spec, engine, record, context);
  } catch (error) {
    await clearInstance(spec.id, 0, container, context);
    throw error;
  }
}

/** What the container of an instance is called, where it is to have one. */
function containerOf(
  id: string,
  image: string | undefined,
  { containers }: LocalContext,
): ContainerName | null {
  if (image === undefined) return null;
  if (containers === null) throw new FailureError(noRuntime(image));
  return containers.nameOf(id, image);
}

export function noRuntime(image: string): Failure {
  return failure(
    "container_failed",
    `${image} is a container image, and no container runtime is on this machine.`,
    "Install Docker or Podman, or name it with BERTH_CONTAINER_RUNTIME.",
  );
}

/** The record comes before the process: a crash in between is found by the mark that the process carries. */
async function launchInstance(
  spec: InstanceSpec,
  engine: Engine,
  record: SavedRecord,
  context: LocalContext,
): Promise<void> {
  const { folders, processes, environment } = context;
  const { id, deploymentId, secret, endpoint, placement } = record;
  const asked = engine.launch({ ...spec.launch, instanceId: id, endpoint, secret, placement });
  // Last, so that no engine can take what was not given to it.
  const launch = { ...asked, env: { ...asked.env, ...deviceEnvironment(placement) } };
  checkLaunch(launch, secret);
  const output = await context.shelf.open({ deploymentId, instanceId: id }, secret);
  await folders.create(id);
  const folder = folders.enginePath(id);
  await writeLaunchFiles(launch, folder);
  for (const kept of launch.writes ?? []) await mkdir(kept, { recursive: true, mode: 0o700 });
  const quarters: Quarters = {
    ...{ instanceId: id, launch, folder, outer: folders.path(id) },
    socketFolder: dirname(endpoint.path),
    snapshotPath: spec.launch.snapshotPath,
  };
  const walled = await wallIn(quarters, record, context);
  await folders.saveRecord(record);
  const spawned = await spawnEngine({
    ...{ instanceId: id, folder, processes, environment },
    outer: await folders.realPath(id),
    ...walled,
    logPath: output.path,
  });
  const started = { ...record, process: spawned.identity };
  await folders.saveRecord(started);
  const instance = makeInstance(started, engine, output, null);
  instance.isOwnChild = true;
  void spawned.exited.then((exit) => {
    instance.exit = exit;
    wakeWatch(instance);
  });
  context.keep(instance);
}

/** A container brings its own walls and bounds. */
async function wallIn(quarters: Quarters, record: SavedRecord, context: LocalContext): Promise<Walled> {
  const { id, deploymentId, placement, container } = record;
  const memoryBytes = record.memoryBytes ?? null;
  if (container !== undefined && context.containers !== null) {
    return await context.containers.wrap(quarters, { gpus: placement.gpus, memoryBytes, deploymentId });
  }
  const { launch, env } = await context.isolator.wall(quarters);
  return { launch: await context.bounder.bound(id, launch, memoryBytes), env };
}

/** Ends what runs under an id without a record that could be believed, and forgets it. */
export async function clearInstance(
  id: string,
  graceMs: number,
  container: ContainerName | null,
  context: LocalContext,
): Promise<void> {
  const { processes, clock, folders, environment } = context;
  const folder = await folders.realPath(id);
  await endInstance({
    ...{ instanceId: id, folder, leader: null, graceMs, container, environment, processes, clock },
  });
  const { socketDirectory } = context;
  await removeSocket(socketDirectory, id, socketPath(socketDirectory, id));
  await folders.remove(id);
  await context.bounder.release(id);
}
