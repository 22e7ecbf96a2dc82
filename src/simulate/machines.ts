/**
 * The machines of a simulated world as they truly are: GPUs, and the processes on them. Control sees them as through a
 * driver; the judge sees them as they are. Ends processes, never decides to.
 */
import { failure } from "../core/failure.ts";
import type { NodeCapacity, Placement, RecordedObservation } from "../core/instance.ts";
import type { Coverage } from "./coverage.ts";
import type { Timeline } from "./timeline.ts";

/** What its arguments do to an engine: it works; it says that it is ready and answers nothing; it ends while it loads. */
export type Quality = "good" | "mute" | "crashes";

export type ProcessSpec = {
  readonly id: string;
  readonly deploymentId: string;
  readonly placement: Placement;
  readonly slots: number;
  readonly quality: Quality;
};

export type Process = ProcessSpec & {
  readonly startedAtMs: number;
  state: "starting" | "running" | "exited";
  readyAtMs: number | null;
  /** Never becomes ready by itself. */
  hangs: boolean;
  /** Says that it is well and answers nothing. */
  isMute: boolean;
  isEnding: boolean;
};

const crash = failure("engine_crashed", "The engine ended.", "See the logs.");
/** How long a load may take before it is ended. */
const loadLimitMs = 90_000;

export class Machines {
  readonly processes = new Map<string, Process>();
  readonly #time: Timeline;
  readonly #coverage: Coverage;
  readonly #sizes: readonly number[];
  readonly #downMachines = new Set<string>();
  readonly #lostGpus = new Set<string>();
  #capacity: readonly NodeCapacity[] | null = null;
  isDiskFull = false;
  /** Called with what has changed by itself. */
  onChange: (process: Process) => void = () => undefined;
  /** Called when a process that served is gone. */
  onGone: (processId: string) => void = () => undefined;
  /** Called with a process that begins, before it does. */
  onStart: (process: Process) => void = () => undefined;

  constructor(time: Timeline, sizes: readonly number[], coverage: Coverage) {
    this.#time = time;
    this.#sizes = sizes;
    this.#coverage = coverage;
  }

  capacity(): readonly NodeCapacity[] {
    this.#capacity ??= this.#sizes.map((size, index) => {
      const node = `m${index}`;
      const gpus = Array.from({ length: size }, (_, gpu) => {
        const id = `${node}-g${gpu}`;
        const isLost = this.#downMachines.has(node) || this.#lostGpus.has(id);
        const base = { id, type: "H100-80GB", name: "H100", memoryBytes: 8e10, usable: !isLost };
        return isLost ? { ...base, reason: "not there", outage: "lost" as const } : { ...base, reason: null };
      });
      return { node, cpuCores: 8, memoryBytes: 2 ** 36, gpus };
    });
    return this.#capacity;
  }

  occupied(): Set<string> {
    return new Set([...this.processes.values()].flatMap(({ placement }) => placement.gpus));
  }

  start(spec: ProcessSpec, loadMs: number): void {
    const started: Process = {
      ...spec,
      startedAtMs: this.#time.nowMs,
      state: "starting",
      readyAtMs: null,
      hangs: false,
      isMute: spec.quality === "mute",
      isEnding: false,
    };
    this.onStart(started);
    this.processes.set(spec.id, started);
    this.#time.after(loadMs, () => {
      if (started.state !== "starting" || started.hangs) return;
      if (started.quality === "crashes") {
        this.crash(started);
        return;
      }
      started.state = "running";
      started.readyAtMs = this.#time.nowMs;
      this.onChange(started);
    });
    this.#time.after(loadLimitMs, () => {
      if (started.state === "starting") this.crash(started);
    });
  }

  crash(process: Process): void {
    if (process.state === "exited" || !this.processes.has(process.id)) return;
    process.state = "exited";
    this.#coverage.count("engine crashed");
    this.onGone(process.id);
    this.onChange(process);
  }

  /** Told to end; it is gone a moment later, whoever still wants to know. */
  end(process: Process, tookMs: number, then: () => void): void {
    process.isEnding = true;
    this.#time.after(tookMs, () => {
      this.processes.delete(process.id);
      this.onGone(process.id);
      then();
    });
  }

  crashMachine(pick: number, downMs: number): void {
    const node = `m${pick % this.#sizes.length}`;
    this.#change(this.#downMachines, node, downMs);
    this.#coverage.count("machine crashed");
    // Nothing is left of its processes, not even that they have ended.
    for (const process of [...this.processes.values()].filter(({ placement }) => placement.node === node)) {
      process.state = "exited";
      this.processes.delete(process.id);
      this.onGone(process.id);
      this.onChange(process);
    }
  }

  loseGpu(pick: number, downMs: number): void {
    const gpus = this.capacity().flatMap((node) => node.gpus);
    this.#change(this.#lostGpus, gpus[pick % gpus.length]?.id ?? "", downMs);
    this.#coverage.count("GPU lost");
  }

  pick(which: number, state: Process["state"]): Process | undefined {
    const all = [...this.processes.values()].filter(
      (process) => process.state === state && !process.isEnding,
    );
    return all[which % all.length];
  }

  #change(away: Set<string>, id: string, downMs: number): void {
    away.add(id);
    this.#capacity = null;
    this.#time.after(downMs, () => {
      away.delete(id);
      this.#capacity = null;
    });
  }
}

export function observationOf(process: Process, clockMs: number, nowMs: number): RecordedObservation {
  const shift = clockMs - nowMs;
  const isRunning = process.state === "running";
  return {
    id: process.id,
    deploymentId: process.deploymentId,
    state: process.state,
    endpoint: { kind: "unix", path: `/${process.id}` },
    slots: isRunning ? process.slots : 0,
    contextTokens: isRunning ? 4096 : 0,
    loadProgress: null,
    note: null,
    placement: process.placement,
    startedAtMs: process.startedAtMs + shift,
    readyAtMs: process.readyAtMs === null ? null : process.readyAtMs + shift,
    failure: process.state === "exited" ? crash : null,
  };
}
