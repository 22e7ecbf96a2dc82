/**
 * One trace against one policy: gives a deployment its requests at their times, and says what came of it. Everything happens
 * in virtual time, so the same trace and settings always give the same answer.
 */
import { Timeline } from "../simulate/timeline.ts";
import { Deployment, type DeploymentOptions } from "./deployment.ts";
import type { Policy } from "./policy.ts";
import { Series, type Step } from "./series.ts";
import { type Score, Tally } from "./tally.ts";
import type { TraceRequest } from "./trace.ts";

export type Outcome = {
  readonly score: Score;
  /** From the first request to the last answer. */
  readonly lastedMs: number;
  readonly stepMs: number;
  readonly steps: readonly Step[];
};

const sampleMs = 5_000;

export class Replay {
  readonly #timeline = new Timeline();
  readonly #tally = new Tally();
  readonly #series = new Series(sampleMs);
  readonly #deployment: Deployment;
  #arrived = 0;
  #isOver = false;

  constructor(options: DeploymentOptions, policy: Policy, tallies: readonly Tally[] = []) {
    this.#deployment = new Deployment(this.#timeline, options, policy, [this.#tally, ...tallies]);
    this.#sampleForEver();
  }

  /** Call in the order of their times. */
  arrive(request: TraceRequest): void {
    this.#timeline.runTo(request.atMs);
    this.#arrived += 1;
    this.#deployment.arrive(request);
  }

  /** Lets time pass until every request has been answered or refused. */
  finish(): Outcome {
    while (this.#deployment.open > 0) this.#timeline.step(Number.POSITIVE_INFINITY);
    this.#sample();
    this.#isOver = true;
    this.#deployment.end();
    const { stepMs, steps } = this.#series;
    return { score: this.#tally.score(), lastedMs: this.#timeline.nowMs, stepMs, steps };
  }

  #sampleForEver(): void {
    this.#timeline.after(sampleMs, () => {
      if (this.#isOver) return;
      this.#sample();
      this.#sampleForEver();
    });
  }

  #sample(): void {
    const { live, queued } = this.#deployment;
    this.#series.add({ arrived: this.#arrived, instances: live, queued });
    this.#arrived = 0;
  }
}
