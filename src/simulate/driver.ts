/**
 * Between control and the machines of a simulated world: observes, starts and ends as a driver does, and in times of trouble
 * does not answer, fails, answers late, or tells of a change late, twice or never. Decides nothing.
 */
import type { RecordedObservation } from "../core/instance.ts";
import type { Coverage } from "./coverage.ts";
import { type Machines, observationOf, type Process, type ProcessSpec } from "./machines.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** As the deadlines of the reconciler. */
const startDeadlineMs = 60_000;

export type StartCalls = {
  /** What control hears, by the deadline at the latest. */
  answered(isStarted: boolean): void;
  /** What came of it in truth; after `answered` where the deadline had passed. */
  settled(isStarted: boolean): void;
};

export class Driver {
  /** Until then nothing goes as it should. */
  troubleUntilMs = 0;
  /** GPUs of starts that have not been answered yet, by instance: nobody can know that they stay free. */
  readonly awaited = new Map<string, readonly string[]>();
  /** Something has changed by itself. */
  onChange: (deploymentId: string) => void = () => undefined;
  readonly #time: Timeline;
  readonly #machines: Machines;
  readonly #random: Random;
  readonly #coverage: Coverage;

  constructor(time: Timeline, machines: Machines, random: Random, coverage: Coverage) {
    this.#time = time;
    this.#machines = machines;
    this.#random = random;
    this.#coverage = coverage;
    machines.onChange = ({ deploymentId }) => this.#notify(deploymentId);
  }

  /** Everything there is; null when it does not answer. */
  observe(): Process[] | null {
    if (this.#fails(0.3)) {
      this.#coverage.count("driver did not answer");
      return null;
    }
    return [...this.#machines.processes.values()];
  }

  describe(process: Process, clockMs: number): RecordedObservation {
    return observationOf(process, clockMs, this.#time.nowMs);
  }

  /** @param isWanted false once whoever asked has crashed: what had not begun by then never does */
  start(spec: ProcessSpec, loadMs: number, isWanted: () => boolean, calls: StartCalls): void {
    const isTroubled = this.#time.nowMs < this.troubleUntilMs;
    const luck = isTroubled ? this.#random.next() : 1;
    if (luck < 0.25) {
      this.#coverage.count("driver failed to start");
      this.awaited.set(spec.id, spec.placement.gpus);
      this.#time.after(10, () => {
        this.awaited.delete(spec.id);
        calls.answered(false);
        calls.settled(false);
      });
      return;
    }
    if (luck > 0.7) {
      this.#machines.start(spec, loadMs);
      calls.answered(true);
      calls.settled(true);
      return;
    }
    const isLate = luck > 0.6;
    this.#coverage.count(isLate ? "driver started after its deadline" : "driver started late");
    const tookMs = isLate ? startDeadlineMs + this.#random.whole(1, 20_000) : this.#random.whole(100, 20_000);
    this.awaited.set(spec.id, spec.placement.gpus);
    if (isLate) this.#time.after(startDeadlineMs, () => calls.answered(false));
    this.#time.after(tookMs, () => {
      this.awaited.delete(spec.id);
      if (!isWanted()) return;
      this.#machines.start(spec, loadMs);
      if (!isLate) calls.answered(true);
      calls.settled(true);
    });
  }

  /** What is not there any more has ended. */
  end(instanceId: string, then: (isEnded: boolean) => void): void {
    const process = this.#machines.processes.get(instanceId);
    if (this.#fails(0.3)) {
      this.#coverage.count("driver failed to end");
      this.#time.after(10, () => then(false));
    } else if (process === undefined) this.#time.after(1, () => then(true));
    else this.#machines.end(process, this.#random.whole(10, 5_000), () => then(true));
  }

  #notify(deploymentId: string): void {
    if (!this.#fails(0.5)) {
      this.onChange(deploymentId);
      return;
    }
    this.#coverage.count("driver's notice lost, late or twice");
    for (let times = this.#random.whole(0, 2); times > 0; times -= 1)
      this.#time.after(this.#random.whole(1, 2_000), () => this.onChange(deploymentId));
  }

  #fails(share: number): boolean {
    return this.#time.nowMs < this.troubleUntilMs && this.#random.next() < share;
  }
}
