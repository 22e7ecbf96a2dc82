import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { noLoad } from "./routing.ts";
import { decideScale, defaultTuning, noteWork, type ScaleInput } from "./scale.ts";
import { WorkHistory } from "./scale-history.ts";
import { askedOf, byClaim, type Claim, mustLeaveRoom } from "./scale-share.ts";

const now = 10_000_000;

function decide(change: Partial<ScaleInput> & { readonly queued?: number; readonly running?: number }) {
  const { queued = 0, running = 0, ...rest } = change;
  return decideScale({
    settings: { minInstances: 0, maxInstances: 8, inactiveShutdownS: null },
    load: { ...noLoad, queued, running },
    slots: 4,
    loadTimeMs: 60_000,
    live: 0,
    lastActivityMs: now,
    watchingSinceMs: 0,
    now,
    defaultInactiveShutdownMs: 900_000,
    ...rest,
  });
}

/** One level after another, 30 s each, up to now. */
function levels(...work: readonly number[]): WorkHistory {
  const history = new WorkHistory();
  for (const [index, level] of work.entries()) history.note(now - (work.length - index) * 30_000, level);
  return history;
}

describe("up", () => {
  it("wakes one instance for the first request, and several at once for a long line", () => {
    expect(decide({ queued: 1 }).wanted).toBe(1);
    expect(decide({ queued: 30 }).wanted).toBe(8);
    expect(decide({ queued: 9 })).toMatchObject({
      wanted: 3,
      reason: "9 requests wait or run for 4 slots an instance",
      inputs: { queued: 9, running: 0, slots: 4, live: 0 },
    });
  });

  it("counts long streams for as long as they run", () => {
    expect(decide({ running: 8, live: 2, history: levels(8, 8, 8, 8, 8) }).wanted).toBe(2);
    expect(decide({ running: 8, queued: 1, live: 2 }).wanted).toBe(3);
  });

  it("starts before the need where work grows and a load takes long", () => {
    const history = levels(2, 2, 4, 8);
    history.note(now, 8);
    expect(decide({ running: 8, live: 2, history, loadTimeMs: 120_000 }).wanted).toBe(4);
    expect(decide({ running: 8, live: 2, history, loadTimeMs: null }).wanted).toBe(2);
  });
});

describe("down", () => {
  it("keeps what was needed within the window, and says when that changes", () => {
    const history = levels(12, 2);
    const soon = decide({ running: 2, live: 3, history });
    expect(soon.wanted).toBe(3);
    expect(soon.againAtMs).toBeGreaterThan(now + 240_000);
    const at = (soon.againAtMs ?? 0) + 2_000;
    expect(decide({ running: 2, live: 3, history, now: at, lastActivityMs: at }).wanted).toBe(1);
  });

  it("gives up nothing that was there before it began to watch, for as long as the window", () => {
    const restarted = { live: 3, watchingSinceMs: now - 10_000 };
    expect(decide(restarted)).toMatchObject({ wanted: 3, againAtMs: now + 290_000 });
  });

  it("goes to zero after inactive_shutdown and not a moment before", () => {
    const settings = { minInstances: 0, maxInstances: 8, inactiveShutdownS: 60 };
    expect(decide({ settings, live: 1, lastActivityMs: now - 59_999 }).wanted).toBe(1);
    expect(decide({ settings, live: 1, lastActivityMs: now - 60_000 }).wanted).toBe(0);
  });

  it("stays within the settings, never below what is busy, and does not flap", () => {
    const amounts = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 5, maxLength: 60 });
    const settings = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 5 }));
    fc.assert(
      fc.property(amounts, settings, fc.integer({ min: 1, max: 9 }), (work, [min, extra], slots) => {
        const history = new WorkHistory();
        let live = 0;
        let upAtMs = Number.NEGATIVE_INFINITY;
        for (const [step, running] of work.entries()) {
          const at = now + step * 30_000;
          noteWork(history, { load: { queued: 0, running }, now: at, loadTimeMs: 60_000 });
          const given = { minInstances: min, maxInstances: min + extra, inactiveShutdownS: 600 };
          const common = { settings: given, running, slots, live, history, now: at, lastActivityMs: at };
          const { wanted } = decide(common);
          expect(wanted).toBeGreaterThanOrEqual(Math.min(min + extra, Math.ceil(running / slots)));
          expect(wanted).toBeLessThanOrEqual(min + extra);
          expect(wanted).toBeGreaterThanOrEqual(min);
          if (wanted > live) upAtMs = at;
          if (wanted < live) expect(at - upAtMs).toBeGreaterThanOrEqual(270_000);
          expect(decide({ ...common, live: wanted }).wanted).toBe(wanted);
          live = wanted;
        }
      }),
    );
  });
});

