/**
 * Follows one instance from its start to its end: probes it, notes its output, notices its exit, ends it when it takes
 * too long to load or has hung. Writes what it finds into the instance and to disk, and says so. Never removes an
 * instance; never touches one that was released.
 */
import { explainLimit } from "../../core/engine-memory.ts";
import { type Failure, FailureError, failure } from "../../core/failure.ts";
import type { Clock } from "../../ports/clock.ts";
import type { EngineHealth } from "../../ports/engine.ts";
import { explainContainerExit } from "./containers/failures.ts";
import type { LocalContext } from "./context.ts";
import { endInstance } from "./end.ts";
import { firstAnswer } from "./first-answer.ts";
import { judgeHealth, withLastWords } from "./health.ts";
import { enginePid, type Instance } from "./instance.ts";
import { memoryUse } from "./memory-use.ts";
import type { SavedExit } from "./record.ts";

/** Lines of output that an engine's last words are looked for in: causes stand above the tracebacks of every process that fell with them. */
const lastWordsLines = 400;
/** How soon it is seen that an engine has given its first token. */
const awaitedPauseMs = 25;
/** Lines of output that how far an engine has loaded is looked for in. */
const progressLines = 40;
/** Lines of output that what an engine took of memory is looked for in. */
const loadReportLines = 2000;

/** Runs until the instance has ended or was released. Never rejects: a look that fails is logged and repeated. */
export async function watchInstance(instance: Instance, context: LocalContext): Promise<void> {
  const { clock, limits, log } = context;
  let probeAtMs = clock.now();
  while (!instance.isReleased && instance.ended === null) {
    // Taken before the look: what happens during it ends the pause after it at once.
    const wake = instance.wake.signal;
    let pauseMs = limits.lookIntervalMs;
    try {
      if (await hasEnded(instance, context)) {
        await settleExit(instance, context);
        return;
      }
      await sampleOutput(instance, context);
      if (clock.now() >= probeAtMs) probeAtMs = clock.now() + (await probe(instance, context));
      pauseMs = Math.min(pauseMs, Math.max(0, probeAtMs - clock.now()));
    } catch (error) {
      log("error", "an instance could not be looked at", {
        instanceId: instance.record.id,
        error: String(error),
      });
    }
    await pause(clock, pauseMs, wake);
  }
}

/** Asks once and acts on the answer. Returns the milliseconds until the next probe. */
export async function probe(instance: Instance, context: LocalContext): Promise<number> {
  const { clock, limits, log } = context;
  if (instance.firstAnswer === "awaited") return awaitedPauseMs;
  const health = await askEngine(instance, limits.probeTimeoutMs);
  if (health === null || instance.isReleased) return limits.probeIntervalMs;
  const { record } = instance;
  const facts = {
    now: clock.now(),
    startedAtMs: record.startedAtMs,
    readyAtMs: record.ready?.atMs ?? null,
    silentBefore: instance.silentProbes,
  };
  const verdict = judgeHealth(health, facts, limits);
  switch (verdict.kind) {
    case "loading": {
      const progress = verdict.progress ?? (await readProgress(instance)) ?? instance.loadProgress;
      if (progress !== instance.loadProgress) {
        instance.loadProgress = progress;
        context.changed(instance);
      }
      return verdict.probeInMs;
    }
    case "ready": {
      instance.silentProbes = 0;
      instance.usedBytes = await memoryOf(instance, context);
      const answer = record.ready === null ? firstAnswer(instance, context) : "came";
      if (answer === "awaited") return awaitedPauseMs;
      if (answer !== "came") return await end(instance, answer, context);
      await noteReady(instance, verdict, context);
      return limits.probeIntervalMs;
    }
    case "silent":
      instance.silentProbes += 1;
      log("warn", "an engine did not answer a health check", {
        instanceId: record.id,
        inARow: instance.silentProbes,
      });
      return limits.probeIntervalMs;
    case "end":
      return await end(instance, verdict.failure, context);
  }
}

/** The driver itself ends an engine that is of no use; the watch then sees it gone. */
async function end(instance: Instance, cause: Failure, context: LocalContext): Promise<number> {
  instance.endedBecause = cause;
  await endAll(instance, context.limits.endGraceMs, context);
  return 0;
}

/** A runtime that fails to remove a container must not hide that its engine has ended: whoever removes the instance insists. */
async function endRest(instance: Instance, context: LocalContext): Promise<void> {
  try {
    await endAll(instance, 0, context);
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    const { id } = instance.record;
    context.log("warn", "a container could not be removed yet", { instanceId: id, error: String(error) });
  }
}

async function endAll(
  { record }: Instance,
  graceMs: number,
  { folders, processes, clock, environment }: LocalContext,
): Promise<void> {
  await endInstance({
    ...{ instanceId: record.id, leader: record.process, container: record.container ?? null },
    folder: await folders.realPath(record.id),
    ...{ graceMs, processes, clock, environment },
  });
}

