/** The engine's pure decisions: capacity, slots, batches, stops. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kvBytesPerToken, planCapacity } from "./capacity.ts";
import { chooseSlot, nextPromptBudget, planBatch, type SlotState } from "./slots.ts";
import { StopCutter } from "./stops.ts";

describe("kvBytesPerToken", () => {
  it("counts keys and values of all layers in half precision", () => {
    const attention = { head_count: 9, head_count_kv: 3 };
    expect(kvBytesPerToken({ block_count: 30, embedding_length: 576, attention })).toBe(
      30 * 3 * (64 + 64) * 2,
    );
    expect(kvBytesPerToken({ block_count: 2, embedding_length: 64, attention: { head_count: 2 } })).toBe(512);
  });

  it("takes explicit sizes, heads that differ by layer, and latent attention", () => {
    const attention = { head_count: 4, head_count_kv: [1, 0, 2], key_length: 256, value_length: 128 };
    expect(kvBytesPerToken({ block_count: 3, embedding_length: 1, attention })).toBe(3 * (256 + 128) * 2);
    const latent = { block_count: 2, attention: { kv_lora_rank: 512 }, rope: { dimension_count: 64 } };
    expect(kvBytesPerToken(latent)).toBe(2 * 576 * 2);
    expect(kvBytesPerToken({})).toBe(0);
  });
});

describe("planCapacity", () => {
  const plan = (more: object) =>
    planCapacity({
      slots: 4,
      contextTokens: null,
      trainedTokens: 16_384,
      bytesPerToken: 1024,
      memoryBytes: 64 * 1024 * 1024,
      ...more,
    });

  it("gives everything where memory holds it", () => {
    expect(plan({})).toEqual({ slots: 4, contextTokens: 16_384, note: null });
  });

  it("shortens the context down to 8192 tokens first, then gives slots up", () => {
    expect(plan({ memoryBytes: 40 * 1024 * 1024 })).toMatchObject({ slots: 4, contextTokens: 10_240 });
    expect(plan({ memoryBytes: 16 * 1024 * 1024 })).toMatchObject({ slots: 2, contextTokens: 8192 });
    expect(plan({ memoryBytes: 1024 * 1024 })).toMatchObject({ slots: 1, contextTokens: 1024 });
  });

  it("keeps a context that was asked for, as far as one slot can have it", () => {
    expect(plan({ memoryBytes: 40 * 1024 * 1024, contextTokens: 16_384 })).toMatchObject({
      slots: 2,
      contextTokens: 16_384,
    });
    expect(plan({ contextTokens: 999_999 }).contextTokens).toBe(16_384);
  });

  it("says both numbers of a reduction", () => {
    expect(plan({ memoryBytes: 16 * 1024 * 1024 }).note).toBe(
      "16 MB of context memory hold 2 of the 4 slots asked for at 8192 of the model's 16384 tokens of context.",
    );
  });

  it("never promises more than memory holds", () => {
    fc.assert(
      fc.property(
        fc.record({
          slots: fc.integer({ min: 1, max: 256 }),
          contextTokens: fc.option(fc.integer({ min: 16, max: 200_000 })),
          trainedTokens: fc.integer({ min: 256, max: 1_000_000 }),
          bytesPerToken: fc.integer({ min: 1, max: 1_000_000 }),
          memoryBytes: fc.integer({ min: 256_000_000, max: 2_000_000_000 }),
        }),
        (asked) => {
          const { slots, contextTokens } = planCapacity(asked);
          expect(slots).toBeGreaterThanOrEqual(1);
          expect(slots).toBeLessThanOrEqual(asked.slots);
          expect(contextTokens).toBeGreaterThanOrEqual(1);
          const cells = Math.ceil(contextTokens / 256) * 256;
          if (slots > 1) expect(slots * cells * asked.bytesPerToken).toBeLessThanOrEqual(asked.memoryBytes);
        },
      ),
    );
  });
});

describe("chooseSlot", () => {
  const slot = (more: Partial<SlotState>): SlotState => ({
    scope: "a",
    tokens: [],
    isBusy: false,
    lastUse: 0,
    ...more,
  });

  it("prefers the longest shared beginning of its own scope", () => {
    const slots = [
      slot({ tokens: [1, 2] }),
      slot({ tokens: [1, 2, 3, 9] }),
      slot({ scope: "b", tokens: [1, 2, 3, 4, 5] }),
      slot({ tokens: [1, 2, 3, 4], isBusy: true }),
    ];
    expect(chooseSlot(slots, "a", [1, 2, 3, 4, 5])).toEqual({ index: 1, reused: 3 });
    expect(chooseSlot(slots, "b", [1, 2, 3, 4, 5])).toEqual({ index: 2, reused: 4 });
  });

  it("else takes the one unused for longest, never a busy one", () => {
    expect(chooseSlot([slot({ lastUse: 5 }), slot({ lastUse: 2 })], "x", [1])).toEqual({
      index: 1,
      reused: 0,
    });
    expect(chooseSlot([slot({ isBusy: true })], "a", [1])).toBeNull();
  });
});

describe("planBatch", () => {
  it("moves the oldest prompt on and lets short ones pass", () => {
    expect(planBatch(0, [1000, 50, 20], 100, 512)).toEqual([50, 30, 20]);
    expect(planBatch(0, [1000], 100, 512)).toEqual([100]);
    expect(planBatch(0, [1000, 10], 100, 512)).toEqual([90, 10]);
    expect(planBatch(3, [], 100, 512)).toEqual([]);
  });

  it("never exceeds budget, batch or prompt, and never idles while a prompt waits", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 256 }),
        fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 64 }),
        fc.integer({ min: 8, max: 512 }),
        (generating, waiting, budget) => {
          const takes = planBatch(generating, waiting, budget, 512);
          const total = takes.reduce((sum, take) => sum + take, 0);
          const room = Math.min(budget, 512 - generating);
          expect(total).toBe(
            Math.min(
              room,
              waiting.reduce((sum, length) => sum + length, 0),
            ),
          );
          for (const [index, take] of takes.entries()) expect(take).toBeLessThanOrEqual(waiting[index] ?? 0);
          if (waiting.length > 0) expect(takes[0]).toBeGreaterThan(0);
        },
      ),
    );
  });

  it("adapts the budget to how long a step takes", () => {
    const next = (budget: number, promptTokens: number, answers: number, tookMs: number) =>
      nextPromptBudget(budget, { promptTokens, answers, tookMs }, 512);
    expect(next(64, 64, 0, 10)).toBe(128);
    expect(next(64, 10, 0, 10)).toBe(64);
    expect(next(64, 64, 0, 200)).toBe(32);
    expect(next(8, 8, 0, 1000)).toBe(8);
    expect(next(512, 512, 0, 1)).toBe(512);
    // Answers alone take long: prompts may add as many tokens as there are answers.
    expect(next(64, 0, 16, 2000)).toBe(64);
    expect(next(64, 8, 56, 200)).toBe(64);
    expect(next(64, 64, 16, 2000)).toBe(32);
    expect(next(16, 16, 16, 2000)).toBe(16);
    expect(next(8, 8, 16, 2000)).toBe(8);
  });
});

describe("StopCutter", () => {
  const cut = (stops: string[], pieces: string[]) => {
    const cutter = new StopCutter(stops);
    let text = "";
    for (const piece of pieces) {
      const step = cutter.push(piece);
      text += step.text;
      if (step.met !== null) return text;
    }
    return text + cutter.end();
  };

  it("cuts as the whole text would be cut, however it comes in pieces", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 4 }), { maxLength: 20 }),
        fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
          maxLength: 4,
        }),
        (pieces, stops) => {
          const text = cut(stops, pieces);
          for (const stop of stops) expect(text).not.toContain(stop);
          const whole = pieces.join("");
          expect(whole.startsWith(text)).toBe(true);
          if (!stops.some((stop) => whole.includes(stop))) expect(text).toBe(whole);
        },
      ),
    );
  });
});
