/**
 * How many slots the requests of each moment needed, seen over a long time, so that scaling can cover most of it without
 * following every burst. Bounded; kept in memory alone. Decides nothing.
 *
 * What was open at a time is not what was needed: where there were too few instances, requests pile up, and what is seen is
 * the lack itself. So it counts as no more than the requests that came at that time would have taken by the time a request is
 * open when all is well: half as long again as in the calmest quarter of the minutes that are kept.
 */

/** Long enough for some requests to come in, short enough to see bursts. */
const stepMs = 20_000;
const stepsAMinute = 60_000 / stepMs;
const keptSteps = 90;
/** With fewer requests a minute says nothing about how long one is open. */
const enoughArrived = 5;
/** Answers differ in length from minute to minute, by about this much and more rarely. */
const allowance = 1.5;

type Step = {
  readonly startMs: number;
  /** Open requests, summed over time: request-milliseconds. */
  openMs: number;
  arrived: number;
};

export class DemandHistory {
  #steps: Step[] = [];
  #level = 0;
  #arrived: number | null = null;
  #atMs: number | null = null;
  /** Slots that were needed in the steps that are over, oldest first; null when it has to be worked out anew. */
  #needed: readonly number[] | null = null;

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
      last.arrived += more >= 0 ? more : arrived;
    }
    this.#arrived = arrived;
    this.#level = level;
  }

  /** The slots that suffice for this part of the window's steps; 0 where nothing is known. */
  covering(nowMs: number, windowMs: number, part: number): number {
    this.#fill(nowMs);
    this.#needed ??= this.#workOut();
    const steps = Math.max(1, Math.round(windowMs / stepMs));
    const sorted = this.#needed.slice(-steps).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  }

  /** When the step that is under way is over, so that the answer may be another. */
  changesAtMs(nowMs: number): number {
    return (Math.floor(nowMs / stepMs) + 1) * stepMs;
  }

  #workOut(): number[] {
    const over = this.#steps.slice(0, -1);
    const calmMs = this.#arrived === null ? null : calmOpenMs(over);
    return over.map(
      ({ openMs, arrived }) => Math.min(openMs, calmMs === null ? openMs : arrived * calmMs) / stepMs,
    );
  }

  #fill(nowMs: number): void {
    // What is older than everything that is kept need not be filled in step by step.
    let at = Math.max(this.#atMs ?? nowMs, nowMs - (keptSteps + 1) * stepMs);
    do {
      const startMs = Math.floor(at / stepMs) * stepMs;
      let step = this.#steps.at(-1);
      if (step === undefined || step.startMs < startMs) {
        step = { startMs, openMs: 0, arrived: 0 };
        this.#steps.push(step);
        if (this.#steps.length > keptSteps + 1) this.#steps.shift();
        this.#needed = null;
      }
      const untilMs = Math.min(Math.max(nowMs, at), startMs + stepMs);
      step.openMs += this.#level * (untilMs - at);
      at = untilMs;
    } while (at < nowMs);
    this.#atMs = at;
  }
}

/** How long a request is open at most when all is well; null while too few have come. */
function calmOpenMs(steps: readonly Step[]): number | null {
  const means: number[] = [];
  for (let from = 0; from + stepsAMinute <= steps.length; from += stepsAMinute) {
    const minute = steps.slice(from, from + stepsAMinute);
    const arrived = minute.reduce((sum, step) => sum + step.arrived, 0);
    if (arrived >= enoughArrived) means.push(minute.reduce((sum, step) => sum + step.openMs, 0) / arrived);
  }
  const calm = means.sort((a, b) => a - b)[Math.floor(means.length / 4)];
  return calm === undefined ? null : allowance * calm;
}
