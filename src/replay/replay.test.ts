import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom } from "../simulate/random.ts";
import { defaultFrontLimits } from "./front.ts";
import { renderPage } from "./page.ts";
import { renderPlot } from "./plot.ts";
import { berth } from "./policies/berth.ts";
import { policyKinds } from "./policies.ts";
import type { PolicyKind, Scaled } from "./policy.ts";
import { type Outcome, Replay } from "./replay.ts";
import { readService } from "./service-file.ts";
import { measuredTables } from "./service-table.ts";
import { ServiceTime } from "./service-time.ts";
import { Tally } from "./tally.ts";

const [table] = measuredTables;
if (table === undefined) throw new Error("there is no table");
const service = new ServiceTime(table);
const scaled: Scaled = { minInstances: 1, maxInstances: 4, slots: 8, loadMs: 30_000 };

function traffic(seed: number, requests: number, gapMs: number) {
  const random = createRandom(seed);
  let atMs = 0;
  return Array.from({ length: requests }, () => {
    atMs += random.whole(0, 2 * gapMs);
    return { atMs, promptTokens: random.whole(1, 3000), generatedTokens: random.whole(1, 300) };
  });
}

function replay(
  kind: PolicyKind,
  requests: ReturnType<typeof traffic>,
  change: Partial<Scaled> = {},
  tallies: readonly Tally[] = [],
): Outcome {
  const own = { ...scaled, ...change };
  const options = { ...own, gpusAnInstance: 2, service, limits: defaultFrontLimits };
  const run = new Replay(options, kind.create(kind.defaults, own), tallies);
  for (const request of requests) run.arrive(request);
  return run.finish();
}

describe("a replay", () => {
  it.each(policyKinds)(
    "$name: every request is answered or refused, within the settings, the same each time",
    (kind) => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 20, max: 4000 }), (seed, gapMs) => {
          const requests = traffic(seed, 120, gapMs);
          const outcome = replay(kind, requests);
          expect(outcome.score.requests).toBe(requests.length);
          expect(outcome.steps.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(requests.length);
          for (const { instances } of outcome.steps) {
            expect(instances).toBeLessThanOrEqual(scaled.maxInstances);
            expect(instances).toBeGreaterThanOrEqual(scaled.minInstances);
          }
          expect(outcome.score.gpuHours * 3_600_000).toBeGreaterThanOrEqual(2 * outcome.lastedMs - 1);
          expect(replay(kind, requests)).toEqual(outcome);
        }),
        { numRuns: 8 },
      );
    },
  );

  it("counts each GPU of what is there, and what is loading", () => {
    const outcome = replay(berth, traffic(1, 50, 100), { minInstances: 3, maxInstances: 3 });
    expect(outcome.score.gpuHours).toBeCloseTo((3 * 2 * outcome.lastedMs) / 3_600_000);
  });

  it("adds up over the parts of its time", () => {
    const parts = [new Tally(0, 60_000), new Tally(60_000)];
    const { score } = replay(berth, traffic(2, 200, 600), {}, parts);
    const scores = parts.map((part) => part.score());
    expect(scores.reduce((sum, part) => sum + part.requests, 0)).toBe(score.requests);
    expect(scores.reduce((sum, part) => sum + part.gpuHours, 0)).toBeCloseTo(score.gpuHours);
  });

  it("wakes from zero for the first request, which waits for the load", () => {
    const { score, steps } = replay(berth, traffic(3, 1, 1), { minInstances: 0 });
    expect(score).toMatchObject({ requests: 1, refused: 0, share: 0 });
    expect(score.waitedMs.p50).toBeGreaterThan(30_000);
    expect(score.waitedMs.p50).toBeLessThan(32_000);
    expect(Math.max(...steps.map(({ instances }) => instances))).toBe(1);
  });

  it("refuses at once what would wait longer than a request may", () => {
    const { score } = replay(berth, traffic(4, 5, 1), { minInstances: 0, loadMs: 500_000 });
    expect(score).toMatchObject({ requests: 5, refused: 5, share: 0 });
  });
});

describe("what is shown of it", () => {
  const outcome = replay(berth, traffic(5, 3000, 400));

  it("fits a terminal, and has a picture of each", () => {
    const plot = renderPlot(outcome, 80);
    for (const line of plot.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    for (const title of ["requests a second", "instances", "requests waiting"]) expect(plot).toContain(title);
    expect(plot).toContain("█");
  });

  it("is bounded, however long it lasted", () => {
    const long = replay(berth, traffic(6, 200, 200_000));
    expect(long.steps.length).toBeLessThanOrEqual(480);
    expect(long.steps.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(200);
  });

  it("is a page that runs nothing and fetches nothing, whatever the names are", () => {
    const page = renderPage(["from <b>there</b>"], [{ name: "<script>alert(1)</script>", outcome }]);
    expect(page).not.toMatch(/<script|<b>|https?:|src=/);
    expect(page.match(/<svg/g)).toHaveLength(3);
  });
});

describe("own measurements", () => {
  it("are read, or it is said what is wrong", () => {
    expect(readService('{"prompt_ms":{"1000":90,"100":10},"token_ms":{"1":20}}')).toEqual({
      name: "own measurements",
      promptMs: [
        [100, 10],
        [1000, 90],
      ],
      tokenMs: [[1, 20]],
    });
    expect(readService("{")).toContain("It is no JSON");
    expect(readService('{"prompt_ms":{"0":1},"token_ms":{"1":20}}')).toContain("prompt_ms");
    expect(readService('{"prompt_ms":{},"token_ms":{"1":20}}')).toContain("at least one amount");
  });

  it("go on as straight lines beyond what was measured", () => {
    const own = new ServiceTime({
      name: "own",
      promptMs: [
        [100, 10],
        [200, 30],
      ],
      tokenMs: [[1, 20]],
    });
    expect([own.promptMs(50), own.promptMs(150), own.promptMs(400)]).toEqual([10, 20, 70]);
    expect([own.tokenMs(1), own.tokenMs(50)]).toEqual([20, 20]);
  });
});
