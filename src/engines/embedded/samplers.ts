/**
 * How tokens are chosen: llama.cpp's samplers, one for each answer. Owns their reuse: what they hold is native memory that the
 * collector of garbage does not see.
 */
import type { Addon, AddonContext, AddonModel, AddonSampler } from "./addon.ts";

/** How the next token is chosen; what is left out is not applied. Read by the native sampler under these names. */
export type SamplerSettings = {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  /** 0..2^32-2. */
  readonly seed: number;
  readonly repeatPenalty?: number;
  readonly repeatPenaltyPresencePenalty?: number;
  readonly repeatPenaltyFrequencyPenalty?: number;
  /** Present with any penalty: how many tokens back it looks, and those that came before the first one. */
  readonly repeatPenaltyMaxTokens?: number;
  readonly repeatPenaltyTokens?: Uint32Array;
  readonly tokenBiasKeys?: Uint32Array;
  readonly tokenBiasValues?: Float32Array;
};

/** llama.cpp does not take a grammar: it is too large for it. */
export class GrammarError extends Error {}

/** A sampler of one answer: it remembers what it has chosen (penalties, grammar, random state). One call at a time. */
export type Sampler = {
  /** Chooses from an output of the last step. */
  sample(output: number): Promise<number>;
  /** Logprobs of the whole, unmodified distribution at an output of the last step, likeliest first. */
  logprobs(output: number): Promise<readonly { token: number; logprob: number }[]>;
  /** To be called once, when no call is under way. */
  dispose(): void;
};

/** What llama.cpp gives a token that cannot come; OpenAI's value for it in logprobs. */
export const impossibleLogprob = -9999;

/** Seeds of requests are below this one, see SamplerSettings. */
const neutral = { temperature: 0, seed: 0xffffffff };

/** The samplers of one context, as many as there ever were answers at once. */
export class Samplers {
  readonly #addon: Addon;
  readonly #model: AddonModel;
  readonly #context: AddonContext;
  readonly #free: AddonSampler[] = [];

  constructor(addon: Addon, model: AddonModel, context: AddonContext) {
    this.#addon = addon;
    this.#model = model;
    this.#context = context;
  }

  /** @throws GrammarError when the grammar cannot be used */
  create(settings: SamplerSettings, grammar: string | null): Sampler {
    const context = this.#context;
    const sampler = this.#take(
      grammar === null ? settings : { ...settings, grammarEvaluationState: this.#createState(grammar) },
    );
    let plain: AddonSampler | null = null;
    return {
      async sample(output) {
        const token = await context.sampleToken(output, sampler);
        if (token < 0) throw new Error("No token could be chosen.");
        return token;
      },
      logprobs: async (output) => {
        plain ??= this.#take({ temperature: 0 });
        const [, flat] = await context.sampleToken(output, plain, true);
        return readLogprobs(flat);
      },
      dispose: () => {
        this.#giveBack(sampler);
        if (plain !== null) this.#giveBack(plain);
      },
    };
  }

  #take(settings: object): AddonSampler {
    const sampler = this.#free.pop() ?? new this.#addon.AddonSampler(this.#model);
    // A sampler keeps its random state as long as the seed stays the same: another seed in between starts it anew.
    sampler.applyConfig(neutral);
    sampler.applyConfig(settings);
    return sampler;
  }

  #giveBack(sampler: AddonSampler): void {
    sampler.applyConfig(neutral);
    this.#free.push(sampler);
  }

  /** Grammar states cannot be used again: garbage is collected after every few of them. */
  #createState(text: string): object {
    grammarStates++;
    if (grammarStates % grammarStatesPerCollection === 0) globalThis.gc?.();
    try {
      const grammar = new this.#addon.AddonGrammar(text, { addonExports: this.#addon });
      return new this.#addon.AddonGrammarEvaluationState(this.#model, grammar);
    } catch (error) {
      throw new GrammarError("llama.cpp does not take this grammar.", { cause: error });
    }
  }
}

let grammarStates = 0;
const grammarStatesPerCollection = 64;

/** `flat` alternates token and probability, likeliest first. */
function readLogprobs(flat: readonly number[]): { token: number; logprob: number }[] {
  const list: { token: number; logprob: number }[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const probability = flat[at + 1] ?? 0;
    list.push({
      token: flat[at] ?? 0,
      logprob: probability > 0 ? Math.log(probability) : impossibleLogprob,
    });
  }
  return list;
}
