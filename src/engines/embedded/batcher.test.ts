import { expect, test } from "vitest";
import { Batcher } from "./batcher.ts";
import type { DecodeContext, StepPart } from "./native.ts";
import type { Sampler } from "./samplers.ts";

const answerTokens = 3;

/** A context that computes nothing and remembers which sequences each step was made of. */
function recordingContext(slots: number) {
  const steps: number[][] = [];
  const sampler: Sampler = { sample: async () => 7, logprobs: async () => [], dispose: () => undefined };
  const context: DecodeContext = {
    ...{ slots, contextTokens: 100, batchTokens: 64 },
    async decode(parts: readonly StepPart[]) {
      steps.push(parts.map(({ sequence }) => sequence));
      return parts.map(({ isOutputWanted }, index) => (isOutputWanted ? index : -1));
    },
    createSampler: () => sampler,
    forget: () => true,
  };
  return { context, steps };
}

async function answer(batcher: Batcher, prompt: readonly number[]) {
  let tokens = 0;
  return await batcher.generate({
    ...{ prompt, scope: "ann", sampling: { temperature: 0, seed: 1 }, grammar: null, topLogprobs: null },
    signal: new AbortController().signal,
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
