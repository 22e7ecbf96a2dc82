/**
 * One deployment in virtual time: a policy that says how many instances there should be, instances that load, serve, drain
 * and end, and the front before them. Owns the instances; what a policy wants and what an engine does is theirs. All policies
 * are treated alike: only what they want differs.
 */
import type { Timeline } from "../simulate/timeline.ts";
import { Engine } from "./engine.ts";
import { Front, type FrontLimits, type Visit } from "./front.ts";
import type { Policy, Scaled } from "./policy.ts";
import type { ServiceTime } from "./service-time.ts";
import type { Tally } from "./tally.ts";
import type { TraceRequest } from "./trace.ts";

export type DeploymentOptions = Scaled & {
  readonly gpusAnInstance: number;
  readonly service: ServiceTime;
  readonly limits: FrontLimits;
};

type Instance = {
  readonly id: string;
  readonly engine: Engine;
  readonly startedMs: number;
  readyMs: number;
  isReady: boolean;
  isDraining: boolean;
};

/** What control takes to hear of a request that waits. */
const noticeMs = 50;

export class Deployment {
  readonly #timeline: Timeline;
  readonly #options: DeploymentOptions;
  readonly #policy: Policy;
  readonly #tallies: readonly Tally[];
  readonly #front: Front;
  readonly #instances = new Map<string, Instance>();
  #count = 0;
  #arrived = 0;
  #open = 0;
  #lastArrivalMs: number | null = null;
  #workMs = 0;
  #workAtMs = 0;
  #isNoticed = false;
  #isOver = false;

