/**
 * Serves several requests with one model at once: continuous batching. Owns the slots and the loop that feeds the context,
 * one step after the other; each step computes one token for every answer in progress and a share of the waiting prompts.
 * A job that is cancelled, or whose reader is slow, never holds up the others. Knows tokens only; text is not its matter.
 */
import type { DecodeContext, StepPart } from "./native.ts";
import { impossibleLogprob, type Sampler, type SamplerSettings } from "./samplers.ts";
import { chooseSlot, nextPromptBudget, planBatch } from "./slots.ts";

/** What one step gave a job. `logprobs` holds the likeliest tokens and the chosen one, when they were asked for. */
export type TokenStep = {
  readonly token: number;
  readonly logprobs: { readonly chosen: number; readonly top: readonly TokenLogprob[] } | null;
};
export type TokenLogprob = { readonly token: number; readonly logprob: number };

export type Job = {
  /** Not empty and shorter than the context. */
  readonly prompt: readonly number[];
  /** Tokens computed for one scope are never reused for another. */
  readonly scope: string;
  readonly sampling: SamplerSettings;
  /** GBNF that the answer must follow. */
  readonly grammar: string | null;
  /** How many alternatives to report with each token; null for no logprobs at all. */
  readonly topLogprobs: number | null;
  readonly signal: AbortSignal;
  /** Called with each token in order; the job pauses while a returned promise is pending. */
  onToken(step: TokenStep): "more" | "end" | Promise<"more" | "end">;
};

/** `full`: the context held no further token. */
export type JobEnd = { readonly cachedTokens: number; readonly reason: "ended" | "full" };

type Slot = { scope: string; tokens: number[]; isBusy: boolean; lastUse: number };

type Running = {
  readonly job: Job;
  readonly slot: Slot;
  readonly sequence: number;
  readonly sampler: Sampler;
  cachedTokens: number;
  /** True until its first step, in which the slot is brought to hold just what the prompt reuses. */
  isFresh: boolean;
  /** Tokens that are not computed yet: the rest of the prompt, or the token chosen last. */
  pending: readonly number[];
  isPrompt: boolean;
  isPaused: boolean;
  finish(outcome: { end: JobEnd } | { error: unknown }): void;
};

export type BatcherOptions = {
  /** Prompt tokens computed in one step, at most. */
  readonly prefillTokens: number;
  /** Whether a prompt's beginning is taken from an earlier one. */
  readonly reusesPrompts: boolean;
};

const defaultOptions: BatcherOptions = { prefillTokens: Number.POSITIVE_INFINITY, reusesPrompts: true };

export class Batcher {
  readonly #context: DecodeContext;
  readonly #slots: Slot[];
  readonly #options: BatcherOptions;
  readonly #running = new Set<Running>();
  #uses = 0;
  #promptBudget = 64;
  #isLooping = false;
  #ring: () => void = () => {};

