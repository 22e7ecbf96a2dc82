/**
 * Carries out what the plan of a simulated control decided, as `reconciler/act` does: short things at once, long ones later, each
 * of which leads to another look. Decides nothing.
 */
import type { Action } from "../core/action.ts";
import { type Deployment, noTries } from "../core/deployment.ts";
import { type Failure, failure } from "../core/failure.ts";
import { finishUpdate, proveRevision, revertUpdate } from "../core/revision.ts";
import type { Coverage } from "./coverage.ts";
import type { Disk } from "./disk.ts";
import type { Driver } from "./driver.ts";
import type { Machines, Quality } from "./machines.ts";
import type { Memory } from "./memory.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

export type ActsParts = {
  readonly time: Timeline;
  readonly random: Random;
  readonly disk: Disk;
  readonly driver: Driver;
  readonly machines: Machines;
  readonly coverage: Coverage;
  /** Milliseconds that engines of a deployment take to load. */
  readonly loadMs: ReadonlyMap<string, number>;
  now(): number;
  poke(id: string): void;
};

const diskFull = failure("storage_failed", "The disk is full.", "Free some room.");
const notStarted = failure("engine_crashed", "The engine could not be started.", "See the logs.");
const mute = failure("warm_up_failed", "It did not answer its first request.", "See the logs.");
const maxRetryEndMs = 60_000;

export class Acts {
  readonly #parts: ActsParts;
  readonly #memory: Memory;
  #ids: () => string;

  constructor(parts: ActsParts, memory: Memory, ids: () => string) {
    this.#parts = parts;
    this.#memory = memory;
    this.#ids = ids;
  }

  /** @param then called when the next action may begin; not at all once control has crashed */
  act(id: string, action: Action, then: () => void): void {
    const facts = this.#parts.disk.facts.get(id);
    if (facts === undefined) return;
    if (action.do === "start") {
      this.#start(facts, action, then);
      return;
    }
    switch (action.do) {
      case "resolve":
        this.#job(id, "resolve", () => ({ resolved: resolvedWeights, tries: noTries }));
        break;
      case "fetch":
        this.#job(id, "fetch", () => ({ weightsReadyAtMs: this.#parts.now(), tries: noTries }));
        break;
      case "cancel":
        this.#memory.jobs.delete(id);
        break;
      case "drain":
        this.#drain(action.instanceId);
        this.#parts.poke(id);
        break;
      case "remove":
        this.remove(action.instanceId, id);
        break;
      case "record-exit":
        this.#countTry(id, action.failure, action.of);
        this.#drain(action.instanceId);
        this.remove(action.instanceId, id);
        break;
      case "doubt":
      case "warm":
        this.#warm(id, action.instanceId);
        break;
      default:
        this.#write(id, action);
    }
    then();
  }

