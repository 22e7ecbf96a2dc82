/**
 * How a replay went, over its time, for a picture: a bounded number of steps, which double in length when there are too many.
 * Draws nothing.
 */

/** Requests that came within a step; of instances and of the line the most there were. */
export type Step = { readonly arrived: number; readonly instances: number; readonly queued: number };

const mostSteps = 480;

export class Series {
  #steps: Step[] = [];
  #stepMs: number;
  /** Samples that have gone into the last step, of those that fill it. */
  #filled = 0;
  #samplesAStep = 1;

  /** @param sampleMs between two calls of `add` */
  constructor(sampleMs: number) {
    this.#stepMs = sampleMs;
  }

  get stepMs(): number {
    return this.#stepMs;
  }

  get steps(): readonly Step[] {
    return this.#steps;
  }

  add(sample: Step): void {
    const last = this.#steps.at(-1);
    if (last === undefined || this.#filled === this.#samplesAStep) {
      if (this.#steps.length === mostSteps) this.#halve();
      this.#steps.push(sample);
      this.#filled = 1;
    } else {
      this.#steps[this.#steps.length - 1] = join(last, sample);
      this.#filled += 1;
    }
  }

  #halve(): void {
    const steps: Step[] = [];
    for (let at = 0; at + 1 < this.#steps.length; at += 2) {
      const [one, other] = [this.#steps[at], this.#steps[at + 1]];
      if (one !== undefined && other !== undefined) steps.push(join(one, other));
    }
    this.#steps = steps;
    this.#stepMs *= 2;
    this.#samplesAStep *= 2;
  }
}

function join(a: Step, b: Step): Step {
  return {
    arrived: a.arrived + b.arrived,
    instances: Math.max(a.instances, b.instances),
    queued: Math.max(a.queued, b.queued),
  };
}
