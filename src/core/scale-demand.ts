/**
 * How many slots the requests of each moment needed, seen over a long time, so that scaling can tell what lasts from a burst.
 * Bounded; kept in memory alone. Decides nothing.
 *
 * What was open at a time is not what was needed: where there were too few instances, requests pile up, and what is seen is
 * the lack itself. So each request counts for as long as requests of its minute were open, but no longer than half as
 * long again as in the calmest quarter of the minutes that are kept.
 */

import { Losses } from "./scale-worth.ts";

/** Short enough to see a burst that fills a line. */
const tickMs = 5_000;
/** What came is weighed anew so often. */
const stepMs = 20_000;
const ticksAStep = stepMs / tickMs;
const stepsAMinute = 60_000 / stepMs;
const keptSteps = 90;
/** Five minutes: what comes in a burst and between two. */
const paceSteps = 15;
/** With fewer requests a minute says nothing about how long one is open. */
const enoughArrived = 5;
/** Answers differ in length from minute to minute, by about this much and more rarely. */
const allowance = 1.5;

type Step = {
  readonly startMs: number;
  /** Open requests, summed over time: request-milliseconds. */
  openMs: number;
  /** Requests that ended. */
  ended: number;
  /** Requests that came in, by tick. Most steps of most deployments have none: those share one list. */
  arrived: readonly number[];
};

const nothing: readonly number[] = Array.from({ length: ticksAStep }, () => 0);

export class DemandHistory {
  #steps: Step[] = [];
  #level = 0;
  #arrived: number | null = null;
  #atMs: number | null = null;
  /** Slot-milliseconds that were needed in the ticks of the steps that are over, oldest first; null when not worked out. */
  #needed: readonly number[] | null = null;
  /** What was asked for last, which is asked for again and again; holds until a step is over. */
  #asked: { readonly windowMs: number; readonly slots: number; readonly losses: Losses } | null = null;

  /**
   * From `nowMs` on so many requests are open.
   * @param arrived requests that have come in since some time in the past; null where that is not known
   */
  note(nowMs: number, level: number, arrived: number | null): void {
    this.#fill(nowMs);
    const last = this.#steps.at(-1);
    if (last !== undefined && arrived !== null) {
      // A count that went back began anew.
      const more = this.#arrived === null ? 0 : arrived - this.#arrived;
      const came = more >= 0 ? more : arrived;
      const at = Math.floor(((this.#atMs ?? last.startMs) - last.startMs) / tickMs);
      if (came > 0) last.arrived = last.arrived.map((count, tick) => (tick === at ? count + came : count));
      last.ended += Math.max(0, came + this.#level - level);
    }
    this.#arrived = arrived;
    this.#level = level;
  }

  /** What would have been lost within the window, with instances of so many slots. */
  losses(nowMs: number, windowMs: number, slots: number): Losses {
    this.#fill(nowMs);
    if (this.#asked?.windowMs !== windowMs || this.#asked.slots !== slots) {
      this.#asked = { windowMs, slots, losses: new Losses(this.#last(windowMs), tickMs, slots) };
    }
    return this.#asked.losses;
  }

  /** Requests a millisecond: that came, on average, and that ended at best; null where it is not known. */
  pace(nowMs: number): { readonly comePerMs: number; readonly endPerMs: number } | null {
    this.#fill(nowMs);
    const lately = this.#steps.slice(-1 - paceSteps, -1);
    if (this.#arrived === null || lately.length < stepsAMinute) return null;
    const came = lately.reduce((sum, step) => sum + arrivedIn(step), 0);
    const ended = lately.reduce((most, step) => Math.max(most, step.ended), 0);
    return { comePerMs: came / (lately.length * stepMs), endPerMs: ended / stepMs };
  }

  /** When the step that is under way is over, so that the answer may be another. */
  changesAtMs(nowMs: number): number {
    return (Math.floor(nowMs / stepMs) + 1) * stepMs;
  }

  #last(windowMs: number): readonly number[] {
    this.#needed ??= this.#workOut();
    return this.#needed.slice(-Math.max(1, Math.round(windowMs / stepMs)) * ticksAStep);
  }

  #workOut(): number[] {
    const over = this.#steps.slice(0, -1);
    const calmMs = this.#arrived === null ? null : calmOpenMs(over);
    return over.flatMap(({ openMs, arrived }, at) => {
      if (calmMs === null) return nothing.map(() => openMs / ticksAStep);
      const seenMs = meanOpenMs(over.slice(Math.max(0, at + 1 - stepsAMinute), at + 1));
      const eachMs = seenMs === null ? calmMs : Math.min(seenMs, allowance * calmMs);
      return arrived.map((count) => count * eachMs);
    });
  }

  #fill(nowMs: number): void {
    // What is older than everything that is kept need not be filled in step by step.
    let at = Math.max(this.#atMs ?? nowMs, nowMs - (keptSteps + 1) * stepMs);
    for (;;) {
      const startMs = Math.floor(at / stepMs) * stepMs;
      let step = this.#steps.at(-1);
      if (step === undefined || step.startMs < startMs) {
        step = { startMs, openMs: 0, ended: 0, arrived: nothing };
        this.#steps.push(step);
        if (this.#steps.length > keptSteps + 1) this.#steps.shift();
        this.#needed = null;
        this.#asked = null;
      }
      if (at >= nowMs) break;
      const untilMs = Math.min(nowMs, startMs + stepMs);
      step.openMs += this.#level * (untilMs - at);
      at = untilMs;
    }
    this.#atMs = at;
  }
}

/** How long a request is open when all is well; null while too few have come. */
function calmOpenMs(steps: readonly Step[]): number | null {
  const means: number[] = [];
  for (let from = 0; from + stepsAMinute <= steps.length; from += stepsAMinute) {
    const mean = meanOpenMs(steps.slice(from, from + stepsAMinute));
    if (mean !== null) means.push(mean);
  }
  return means.sort((a, b) => a - b)[Math.floor(means.length / 4)] ?? null;
}

/** How long a request was open in these steps; null when too few came in. */
function meanOpenMs(steps: readonly Step[]): number | null {
  const arrived = steps.reduce((sum, step) => sum + arrivedIn(step), 0);
  return arrived < enoughArrived ? null : steps.reduce((sum, { openMs }) => sum + openMs, 0) / arrived;
}

function arrivedIn({ arrived }: Step): number {
  return arrived.reduce((sum, count) => sum + count, 0);
}