/** From what it prints, for an engine that has no other way to say it. */
async function readProgress({ engine, output }: Instance): Promise<number | null> {
  if (engine?.loadProgress === undefined) return null;
  return engine.loadProgress(await output.lastLines(progressLines));
}

/** Of a container it is not the client's. */
async function memoryOf(instance: Instance, context: LocalContext): Promise<number | null> {
  const pid = await enginePid(instance, context.containers);
  return pid === null ? null : await memoryUse(pid);
}

/** Null when the instance ended or was released before the answer came. */
async function askEngine(instance: Instance, timeoutMs: number): Promise<EngineHealth | null> {
  const { engine, record, wake } = instance;
  // An engine that is not installed any more cannot be asked; its process is left in peace while it lives.
  if (engine === null) return null;
  if (instance.isReleased || instance.exit !== null) return null;
  return await new Promise((resolve, reject) => {
    const onWake = () => resolve(null);
    wake.signal.addEventListener("abort", onWake, { once: true });
    engine
      .probe(record.endpoint, record.secret, timeoutMs)
      .then(resolve, reject)
      .finally(() => wake.signal.removeEventListener("abort", onWake));
  });
}

type Ready = { readonly slots: number; readonly contextTokens: number; readonly note: string | null };

async function noteReady(
  instance: Instance,
  { slots, contextTokens, note }: Ready,
  context: LocalContext,
): Promise<void> {
  const before = instance.record.ready;
  const isSame = before?.slots === slots && before.contextTokens === contextTokens && before.note === note;
  if (isSame) return;
  if (before === null) instance.loadReport = await readLoadReport(instance, context);
  const ready = { atMs: before?.atMs ?? context.clock.now(), slots, contextTokens, note };
  instance.record = { ...instance.record, ready };
  context.changed(instance);
  // Only spares the next control a probe; so it comes after the hint, and a full disk does not undo it.
  await context.folders.saveRecord(instance.record);
}

/** An engine is ready once it has printed it; a log that cannot be read costs an estimate, nothing else. */
async function readLoadReport(
  { engine, output, record }: Instance,
  { log }: LocalContext,
): Promise<Instance["loadReport"]> {
  if (engine?.loadReport === undefined) return null;
  try {
    return engine.loadReport(await output.lastLines(loadReportLines));
  } catch (error) {
    log("warn", "what an engine took of memory could not be read", {
      instanceId: record.id,
      error: String(error),
    });
    return null;
  }
}

/** A full disk must keep neither a probe nor the end of an engine from being seen; it is said once. */
async function sampleOutput(instance: Instance, { log }: LocalContext): Promise<void> {
  try {
    await instance.output.sample();
    instance.isOutputLost = false;
  } catch (error) {
    if (!instance.isOutputLost) {
      log("warn", "an engine's log cannot be kept in order", {
        instanceId: instance.record.id,
        error: String(error),
      });
    }
    instance.isOutputLost = true;
  }
}

/** An own child's exit arrives with its code; only an adopted process has to be looked for. */
async function hasEnded(instance: Instance, { processes }: LocalContext): Promise<boolean> {
  const { record } = instance;
  if (instance.isOwnChild) return instance.exit !== null;
  return record.process === null || !(await processes.isAlive(record.process));
}

/** The engine is gone: ends what it left behind, finds out why, and keeps that for every later control. */
export async function settleExit(instance: Instance, context: LocalContext): Promise<void> {
  const { clock, folders, log } = context;
  const { record, output } = instance;
  await endRest(instance, context);
  if (instance.isReleased) return;
  await sampleOutput(instance, context);
  const exit = instance.exit ?? { code: null, signal: null };
  const lines = await output.lastLines(lastWordsLines);
  const told =
    (record.container === undefined ? null : explainContainerExit(record.container.image, exit, lines)) ??
    instance.engine?.explainExit(exit, lines) ??
    unexplained;
  const isKilled =
    record.container === undefined
      ? await context.bounder.wasKilled(record.id)
      : exit.code === killedAtItsLimit && record.memoryBytes !== undefined;
  const cause =
    instance.endedBecause === null
      ? explainLimit(told, record.memoryBytes ?? null, isKilled)
      : withLastWords(instance.endedBecause, lines);
  const ended: SavedExit = { atMs: clock.now(), ...exit, failure: cause };
  await folders.saveExit(record.id, ended).catch((error: unknown) => {
    log("warn", "the exit of an instance could not be kept", { instanceId: record.id, error: String(error) });
  });
  // An engine that ends with its GPU must not be started on it again.
  if (record.placement.gpus.length > 0) await context.lookAtGpus();
  instance.ended = ended;
  context.changed(instance);
}

/** How a runtime tells of an engine that was killed: by the kernel at its limit, as a rule, where Berth did not do it. */
const killedAtItsLimit = 137;

const unexplained = failure(
  "engine_crashed",
  "The engine ended, and it is not installed any more to explain why.",
  "See the deployment's logs.",
);

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
