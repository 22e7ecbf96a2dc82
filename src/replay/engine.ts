/**
 * One instance's engine in virtual time, with continuous batching: prompts are computed in the order they came in, a bounded
 * number of tokens a step, while every request that is past its prompt gets a token each step. Owns the steps; must not know
 * slots, who waits before the engine, or why there is an instance.
 *
 * Steps that only give tokens are all alike until a request ends or comes in, so they are one event however many they are.
 */
import type { Timeline } from "../simulate/timeline.ts";
import { type ServiceTime, tokensAStep } from "./service-time.ts";

/** A request as the engine sees it. */
export type Job = {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** The first token is there. */
  onFirstToken(): void;
  /** The last token is there. */
  onDone(): void;
};

type Prompt = { readonly job: Job; computed: number };
/** Steps that are all alike. */
type Run = {
  readonly startMs: number;
  readonly stepMs: number;
  readonly steps: number;
  readonly hasPrompts: boolean;
};
type Answer = { readonly job: Job; readonly lastStep: number };

export class Engine {
  readonly #service: ServiceTime;
  readonly #timeline: Timeline;
  readonly #prompts: Prompt[] = [];
  #answers: Answer[] = [];
  /** Steps that gave tokens. */
  #steps = 0;
  /** What is under way; null when there is nothing to do. Another object is another run: what was due for it is void. */
  #run: Run | null = null;

  constructor(service: ServiceTime, timeline: Timeline) {
    this.#service = service;
    this.#timeline = timeline;
  }

  /** Requests whose prompts have not begun. */
  get unstarted(): number {
    return this.#prompts.reduce((sum, { computed }) => sum + (computed === 0 ? 1 : 0), 0);
  }

  add(job: Job): void {
    this.#prompts.push({ job, computed: 0 });
    const run = this.#run;
    if (run === null) this.#begin();
    else if (!run.hasPrompts) this.#cut(run);
  }

  /** A prompt has come in: it is begun with the next step. */
  #cut(run: Run): void {
    const begun = Math.max(1, Math.ceil((this.#timeline.nowMs - run.startMs) / run.stepMs));
    if (begun < run.steps) this.#goOn({ ...run, steps: begun });
  }

  #begin(): void {
    const startMs = this.#timeline.nowMs;
    const answering = this.#answers.length;
    if (this.#prompts.length > 0) {
      const stepMs = this.#service.mixedMs(this.#takePrompts(), answering);
      this.#goOn({ startMs, stepMs, steps: 1, hasPrompts: true });
    } else if (answering > 0) {
      const next = this.#answers.reduce(
        (least, { lastStep }) => Math.min(least, lastStep),
        Number.POSITIVE_INFINITY,
      );
      const stepMs = this.#service.tokenMs(answering);
      this.#goOn({ startMs, stepMs, steps: next - this.#steps, hasPrompts: false });
    } else this.#run = null;
  }

  #goOn(run: Run): void {
    this.#run = run;
    this.#timeline.at(run.startMs + run.steps * run.stepMs, () => {
      if (this.#run === run) this.#end(run.steps);
    });
  }

  /** Fills a step with prompts. @returns what they take */
  #takePrompts(): number {
    let left = tokensAStep;
    let fresh = 0;
    let ms = 0;
    for (const prompt of this.#prompts) {
      if (left === 0) break;
      const tokens = Math.min(left, prompt.job.promptTokens - prompt.computed);
      if (prompt.computed === 0) fresh += tokens;
      else ms += this.#service.chunkMs(prompt.computed, tokens);
      prompt.computed += tokens;
      left -= tokens;
    }
    return fresh === 0 ? ms : ms + this.#service.promptMs(fresh);
  }

  #end(steps: number): void {
    this.#steps += steps;
    const answers: Answer[] = [];
    const ended: Job[] = [];
    for (const answer of this.#answers) {
      if (answer.lastStep <= this.#steps) ended.push(answer.job);
      else answers.push(answer);
    }
    this.#answers = answers;
    const begun: Job[] = [];
    while (this.#prompts[0] !== undefined && this.#prompts[0].computed >= this.#prompts[0].job.promptTokens) {
      const { job } = this.#prompts[0];
      this.#prompts.shift();
      begun.push(job);
      if (job.generatedTokens > 1) answers.push({ job, lastStep: this.#steps + job.generatedTokens - 1 });
      else ended.push(job);
    }
    // The next step first: whoever hears of a free slot may send a request at once, which is for the step after.
    this.#begin();
    for (const job of begun) job.onFirstToken();
    for (const job of ended) job.onDone();
  }
}
