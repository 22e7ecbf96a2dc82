/**
 * One instance as this control holds it in memory: its saved record, what has been seen of it, and the switches its
 * watch listens to. Owns the translation into the port's words.
 */
import type { Failure } from "../../core/failure.ts";
import type { MeasuredMemory } from "../../core/fit-measured.ts";
import type { ObservedInstance } from "../../core/instance.ts";
import type { Engine } from "../../ports/engine.ts";
import type { Containers } from "./containers/containers.ts";
import type { FirstAnswer } from "./first-answer.ts";
import type { InstanceOutput } from "./logs.ts";
import type { SavedExit, SavedRecord } from "./record.ts";
import type { Exit } from "./spawn.ts";

export type Instance = {
  record: SavedRecord;
  /** Null when the engine that started it is not installed any more. */
  readonly engine: Engine | null;
  readonly output: InstanceOutput;
  loadProgress: number | null;
  silentProbes: number;
  /** Of an engine that says it is ready for the first time; null before that. */
  firstAnswer: FirstAnswer | null;
  /** The first process in its container, once that was asked for; null before, and where the engine is a process itself. */
  containedPid: number | null;
  /** What it used of memory when it was looked at last; null before that, and where it cannot be told. */
  usedBytes: number | null;
  /** What the engine printed of its memory, once it is ready. */
  loadReport: MeasuredMemory | null;
  /** Started by this control, which therefore is told its exit code. */
  isOwnChild: boolean;
  /** How the own child ended; stays null for an adopted process. */
  exit: Exit | null;
  /** True while its log cannot be written beside. */
  isOutputLost: boolean;
  /** How it ended and why, once that is settled. */
  ended: SavedExit | null;
  /** Why the driver itself ended it, null while it has not. */
  endedBecause: Failure | null;
  /** True once its watch must leave it alone: it is being removed, or this driver closes. */
  isReleased: boolean;
  /** Aborted and replaced when there is something to see at once: the child's exit, or the release. */
  wake: AbortController;
  /** Resolves when the watch has stopped. */
  watching: Promise<void>;
};

export function makeInstance(
  record: SavedRecord,
  engine: Engine | null,
  output: InstanceOutput,
  ended: SavedExit | null,
): Instance {
  return {
    record,
    engine,
    output,
    loadProgress: null,
    silentProbes: 0,
    firstAnswer: null,
    containedPid: null,
    usedBytes: null,
    loadReport: null,
    isOutputLost: false,
    isOwnChild: false,
    exit: null,
    ended,
    endedBecause: null,
    isReleased: false,
    wake: new AbortController(),
    watching: Promise.resolve(),
  };
}

/** The engine's own process: in a container the first one there, whose number is asked of the runtime once. */
export async function enginePid(
  instance: Instance,
  containers: Pick<Containers, "firstPid"> | null,
): Promise<number | null> {
  const { container, process } = instance.record;
  if (container === undefined) return process?.pid ?? null;
  instance.containedPid ??= (await containers?.firstPid(container)) ?? null;
  return instance.containedPid;
}

/** Ends the pause of the instance's watch. */
export function wakeWatch(instance: Instance): void {
  const { wake } = instance;
  instance.wake = new AbortController();
  wake.abort();
}

export function describeInstance(instance: Instance): ObservedInstance {
  const { record, ended } = instance;
  const { ready } = record;
  const alive = ready === null ? "starting" : "running";
  return {
    id: record.id,
    deploymentId: record.deploymentId,
    state: ended === null ? alive : "exited",
    endpoint: record.endpoint,
    secret: record.secret,
    slots: ready?.slots ?? 0,
    contextTokens: ready?.contextTokens ?? 0,
    loadProgress: ready === null && ended === null ? instance.loadProgress : null,
    note: ready?.note ?? null,
    placement: record.placement,
    ...(instance.loadReport === null ? {} : { loadReport: instance.loadReport }),
    ...(instance.usedBytes === null || ended !== null
      ? {}
      : { memory: { usedBytes: instance.usedBytes, limitBytes: record.memoryBytes ?? null } }),
    startedAtMs: record.startedAtMs,
    readyAtMs: ready?.atMs ?? null,
    failure: ended?.failure ?? null,
  };
}