  #write(id: string, action: Action): void {
    const now = this.#parts.now();
    if (action.do === "finish-update")
      this.#record(id, ({ revisions }) => ({ revisions: finishUpdate(revisions) }));
    if (action.do === "revert-update")
      this.#record(id, ({ revisions }) => ({ revisions: revertUpdate(revisions, action.failure, now) }));
    if (action.do === "mark-run")
      this.#record(id, ({ revisions }) => ({
        ...{ hasRun: true, revisions: proveRevision(revisions, action.revision) },
      }));
    if (action.do === "clear-tries") this.#record(id, () => ({ tries: noTries }));
    if (action.do === "fail") this.#record(id, () => ({ failure: action.failure }));
    this.#parts.poke(id);
  }

  #drain(instanceId: string): void {
    const { disk, now } = this.#parts;
    const record = disk.records.get(instanceId);
    if (record !== undefined) disk.put({ ...record, intent: "drain", drainSinceMs: now() });
    this.#memory.holdings.leave(instanceId);
  }

  /** Goes on until it is gone, whatever the driver says. */
  remove(instanceId: string, id: string, failed = 0): void {
    const { removing } = this.#memory;
    if (failed === 0 && removing.has(instanceId)) return;
    removing.add(instanceId);
    this.#parts.driver.end(instanceId, (isEnded) => {
      if (this.#memory.isLost) return;
      if (!isEnded) {
        const waitMs = Math.min(maxRetryEndMs, 1_000 * 2 ** failed);
        this.#parts.time.after(waitMs, () => {
          if (!this.#memory.isLost) this.remove(instanceId, id, failed + 1);
        });
        return;
      }
      removing.delete(instanceId);
      this.#parts.disk.remove(instanceId);
      this.#memory.holdings.release(instanceId);
      this.#memory.warmFailures.delete(instanceId);
      this.#memory.answeredAtMs.delete(instanceId);
      this.#parts.poke(id);
      for (const other of this.#memory.waiting) this.#parts.poke(other);
    });
  }

  /** Writes a fact while the deployment still wants to run. */
  #record(id: string, change: (now: Deployment) => Partial<Deployment>): void {
    const before = this.#parts.disk.facts.get(id);
    if (before === undefined || before.desired !== "run") return;
    this.#parts.disk.putFacts({ ...before, ...change(before), updatedAtMs: this.#parts.now() });
    this.#parts.poke(id);
  }

  #countTry(id: string, cause: Failure, of: "update" | "deployment"): void {
    const next = (count: number) => ({
      count: count + 1,
      lastAtMs: this.#parts.now(),
      lastFailure: cause,
    });
    this.#record(id, ({ tries, revisions }) => {
      if (of === "deployment") return { tries: next(tries.count) };
      if (revisions.fallback === null) return {};
      return { revisions: { ...revisions, tries: next(revisions.tries.count) } };
    });
  }

  #job(id: string, kind: "resolve" | "fetch", result: () => Partial<Deployment>): void {
    const { jobs } = this.#memory;
    jobs.set(id, kind);
    this.#parts.time.after(this.#parts.random.whole(100, 20_000), () => {
      if (this.#memory.isLost || jobs.get(id) !== kind) return;
      jobs.delete(id);
      const isFull = kind === "fetch" && this.#parts.machines.isDiskFull;
      if (isFull) this.#countTry(id, diskFull, "deployment");
      else this.#record(id, result);
      this.#parts.poke(id);
    });
  }

  #start(facts: Deployment, { placement }: Extract<Action, { do: "start" }>, then: () => void): void {
    const { disk, driver, machines, random, coverage, loadMs } = this.#parts;
    const memory = this.#memory;
    const { id: deploymentId, config, revisions } = facts;
    const of = revisions.fallback === null ? "deployment" : "update";
    if (machines.isDiskFull) {
      this.#countTry(deploymentId, diskFull, of);
      then();
      return;
    }
    const id = this.#ids();
    if (!memory.holdings.take(id, deploymentId, placement)) {
      this.#parts.poke(deploymentId);
      then();
      return;
    }
    disk.put({
      ...{ id, deploymentId, intent: "run", createdAtMs: this.#parts.now(), drainSinceMs: null },
      ...{ revision: revisions.wanted.id, warmedAtMs: null, observed: null },
    });
    coverage.count("instance started");
    const isSlow = random.next() < 0.05;
    if (isSlow) coverage.count("slow load");
    const ownMs = (isSlow ? 4 : 1) * (loadMs.get(deploymentId) ?? 1_000);
    const spec = { id, deploymentId, placement, slots: config.maxBatchSize, quality: qualityOf(facts) };
    driver.start(spec, ownMs, () => !memory.isLost, {
      answered: (isStarted) => {
        if (memory.isLost) return;
        if (!isStarted) {
          disk.remove(id);
          this.#countTry(deploymentId, notStarted, of);
        }
        this.#parts.poke(deploymentId);
        then();
      },
      settled: (isStarted) => {
        if (!isStarted) memory.holdings.release(id);
      },
    });
  }

  #warm(id: string, instanceId: string): void {
    const { warming, answeredAtMs, warmFailures } = this.#memory;
    if (warming.has(instanceId)) return;
    warming.add(instanceId);
    this.#parts.time.after(this.#parts.random.whole(50, 2_000), () => {
      if (this.#memory.isLost) return;
      warming.delete(instanceId);
      const process = this.#parts.machines.processes.get(instanceId);
      if (process?.state === "running") {
        if (process.isMute) warmFailures.set(instanceId, mute);
        else answeredAtMs.set(instanceId, this.#parts.now());
      }
      this.#parts.poke(id);
    });
  }
}

const resolvedWeights = {
  commit: "a".repeat(40),
  files: [],
  engine: "simulated",
  entryFile: "m.safetensors",
  task: "text-generation",
};

/** An update's arguments say what becomes of an engine that is started with them. */
function qualityOf({ revisions }: Deployment): Quality {
  const [first = "good"] = revisions.wanted.args.extraArgs;
  return first === "mute" || first === "crashes" ? first : "good";
}