  /** Begins with the minimum, ready. */
  constructor(timeline: Timeline, options: DeploymentOptions, policy: Policy, tallies: readonly Tally[]) {
    this.#timeline = timeline;
    this.#options = options;
    this.#policy = policy;
    this.#tallies = tallies;
    this.#front = new Front(timeline, options.limits, {
      start: (visit, instanceId) => this.#serve(visit, instanceId),
      refusal: (visit) => this.#refuse(visit),
    });
    for (let count = 0; count < options.minInstances; count += 1) this.#start(0);
    this.#lookForEver();
  }

  /** Requests that have neither been answered nor refused. */
  get open(): number {
    return this.#open;
  }

  get live(): number {
    return this.#live().length;
  }

  get queued(): number {
    return this.#front.queued;
  }

  arrive(request: TraceRequest): void {
    this.#noteWork();
    this.#arrived += 1;
    this.#open += 1;
    this.#lastArrivalMs = this.#timeline.nowMs;
    this.#front.enter({ request, arrivedMs: this.#timeline.nowMs }, this.#loadLeftMs());
    const { looksAtOnce } = this.#policy;
    const isAsleep = this.#instances.size === 0;
    if (looksAtOnce === "waiting" ? this.#front.queued > 0 || isAsleep : looksAtOnce === "asleep" && isAsleep)
      this.#notice();
  }

  /** Counts what is there as ended now. */
  end(): void {
    this.#isOver = true;
    for (const instance of this.#instances.values()) this.#account(instance);
    this.#instances.clear();
  }

  #lookForEver(): void {
    this.#timeline.after(this.#policy.everyMs, () => {
      if (this.#isOver) return;
      this.#look();
      this.#lookForEver();
    });
  }

  #notice(): void {
    if (this.#isNoticed) return;
    this.#isNoticed = true;
    this.#timeline.after(noticeMs, () => {
      this.#isNoticed = false;
      if (!this.#isOver) this.#look();
    });
  }

  #look(): void {
    this.#noteWork();
    const live = this.#live();
    const ready = live.filter(({ isReady }) => isReady).length;
    const unstarted = [...this.#instances.values()].reduce((sum, { engine }) => sum + engine.unstarted, 0);
    const wanted = this.#policy.decide({
      nowMs: this.#timeline.nowMs,
      queued: this.#front.queued,
      running: this.#front.running,
      unstarted,
      workMs: this.#workMs,
      arrived: this.#arrived,
      lastArrivalMs: this.#lastArrivalMs,
      ready,
      live: live.length,
    });
    const { minInstances, maxInstances } = this.#options;
    const target = Math.max(minInstances, Math.min(maxInstances, wanted));
    for (let count = live.length; count < target; count += 1) this.#start(this.#options.loadMs);
    if (target < live.length) this.#drain(live, live.length - target);
  }

  #start(loadMs: number): void {
    this.#count += 1;
    const startedMs = this.#timeline.nowMs;
    const engine = new Engine(this.#options.service, this.#timeline);
    const state = { startedMs, readyMs: startedMs + loadMs, isReady: loadMs === 0, isDraining: false };
    const instance: Instance = { id: String(this.#count), engine, ...state };
    this.#instances.set(instance.id, instance);
    this.#publish();
    this.#timeline.at(instance.readyMs, () => {
      if (this.#instances.get(instance.id) !== instance) return;
      instance.isReady = true;
      this.#publish();
    });
  }

  /** In the order of `core/scale-world`: not ready yet, then with the least to do, then the newest. */
  #drain(live: readonly Instance[], count: number): void {
    const busy = ({ id }: Instance) => this.#front.inFlight(id);
    const order = live.toSorted(
      (a, b) => Number(a.isReady) - Number(b.isReady) || busy(a) - busy(b) || b.startedMs - a.startedMs,
    );
    for (const instance of order.slice(0, count)) instance.isDraining = true;
    this.#publish();
    for (const instance of order.slice(0, count)) this.#endIfDrained(instance);
  }

  #publish(): void {
    const ready = [...this.#instances.values()].filter(({ isReady }) => isReady);
    const { slots } = this.#options;
    this.#front.setInstances(ready.map(({ id, isDraining }) => ({ id, slots, isDraining })));
  }

  #endIfDrained(instance: Instance): void {
    if (!instance.isDraining || this.#front.inFlight(instance.id) > 0) return;
    this.#instances.delete(instance.id);
    this.#account(instance);
    this.#publish();
  }

  #account({ startedMs }: Instance): void {
    for (const tally of this.#tallies)
      tally.noteInstance(startedMs, this.#timeline.nowMs, this.#options.gpusAnInstance);
  }

  #serve(visit: Visit, instanceId: string): void {
    const startedMs = this.#timeline.nowMs;
    const instance = this.#instances.get(instanceId);
    if (instance === undefined) throw new Error(`instance ${instanceId} was chosen and is not there`);
    const { promptTokens, generatedTokens } = visit.request;
    instance.engine.add({
      promptTokens,
      generatedTokens,
      onFirstToken: () => {
        const { arrivedMs } = visit;
        const promptMs = this.#options.service.promptMs(promptTokens);
        const waited = { waitedMs: startedMs - arrivedMs, firstTokenMs: this.#timeline.nowMs - arrivedMs };
        const fate = { arrivedMs, promptTokens, promptMs, isRefused: false as const, ...waited };
        for (const tally of this.#tallies) tally.noteRequest(fate);
      },
      onDone: () => {
        this.#noteWork();
        this.#open -= 1;
        this.#front.leave(visit, instanceId, this.#timeline.nowMs - startedMs);
        this.#endIfDrained(instance);
      },
    });
  }

  #refuse({ request, arrivedMs }: Visit): void {
    this.#noteWork();
    this.#open -= 1;
    const { promptTokens } = request;
    const promptMs = this.#options.service.promptMs(promptTokens);
    for (const tally of this.#tallies)
      tally.noteRequest({ arrivedMs, promptTokens, promptMs, isRefused: true });
  }

  /** Call before the number of open requests changes. */
  #noteWork(): void {
    this.#workMs += this.#open * (this.#timeline.nowMs - this.#workAtMs);
    this.#workAtMs = this.#timeline.nowMs;
  }

  #live(): Instance[] {
    return [...this.#instances.values()].filter(({ isDraining }) => !isDraining);
  }

  /** Null when an instance takes requests. */
  #loadLeftMs(): number | null {
    let leftMs = this.#options.loadMs;
    for (const { isReady, readyMs } of this.#live()) {
      if (isReady) return null;
      leftMs = Math.min(leftMs, readyMs - this.#timeline.nowMs);
    }
    return leftMs;
  }
}