  constructor(context: DecodeContext, options: BatcherOptions = defaultOptions) {
    this.#context = context;
    this.#options = options;
    this.#slots = Array.from({ length: context.slots }, () => ({
      scope: "",
      tokens: [],
      isBusy: false,
      lastUse: 0,
    }));
  }

  get contextTokens(): number {
    return this.#context.contextTokens;
  }

  /** Slots in use. */
  get busy(): number {
    return this.#slots.filter((slot) => slot.isBusy).length;
  }

  /**
   * Runs a job to its end. Null when every slot is busy. Rejects with the signal's reason once a cancelled job has left
   * its slot, with the error when the grammar cannot be read or the engine fails.
   */
  async generate(job: Job): Promise<JobEnd | null> {
    job.signal.throwIfAborted();
    const found = chooseSlot(this.#slots, job.scope, job.prompt);
    const choice = found === null || this.#options.reusesPrompts ? found : { ...found, reused: 0 };
    const slot = choice === null ? undefined : this.#slots[choice.index];
    if (choice === null || slot === undefined) return null;
    slot.isBusy = true;
    slot.lastUse = ++this.#uses;
    const ring = () => this.#ring();
    job.signal.addEventListener("abort", ring);
    let sampler: Sampler | null = null;
    try {
      sampler = this.#context.createSampler(job.sampling, job.grammar);
      return await this.#start(job, slot, choice, sampler);
    } finally {
      job.signal.removeEventListener("abort", ring);
      sampler?.dispose();
      slot.isBusy = false;
    }
  }

  #start(job: Job, slot: Slot, choice: { index: number; reused: number }, sampler: Sampler): Promise<JobEnd> {
    return new Promise((resolve, reject) => {
      const running: Running = {
        job,
        slot,
        sequence: choice.index,
        sampler,
        cachedTokens: choice.reused,
        isFresh: true,
        pending: job.prompt.slice(choice.reused),
        isPrompt: true,
        isPaused: false,
        finish: (outcome) => {
          this.#running.delete(running);
          if ("end" in outcome) resolve(outcome.end);
          else reject(outcome.error);
        },
      };
      this.#running.add(running);
      this.#ring();
      if (!this.#isLooping) void this.#loop();
    });
  }

  /** Runs while there is a job; its own failures end the jobs it was working for, never the process. */
  async #loop(): Promise<void> {
    this.#isLooping = true;
    while (this.#running.size > 0) {
      const bell = new Promise<void>((resolve) => {
        this.#ring = resolve;
      });
      for (const running of this.#running) {
        if (running.job.signal.aborted) running.finish({ error: running.job.signal.reason });
      }
      const ready = [...this.#running].filter((running) => !running.isPaused);
      if (ready.length === 0) {
        if (this.#running.size > 0) await bell;
        continue;
      }
      try {
        await this.#step(ready);
      } catch (error) {
        for (const running of ready) {
          this.#forget(running.slot, running.sequence, 0);
          running.finish({ error });
        }
      }
    }
    this.#isLooping = false;
  }

  async #step(ready: readonly Running[]): Promise<void> {
    for (const running of ready) this.#makeRoom(running);
    const generating = ready.filter((running) => !running.isPrompt);
    const waiting = ready.filter((running) => running.isPrompt);
    const budget = this.#promptBudget;
    const takes = planBatch(
      generating.length,
      waiting.map((running) => running.pending.length),
      budget,
      this.#context.batchTokens,
    );
    // llama.cpp computes together what follows in the order of sequences, and the rest of the batch by itself, as if it
    // were another step: out of order, several answers cost as much as one after the other.
    const taking = [
      ...generating.map((running) => ({ running, take: 1 })),
      ...waiting.map((running, index) => ({ running, take: takes[index] ?? 0 })),
    ]
      .filter(({ take }) => take > 0)
      .toSorted((a, b) => a.running.sequence - b.running.sequence);
    const parts: StepPart[] = taking.map(({ running, take }) => ({
      sequence: running.sequence,
      position: running.slot.tokens.length,
      tokens: running.pending.slice(0, take),
      isOutputWanted: take === running.pending.length,
    }));
    const started = performance.now();
    const outputs = await this.#context.decode(parts);
    const stepMs = performance.now() - started;
    const used = takes.reduce((sum, take) => sum + take, 0);
    const most = Math.min(this.#context.batchTokens, this.#options.prefillTokens);
    this.#promptBudget = Math.min(most, nextPromptBudget(budget, used, stepMs, most));
    for (const [index, { running, take }] of taking.entries()) {
      for (const token of parts[index]?.tokens ?? []) running.slot.tokens.push(token);
      running.pending = running.pending.slice(take);
    }
    const asked = taking.flatMap(({ running }, index) => {
      const output = outputs[index] ?? -1;
      return output === -1 ? [] : [{ running, output }];
    });
    // llama.cpp sorts a step's outputs in place when the first of them is read, so that one must be read alone: read
    // side by side, each sampler would see the others' rows half sorted.
    const [first, ...others] = asked;
    if (first !== undefined) await this.#choose(first.running, first.output);
    await Promise.all(others.map(({ running, output }) => this.#choose(running, output)));
  }

  /** Only here, between two steps, may a slot's tokens be dropped, and only then does it change its scope. */
  #makeRoom(running: Running): void {
    if (!running.isFresh) return;
    running.isFresh = false;
    const { slot, sequence, job } = running;
    const isKept =
      slot.tokens.length === running.cachedTokens || this.#forget(slot, sequence, running.cachedTokens);
    if (!isKept) {
      running.cachedTokens = 0;
      running.pending = job.prompt;
    }
    slot.scope = job.scope;
  }

  #forget(slot: Slot, sequence: number, from: number): boolean {
    const isKept = this.#context.forget(sequence, from);
    slot.tokens.length = isKept ? from : 0;
    return isKept;
  }

  /** Samples and hands the token over. An error here is this job's alone. */
  async #choose(running: Running, output: number): Promise<void> {
    const { job, slot } = running;
    try {
      const token = await running.sampler.sample(output);
      const logprobs = job.topLogprobs === null ? null : await this.#logprobs(running, output, token);
      running.isPrompt = false;
      running.pending = [token];
      const answer = job.onToken({ token, logprobs });
      if (answer instanceof Promise) this.#pause(running, answer);
      else if (answer === "end") this.#end(running, "ended");
      else if (this.#isFull(slot)) this.#end(running, "full");
    } catch (error) {
      running.finish({ error });
    }
  }

  async #logprobs(running: Running, output: number, token: number): Promise<TokenStep["logprobs"]> {
    const all = await running.sampler.logprobs(output);
    return {
      chosen: all.find((entry) => entry.token === token)?.logprob ?? impossibleLogprob,
      top: all.slice(0, running.job.topLogprobs ?? 0),
    };
  }

  #pause(running: Running, answer: Promise<"more" | "end">): void {
    running.isPaused = true;
    answer
      .then((word) => {
        if (word === "end") this.#end(running, "ended");
        else if (this.#isFull(running.slot)) this.#end(running, "full");
        running.isPaused = false;
      })
      .catch((error: unknown) => running.finish({ error }))
      .finally(() => this.#ring());
  }

  /** The token chosen last counts too, although nothing is computed from it: prompt and answer share the context. */
  #isFull(slot: Slot): boolean {
    return slot.tokens.length + 1 >= this.#context.contextTokens;
  }

  #end(running: Running, reason: JobEnd["reason"]): void {
    running.finish({ end: { cachedTokens: running.cachedTokens, reason } });
  }
}
