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

describe("what an account may use of a model", () => {
  test("requests at once: who leaves makes room, and an account without limits has none", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, concurrentRequests: 1 }]);
    expect(limits.enter("ann", 10, startMs, false)).toBeNull();
    const refused = { limit: "concurrent_requests", allowed: 1, retryMs: null };
    expect(limits.enter("ann", 10, startMs, false)).toEqual(refused);
    expect(limits.enter("bob", 10, startMs, false)).toBeNull();
    limits.leave("ann", 10, 10, startMs, startMs);
    expect(limits.enter("ann", 10, startMs, false)).toBeNull();
  });

  test("requests a minute: the answer says when the next one fits, and then it does", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, requestsPerMinute: 2 }]);
    limits.enter("ann", 0, startMs, false);
    limits.enter("ann", 0, startMs + 5000, false);
    const refused = limits.enter("ann", 0, startMs + 10_000, false);
    expect(refused).toMatchObject({ limit: "requests_per_minute", allowed: 2, retryMs: 50_000 });
    expect(limits.enter("ann", 0, startMs + 59_999, false)).not.toBeNull();
    expect(limits.enter("ann", 0, startMs + 60_000, false)).toBeNull();
    expect(limits.enter("ann", 0, startMs + 60_000, false)).not.toBeNull();
  });

  test("tokens a minute count what was used, not what was guessed", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, tokensPerMinute: 100 }]);
    limits.enter("ann", 90, startMs, false);
    expect(limits.enter("ann", 20, startMs + 1000, false)).toMatchObject({ limit: "tokens_per_minute" });
    limits.leave("ann", 90, 30, startMs, startMs + 2000);
    expect(limits.enter("ann", 70, startMs + 2000, false)).toBeNull();
    limits.leave("ann", 70, 400, startMs + 2000, startMs + 3000);
    expect(limits.enter("ann", 1, startMs + 60_000, false)).not.toBeNull();
    expect(limits.enter("ann", 1, startMs + 63_000, false)).toBeNull();
  });

  test("one request that is larger than the limit is let in alone; nobody is with a limit of none", () => {
    const limits = new RateLimits();
    limits.setLimits([
      { ...account, tokensPerMinute: 100 },
      { ...account, name: "none", tokensPerMinute: 0 },
    ]);
    expect(limits.enter("ann", 500, startMs, false)).toBeNull();
    expect(limits.enter("ann", 1, startMs, false)).not.toBeNull();
    expect(limits.enter("none", 1, startMs, false)).not.toBeNull();
  });

  test("a request that comes back is not refused and counts once", () => {
    const limits = new RateLimits();
    limits.setLimits([{ ...account, concurrentRequests: 1, requestsPerMinute: 1 }]);
    limits.enter("ann", 5, startMs, false);
    limits.leave("ann", 5, 0, startMs, startMs);
    expect(limits.enter("ann", 5, startMs, true)).toBeNull();
    expect(limits.enter("ann", 5, startMs, false)).toMatchObject({ limit: "concurrent_requests" });
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
            const refused = limits.enter("ann", 1, nowMs, false);
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
});
