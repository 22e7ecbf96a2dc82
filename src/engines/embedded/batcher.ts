/**
 * Serves several requests with one model at once: continuous batching. Owns the slots and the loop that feeds the context,
 * one step after the other; each step computes one token for every answer in progress and a share of the waiting prompts.
 * Tokens are handed over while the next step is computed already. A job that is cancelled, or whose reader is slow, never
 * holds up the others. Knows tokens only; text is not its matter.
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
  /** Whether the token ends the answer, as far as it tells itself: nothing is computed after it then. Asked in order, too. */
  isLast(token: number): boolean;
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
  /** What came of the pause, until the loop takes it up. */
  outcome: { word: "more" | "end" } | { error: unknown } | null;
  /** The token chosen last, until it is handed over. */
  chosen: TokenStep | null;
  /** Nothing is computed for it any more. */
  isComplete: boolean;
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
        outcome: null,
        chosen: null,
        isComplete: false,
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
      for (const running of this.#running) this.#takeUp(running);
      const ready = [...this.#running].filter(({ isPaused, isComplete }) => !isPaused && !isComplete);
      if (ready.length === 0) {
        this.#handOver();
        if (this.#running.size > 0 && this.#areAllPaused()) await bell;
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

  /** Between two steps, since a sampler that is at work must not be taken away. */
  #takeUp(running: Running): void {
    const { outcome, job } = running;
    running.outcome = null;
    if (job.signal.aborted) running.finish({ error: job.signal.reason });
    else if (outcome !== null && "error" in outcome) running.finish(outcome);
    else if (outcome !== null) this.#settle(running, outcome.word);
  }

  #areAllPaused(): boolean {
    for (const { isPaused } of this.#running) if (!isPaused) return false;
    return true;
  }

  async #step(ready: readonly Running[]): Promise<void> {
    for (const running of ready) this.#makeRoom(running);
    const taking = this.#plan(ready);
    const parts: StepPart[] = taking.map(({ running, take }) => ({
      sequence: running.sequence,
      position: running.slot.tokens.length,
      tokens: running.pending.length === take ? running.pending : running.pending.slice(0, take),
      isOutputWanted: take === running.pending.length,
    }));
    const started = performance.now();
    const computed = this.#context.decode(parts);
    this.#handOver();
    const outputs = await computed;
    this.#adapt(taking, performance.now() - started);
    for (const { running, take } of taking) {
      for (let at = 0; at < take; at += 1) running.slot.tokens.push(running.pending[at] ?? 0);
      running.pending = running.pending.slice(take);
    }
    // Who ended when its last token was handed over needs no further one.
    const asked = taking.flatMap(({ running }, index) => {
      const output = outputs[index] ?? -1;
      return output === -1 || !this.#running.has(running) ? [] : [{ running, output }];
    });
    // llama.cpp sorts a step's outputs in place when the first of them is read, so that one must be read alone: read
    // side by side, each sampler would see the others' rows half sorted.
    const [first, ...others] = asked;
    if (first !== undefined) await this.#choose(first.running, first.output);
    if (others.length > 0)
      await Promise.all(others.map(({ running, output }) => this.#choose(running, output)));
  }

  /** How many of its tokens each job computes in the next step. */
  #plan(ready: readonly Running[]): readonly { running: Running; take: number }[] {
    const generating = ready.filter((running) => !running.isPrompt);
    const waiting = ready.filter((running) => running.isPrompt);
    const takes = planBatch(
      generating.length,
      waiting.map((running) => running.pending.length),
      this.#promptBudget,
      this.#context.batchTokens,
    );
    // llama.cpp computes together what follows in the order of sequences, and the rest of the batch by itself, as if it
    // were another step: out of order, several answers cost as much as one after the other.
    return [
      ...generating.map((running) => ({ running, take: 1 })),
      ...waiting.map((running, index) => ({ running, take: takes[index] ?? 0 })),
    ]
      .filter(({ take }) => take > 0)
      .toSorted((a, b) => a.running.sequence - b.running.sequence);
  }

  #adapt(taking: readonly { running: Running; take: number }[], tookMs: number): void {
    const prompts = taking.filter(({ running }) => running.isPrompt);
    const promptTokens = prompts.reduce((sum, { take }) => sum + take, 0);
    const step = { promptTokens, answers: taking.length - prompts.length, tookMs };
    const most = Math.min(this.#context.batchTokens, this.#options.prefillTokens);
    this.#promptBudget = Math.min(most, nextPromptBudget(this.#promptBudget, step, most));
  }

  /** Only here, between two steps, may a slot's tokens be dropped, and only then does it change its scope. */
  #makeRoom(running: Running): void {
    if (!running.isFresh) return;
    running.isFresh = false;
    const { slot, sequence, job } = running;
    // The step that was under way when the slot was chosen may have failed since, and nothing is left of it then.
    const isLost = slot.tokens.length < running.cachedTokens;
    const isKept =
      !isLost &&
      (slot.tokens.length === running.cachedTokens || this.#forget(slot, sequence, running.cachedTokens));
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

  /** An error here is this job's alone. */
  async #choose(running: Running, output: number): Promise<void> {
    const { job } = running;
    try {
      const token = await running.sampler.sample(output);
      const logprobs = job.topLogprobs === null ? null : await this.#logprobs(running, output, token);
      running.isPrompt = false;
      running.pending = [token];
      running.chosen = { token, logprobs };
      running.isComplete = this.#isFull(running.slot) || job.isLast(token);
    } catch (error) {
      running.finish({ error });
    }
  }

  /** Gives every job the token that was chosen for it, unless it is not done with the one before. */
  #handOver(): void {
    for (const running of this.#running) {
      const { chosen, isPaused, job } = running;
      if (chosen === null || isPaused) continue;
      running.chosen = null;
      try {
        const answer = job.onToken(chosen);
        if (answer instanceof Promise) this.#pause(running, answer);
        else this.#settle(running, answer);
      } catch (error) {
        running.finish({ error });
      }
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
      .then(
        (word) => {
          running.outcome = { word };
        },
        (error: unknown) => {
          running.outcome = { error };
        },
      )
      .finally(() => {
        running.isPaused = false;
        this.#ring();
      });
  }

  /** After a token was handed over. */
  #settle(running: Running, word: "more" | "end"): void {
    if (word === "end") this.#end(running, "ended");
    else if (running.isComplete && running.chosen === null) this.#end(running, "full");
  }

  /** The token chosen last counts too, although nothing is computed from it: prompt and answer share the context. */
  #isFull(slot: Slot): boolean {
    return slot.tokens.length + 1 >= this.#context.contextTokens;
  }

  #end(running: Running, reason: JobEnd["reason"]): void {
    running.finish({ end: { cachedTokens: running.cachedTokens, reason } });
  }
}
