import { expect, test } from "vitest";
import { Batcher, type Job } from "./batcher.ts";
import type { DecodeContext, StepPart } from "./native.ts";
import type { Sampler } from "./samplers.ts";

const answerTokens = 3;

/** A context that computes nothing and remembers what happened in which order, and the sequences of each step. */
function recordingContext(slots: number) {
  const steps: number[][] = [];
  const log: string[] = [];
  let samplersAtWork = 0;
  const sampler: Sampler = {
    async sample() {
      samplersAtWork += 1;
      await new Promise((resolve) => setImmediate(resolve));
      samplersAtWork -= 1;
      return 7;
    },
    logprobs: async () => [],
    dispose: () => log.push(samplersAtWork > 0 ? "disposed at work" : "disposed"),
  };
  const context: DecodeContext = {
    ...{ slots, contextTokens: 100, batchTokens: 64 },
    async decode(parts: readonly StepPart[]) {
      steps.push(parts.map(({ sequence }) => sequence));
      log.push("decode");
      await new Promise((resolve) => setImmediate(resolve));
      log.push("decoded");
      return parts.map(({ isOutputWanted }, index) => (isOutputWanted ? index : -1));
    },
    createSampler: () => sampler,
    forget: () => true,
  };
  return { context, steps, log };
}

const job: Omit<Job, "onToken"> = {
  ...{
    prompt: [1, 2],
    scope: "ann",
    sampling: { temperature: 0, seed: 1 },
    grammar: null,
    topLogprobs: null,
  },
  signal: new AbortController().signal,
  isLast: () => false,
};

async function answer(batcher: Batcher, prompt: readonly number[]) {
  let tokens = 0;
  return await batcher.generate({
    ...job,
    prompt,
    onToken: () => (++tokens === answerTokens ? "end" : "more"),
  });
}

test("a step's parts follow in the order of sequences, whoever came first", async () => {
  const { context, steps } = recordingContext(3);
  const batcher = new Batcher(context);
  const prompts = [1, 2, 3].map((word) => [word, word, word, word]);
  await Promise.all(prompts.map((prompt) => answer(batcher, prompt)));
  steps.length = 0;
  // Each goes to the slot that has its beginning, so the first to come is in the last sequence.
  const ends = await Promise.all(prompts.toReversed().map((prompt) => answer(batcher, prompt)));
  expect(ends.map((end) => end?.cachedTokens)).toEqual([3, 3, 3]);
  expect(steps.filter(({ length }) => length === 3).length).toBeGreaterThan(0);
  for (const step of steps) expect(step).toEqual(step.toSorted((a, b) => a - b));
});

test("a token is handed over while the next step is computed, and nothing is computed after one that says it is the last", async () => {
  const { context, log } = recordingContext(1);
  let asked = 0;
  const end = await new Batcher(context).generate({
    ...job,
    isLast: () => ++asked === answerTokens,
    onToken: () => {
      log.push("token");
      return log.filter((entry) => entry === "token").length === answerTokens ? "end" : "more";
    },
  });
  expect(end).toEqual({ cachedTokens: 0, reason: "ended" });
  const handed = ["decode", "token", "decoded"];
  expect(log).toEqual(["decode", "decoded", ...handed, ...handed, "token", "disposed"]);
});

test("a slow reader has one token computed ahead, holds up nobody, and ends between two steps", async () => {
  const { context, steps, log } = recordingContext(2);
  const batcher = new Batcher(context);
  const slow = Promise.withResolvers<"end">();
  const waiting = batcher.generate({ ...job, onToken: () => slow.promise });
  const others = [];
  for (let round = 0; round < 3; round += 1) others.push(await answer(batcher, [9, round]));
  expect(others.every((end) => end?.reason === "ended")).toBe(true);
  expect(steps.filter((step) => step.includes(0))).toHaveLength(2);
  const last = answer(batcher, [9, 9]);
  // The word comes in the middle of the other's step.
  setImmediate(() => slow.resolve("end"));
  expect((await waiting)?.reason).toBe("ended");
  await last;
  expect(log).not.toContain("disposed at work");
});