describe("what is worth its GPUs", () => {
  const tuning = { ...defaultTuning, fullness: 0.5, cover: 0.7 };
  /** Ten minutes, a tenth of them in bursts of twenty seconds; each request is open for ten. */
  const mostly = (usual: number, burst: number) => {
    const history = new WorkHistory();
    for (let tick = 0, arrived = 0; tick < 120; tick += 1) {
      const level = Math.floor(tick / 4) % 10 === 3 ? burst : usual;
      arrived += level / 2;
      history.note(now - 660_000 + tick * 5_000, level, arrived);
    }
    return history;
  };
  /** A line of 22, that has been there since, though hardly more came than before. */
  const waiting = (sinceMs: number, history: WorkHistory) => {
    const load = { queued: 22, running: 8, arrived: 400 };
    for (const at of [sinceMs, now]) noteWork(history, { load, now: at, loadTimeMs: 60_000 }, tuning);
    return { queued: 22, running: 8, live: 2, history, tuning };
  };

  it("lets bursts pass that the rest of the time does not need", () => {
    const history = mostly(4, 30);
    expect(decide({ running: 4, live: 2, history, tuning }).wanted).toBe(2);
    expect(decide({ running: 4, live: 8, history, tuning }).wanted).toBe(2);
    const generous = { ...tuning, cover: 0.95 };
    expect(decide({ running: 4, live: 2, history, tuning: generous }).wanted).toBe(8);
    const steady = decide({ running: 4, live: 2, history, tuning });
    expect(steady.reason).toBe("one more would have been needed for less than 30 % of the last 20 minutes");
    expect(steady.againAtMs).toBeGreaterThan(now);
  });

  it("leaves a line that is gone before a load is over, and no other", () => {
    const short = decide(waiting(now - 30_000, mostly(4, 30)));
    expect(short.wanted).toBe(2);
    expect(short.againAtMs).toBeLessThanOrEqual(now + 30_000);
    const long = waiting(now - 60_000, mostly(4, 30));
    const reason = "30 requests wait or run for 4 slots an instance";
    expect(decide(long)).toMatchObject({ wanted: 8, reason });
    // What was started for it has time to load, though the line is gone.
    const gone = { history: long.history, queued: 0, running: 4, live: 8, tuning };
    expect(decide({ ...gone, now: now + 59_000 }).wanted).toBe(8);
    expect(decide({ ...gone, now: now + 63_000 }).wanted).toBeLessThan(8);
  });

  it("takes every line for one that lasts while nothing runs or nothing is known yet", () => {
    expect(decide({ ...waiting(now, mostly(0, 0)), live: 0 }).wanted).toBe(8);
    expect(decide(waiting(now - 1_000, new WorkHistory())).wanted).toBe(8);
  });

  it("is not woken by what came before it went to zero", () => {
    const asleep = { history: mostly(8, 8), live: 0, lastActivityMs: now - 1_000_000, tuning };
    expect(decide(asleep).wanted).toBe(0);
    expect(decide({ ...asleep, queued: 1 }).wanted).toBeGreaterThan(0);
    // Nor kept awake by it; and where there was no room for what was worth it, it is looked at again.
    expect(decide({ ...asleep, live: 1 }).wanted).toBe(0);
    const used = decide({ ...asleep, live: 1, lastActivityMs: now });
    expect(used.wanted).toBeGreaterThan(1);
    expect(used.againAtMs).toBeLessThanOrEqual(now + 20_000);
  });

  it("stays within the settings and never below what is busy", () => {
    const amounts = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 5, maxLength: 60 });
    fc.assert(
      fc.property(
        amounts,
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 5 }),
        (work, min, extra) => {
          const history = new WorkHistory();
          const settings = { minInstances: min, maxInstances: min + extra, inactiveShutdownS: 600 };
          let live = 0;
          for (const [step, running] of work.entries()) {
            const at = now + step * 30_000;
            noteWork(history, { load: { queued: 0, running }, now: at, loadTimeMs: 60_000 }, tuning);
            const common = { settings, running, live, history, now: at, lastActivityMs: at, tuning };
            const { wanted } = decide(common);
            expect(wanted).toBeGreaterThanOrEqual(Math.min(min + extra, Math.ceil(running / 4)));
            expect(wanted).toBeLessThanOrEqual(min + extra);
            expect(wanted).toBeGreaterThanOrEqual(min);
            expect(decide({ ...common, live: wanted }).wanted).toBe(wanted);
            live = wanted;
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("too few GPUs", () => {
  const claim = (deploymentId: string, change: Partial<Claim> = {}): Claim => ({
    deploymentId,
    name: deploymentId,
    config: { gpu: "H100-80GB", numGpus: 1 },
    belowMinimum: 0,
    forWork: 1,
    need: 1,
    ...change,
  });
  const own = { deploymentId: "own", config: { gpu: "H100-80GB" as const, numGpus: 1 } };

  it("goes by minimums first, then by need, then by who waits longest", () => {
    const minimum = claim("minimum", { belowMinimum: 1, forWork: 0, need: 0 });
    const sorted = byClaim([claim("a"), claim("b"), claim("much", { need: 9 }), minimum]);
    expect(sorted.map(({ name }) => name)).toEqual(["minimum", "much", "a", "b"]);
    expect(mustLeaveRoom(claim("a"), [minimum])).toBe(true);
    expect(mustLeaveRoom(claim("a"), [claim("much", { need: 9 })])).toBe(true);
    expect(mustLeaveRoom(minimum, [claim("much", { need: 9 })])).toBe(false);
    expect(mustLeaveRoom(claim("b"), [claim("a")])).toBe(false);
  });

  it("gives up idle instances above the minimum to who needs them, and busy ones only for a minimum", () => {
    const forWork = askedOf(own, [claim("busy", { need: 9 })]);
    const settings = { minInstances: 1, maxInstances: 4, inactiveShutdownS: null };
    expect(decide({ settings, live: 3, running: 4, asked: forWork })).toMatchObject({
      wanted: 2,
      reason: "busy has the better claim to its GPUs",
    });
    expect(decide({ settings, live: 3, running: 12, asked: forWork }).wanted).toBe(3);
    expect(decide({ settings, live: 1, asked: forWork }).wanted).toBe(1);
    const forMinimum = askedOf(own, [claim("minimum", { belowMinimum: 1 })]);
    expect(decide({ settings, live: 3, running: 12, asked: forMinimum }).wanted).toBe(2);
    expect(decide({ settings, live: 1, running: 12, asked: forMinimum }).wanted).toBe(3);
  });

  it("leaves other types of GPU and its own claim out", () => {
    expect(askedOf(own, [claim("own")])).toBeUndefined();
    // What is free or drains already will do; what it will not do is asked for.
    const large = claim("large", { need: 9, config: { gpu: "H100-80GB", numGpus: 4 } });
    expect(askedOf(own, [claim("busy", { need: 9 })], 1)).toBeUndefined();
    expect(askedOf(own, [large], 1)?.idle).toBe(Math.ceil(3 / own.config.numGpus));
    expect(askedOf(own, [claim("l4", { config: { gpu: "L4-24GB", numGpus: 1 } })])).toBeUndefined();
  });
});
