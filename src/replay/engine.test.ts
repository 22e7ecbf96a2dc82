import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Timeline } from "../simulate/timeline.ts";
import { Engine } from "./engine.ts";
import { measuredTables } from "./service-table.ts";
import { ServiceTime } from "./service-time.ts";

const [table] = measuredTables;
if (table === undefined) throw new Error("there is no table");
const service = new ServiceTime(table);

type Asked = { readonly atMs: number; readonly promptTokens: number; readonly generatedTokens: number };

/** When each request had its first and its last token. */
function serve(asked: readonly Asked[]): { firstMs: number; doneMs: number }[] {
  const timeline = new Timeline();
  const engine = new Engine(service, timeline);
  const seen = asked.map(() => ({ firstMs: Number.NaN, doneMs: Number.NaN }));
  for (const [index, { atMs, promptTokens, generatedTokens }] of asked.entries()) {
    const one = seen[index];
    if (one === undefined) continue;
    timeline.at(atMs, () =>
      engine.add({
        promptTokens,
        generatedTokens,
        onFirstToken: () => {
          one.firstMs = timeline.nowMs;
        },
        onDone: () => {
          one.doneMs = timeline.nowMs;
        },
      }),
    );
  }
  timeline.runTo(1e9);
  return seen;
}

describe("one request", () => {
  it("takes its prompt's time, then a token's for each further token", () => {
    const [one] = serve([{ atMs: 5, promptTokens: 512, generatedTokens: 11 }]);
    expect(one?.firstMs).toBeCloseTo(5 + service.promptMs(512));
    expect(one?.doneMs).toBeCloseTo(5 + service.promptMs(512) + 10 * service.tokenMs(1));
  });

  it("has its long prompt computed in pieces that take as long together", () => {
    const [one] = serve([{ atMs: 0, promptTokens: 8192, generatedTokens: 1 }]);
    expect(one?.firstMs).toBeCloseTo(service.promptMs(8192));
    expect(one?.doneMs).toBe(one?.firstMs);
  });
});

describe("many requests", () => {
  it("that come while tokens are given are begun with the next step", () => {
    const [, late] = serve([
      { atMs: 0, promptTokens: 512, generatedTokens: 1000 },
      { atMs: 2000, promptTokens: 512, generatedTokens: 1 },
    ]);
    const early = 2000 + service.promptMs(512);
    expect(late?.firstMs).toBeGreaterThanOrEqual(early);
    expect(late?.firstMs).toBeLessThanOrEqual(early + service.tokenMs(1));
  });

  it("are all answered, in the order of their prompts, and none faster than by itself", () => {
    const request = fc.record({
      atMs: fc.integer({ min: 0, max: 20_000 }),
      promptTokens: fc.integer({ min: 1, max: 9_000 }),
      generatedTokens: fc.integer({ min: 1, max: 400 }),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 25 }), (unsorted) => {
        const asked = unsorted.toSorted((a, b) => a.atMs - b.atMs);
        const seen = serve(asked);
        let before = 0;
        for (const [index, { firstMs, doneMs }] of seen.entries()) {
          const { atMs = 0, promptTokens = 0, generatedTokens = 0 } = asked[index] ?? {};
          expect(firstMs).toBeGreaterThanOrEqual(before);
          // A short prompt may share a step, whose least time is that of a token.
          expect(firstMs).toBeGreaterThanOrEqual(
            atMs + Math.min(service.tokenMs(1), service.promptMs(promptTokens)) - 1e-6,
          );
          expect(doneMs - firstMs).toBeGreaterThanOrEqual((generatedTokens - 1) * service.tokenMs(1) - 1e-6);
          before = firstMs;
        }
      }),
    );
  });
});
