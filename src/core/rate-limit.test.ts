import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RateLimits } from "./rate-limit.ts";

const startMs = 1_700_000_000_000;
const account = {
  name: "ann",
  concurrentRequests: null,
  requestsPerMinute: null,
  tokensPerMinute: null,
};

/** As the door does it: counted only where nothing speaks against it. */
function enter(limits: RateLimits, name: string, tokens: number, nowMs: number) {
  const exceeded = limits.check(name, tokens, nowMs);
  if (exceeded === null) limits.enter(name, tokens, nowMs, false);
  return exceeded;
}

describe("what an account may use of a model", () => {
  test("requests at once: who leaves makes room, and an account without limits has none", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, concurrentRequests: 1 }]);
    expect(enter(limits, "ann", 10, startMs)).toBeNull();
    const refused = { limit: "concurrent_requests", allowed: 1, retryMs: null };
    expect(enter(limits, "ann", 10, startMs)).toEqual(refused);
    expect(enter(limits, "bob", 10, startMs)).toBeNull();
    limits.leave("ann", 10, 10, startMs, startMs);
    expect(enter(limits, "ann", 10, startMs)).toBeNull();
  });

  test("requests a minute: the answer says when the next one fits, and then it does", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, requestsPerMinute: 2 }]);
    enter(limits, "ann", 0, startMs);
    enter(limits, "ann", 0, startMs + 5000);
    const refused = enter(limits, "ann", 0, startMs + 10_000);
    expect(refused).toMatchObject({ limit: "requests_per_minute", allowed: 2, retryMs: 50_000 });
    expect(enter(limits, "ann", 0, startMs + 59_999)).not.toBeNull();
    expect(enter(limits, "ann", 0, startMs + 60_000)).toBeNull();
    expect(enter(limits, "ann", 0, startMs + 60_000)).not.toBeNull();
  });

  test("tokens a minute count what was used, not what was guessed", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, tokensPerMinute: 100 }]);
    enter(limits, "ann", 90, startMs);
    expect(enter(limits, "ann", 20, startMs + 1000)).toMatchObject({ limit: "tokens_per_minute" });
    limits.leave("ann", 90, 30, startMs, startMs + 2000);
    expect(enter(limits, "ann", 70, startMs + 2000)).toBeNull();
    limits.leave("ann", 70, 400, startMs + 2000, startMs + 3000);
    expect(enter(limits, "ann", 1, startMs + 60_000)).not.toBeNull();
    expect(enter(limits, "ann", 1, startMs + 63_000)).toBeNull();
  });

  test("one request that is larger than the limit is let in alone; nobody is with a limit of none", () => {
    const limits = new RateLimits();
    limits.setLimits([
      { ...account, tokensPerMinute: 100 },
      { ...account, name: "none", tokensPerMinute: 0 },
    ]);
    expect(enter(limits, "ann", 500, startMs)).toBeNull();
    expect(enter(limits, "ann", 1, startMs)).not.toBeNull();
    expect(enter(limits, "none", 1, startMs)).not.toBeNull();
  });

  test("a request that comes back is not refused and counts once", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, concurrentRequests: 1, requestsPerMinute: 1 }]);
    enter(limits, "ann", 5, startMs);
    limits.leave("ann", 5, 0, startMs, startMs);
    limits.enter("ann", 5, startMs, true);
    expect(enter(limits, "ann", 5, startMs)).toMatchObject({ limit: "concurrent_requests" });
  });

  test("never more than the limit in any minute, whatever the times", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(20_000), { maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (gaps, allowed) => {
          const limits = new RateLimits();
          limits.setLimits([{ ...account, requestsPerMinute: allowed }]);
          const entered: number[] = [];
          let nowMs = startMs;
          for (const gap of gaps) {
            nowMs += gap;
            const refused = enter(limits, "ann", 1, nowMs);
            if (refused === null) entered.push(nowMs);
            else expect(refused.retryMs).toBeGreaterThan(0);
            // The newest second counts whole: a minute is exact to it.
            const lastMinute = entered.filter((atMs) => atMs > nowMs - 59_000);
            expect(lastMinute.length).toBeLessThanOrEqual(allowed);
          }
        },
      ),
    );
  });

  test("two that count one after the other refuse like one that counted all the time", () => {
    const uses = fc.array(fc.record({ afterMs: fc.nat(15_000), tokens: fc.nat(40), isOver: fc.boolean() }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(uses, fc.nat(), (all, cut) => {
        const limited = [{ ...account, requestsPerMinute: 5, tokensPerMinute: 100 }];
        const [alone, first, second] = [new RateLimits(), new RateLimits(), new RateLimits()];
        for (const limits of [alone, first, second]) limits.setLimits(limited);
        let nowMs = startMs;
        const underWay: number[] = [];
        const at = cut % all.length;
        for (const [number, { afterMs, tokens, isOver }] of all.entries()) {
          nowMs += afterMs;
          if (number === at) {
            second.adopt(first.past(10, nowMs), nowMs);
            // In one that changed hands what is under way counts from now.
            for (const tokens of underWay) second.enter("ann", tokens, nowMs, true);
          }
          const limits = number < at ? first : second;
          const refused = limits.check("ann", tokens, nowMs) !== null;
          // What is under way may only count longer there, never less.
          if (alone.check("ann", tokens, nowMs) !== null) expect(refused).toBe(true);
          if (refused) continue;
          for (const one of [alone, limits]) {
            one.enter("ann", tokens, nowMs, false);
            if (isOver) one.leave("ann", tokens, tokens, nowMs, nowMs);
          }
          if (!isOver && number < at) underWay.push(tokens);
        }
      }),
    );
  });
});
