/**
 * Notices processes that hang: they are asked for a sign of life again and again, and one that gives none in time is killed,
 * which leads to its replacement. Only time counts in which it could have answered: not while the machine slept, the clock
 * was set, or it waited for a processor or a disk. A process is not watched before its first sign: starting may take long. Must not know
 * what a process does.
 */
import { readFileSync } from "node:fs";
import type { Clock } from "../ports/clock.ts";
import { type Hearer, tell } from "./members.ts";

/** What the system says of a process. */
export type Standing = {
  /** How long its main thread has waited for a processor since its start, milliseconds. */
  readonly waitedMs: number;
  /** It waits for a disk now, and cannot be ended either. */
  readonly isAtDisk: boolean;
};

export type PulseOptions = {
  readonly clock: Clock;
  /** Silence after which a process hangs, milliseconds. */
  readonly hangMs: number;
  standingOf(pid: number): Standing;
  onHung(child: Hearer): void;
};

/** It is asked so many times within the limit. */
const looksPerLimit = 6;

type Silence = { silentMs: number; readonly waitedMs: number };

export class Pulse {
  readonly #options: PulseOptions;
  readonly #lookEveryMs: number;
  readonly #asked = new Set<Hearer>();
  /** Since the last sign of life, of those that have given one. */
  readonly #silences = new Map<Hearer, Silence>();
  #lookedAtMs: number;

  constructor(options: PulseOptions) {
    this.#options = options;
    this.#lookEveryMs = Math.ceil(options.hangMs / looksPerLimit);
    this.#lookedAtMs = options.clock.now();
  }

  started(child: Hearer): void {
    this.#asked.add(child);
  }

  heard(child: Hearer): void {
    if (this.#asked.has(child))
      this.#silences.set(child, { silentMs: 0, waitedMs: this.#standing(child).waitedMs });
  }

  ended(child: Hearer): void {
    this.#asked.delete(child);
    this.#silences.delete(child);
  }

  /** Looks until told to end. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#options.clock.sleep(this.#lookEveryMs, signal).catch(() => undefined); // aborted: the loop's condition
      if (!signal.aborted) this.look();
    }
  }

  look(): void {
    const nowMs = this.#options.clock.now();
    // A look that comes late, or a clock that was set, tells that this process did not run; then the others may not have.
    const passedMs = Math.min(Math.max(0, nowMs - this.#lookedAtMs), this.#lookEveryMs);
    this.#lookedAtMs = nowMs;
    for (const [child, silence] of this.#silences) this.#count(child, silence, passedMs);
    for (const child of this.#asked) tell(child, { type: "ask" });
  }

  #count(child: Hearer, silence: Silence, passedMs: number): void {
    const { waitedMs, isAtDisk } = this.#standing(child);
    if (!isAtDisk) silence.silentMs += passedMs;
    if (silence.silentMs - (waitedMs - silence.waitedMs) < this.#options.hangMs) return;
    this.ended(child);
    this.#options.onHung(child);
  }

  #standing({ pid }: Hearer): Standing {
    return pid === undefined ? unknown : this.#options.standingOf(pid);
  }
}

const unknown: Standing = { waitedMs: 0, isAtDisk: false };

/** Linux alone tells it; elsewhere all time counts. */
export function standingOf(pid: number): Standing {
  try {
    const [, waitedNs = "0"] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ");
    // The name before it may hold anything.
    const [, state] = /\) (\S) [^)]*$/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return { waitedMs: Number(waitedNs) / 1e6, isAtDisk: state === "D" };
  } catch {
    return unknown; // it has just ended, or this is another system
  }
}
