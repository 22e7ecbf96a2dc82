/**
 * How many instances a deployment should have now. Pure: the time and what was seen lately are values among the others.
 *
 * Work is counted in slots: requests that wait or run, long streams for as long as they run. It scales up at once, to what
 * the work needs and to what it will need when an instance that is started now has loaded. It scales down only when nothing
 * within the window needed more, and never below what is busy. Where bursts need not be followed (`cover`), it keeps what is
 * worth its GPUs by what came within the window. Must not know where instances go.
 */
import type { ScaleSettings } from "./deployment.ts";
import type { ModelLoad } from "./routing.ts";
import type { WorkHistory } from "./scale-history.ts";
import { worthwhile } from "./scale-worth.ts";

export type ScaleTuning = {
  /** Of an instance's slots, the part that is planned with; the rest is for what comes next. */
  readonly fullness: number;
  /** An instance is given up when nothing needed it for this long. */
  readonly downAfterMs: number;
  /** What grows is measured over this time. */
  readonly trendMs: number;
  /**
   * From thrifty to generous. 1 keeps what the most needed and follows every burst; less keeps an instance that would have been
   * needed for more than the rest of the time (0.95: for a twentieth), and lets bursts wait that are over before a load is.
   * What it is worth is judged by the last `worthMs`, whatever `downAfterMs` is.
   */
  readonly cover: number;
};

export const defaultTuning: ScaleTuning = {
  fullness: 0.8,
  downAfterMs: 300_000,
  trendMs: 60_000,
  cover: 1,
};

export type ScaleInput = {
  /** With the minimum that holds now. */
  readonly settings: ScaleSettings;
  /** Why the minimum is what it is; absent: `min_instances` says so. */
  readonly minimumReason?: string | undefined;
  readonly load: ModelLoad;
  /** What there was lately, with what there is; absent: nothing is known of before. */
  readonly history?: WorkHistory | undefined;
  /** Requests one instance serves at once. */
  readonly slots: number;
  /** What a load took the last time; null when it is not known. */
  readonly loadTimeMs: number | null;
  /** Instances that run or are being started and are not draining. */
  readonly live: number;
  /** When the deployment was last known to be in use, milliseconds since the epoch. */
  readonly lastActivityMs: number;
  /** When watching began: nothing is known to be unused for longer. */
  readonly watchingSinceMs: number;
  readonly now: number;
  /** Idle time to zero where the deployment names none, milliseconds. */
  readonly defaultInactiveShutdownMs: number;
  /** Instances that others wait for and have the better claim to; see `core/scale-share`. */
  readonly asked?: Asked | undefined;
  readonly tuning?: ScaleTuning;
};

export type Asked = {
  /** Instances to give up, of those that have nothing to do. */
  readonly idle: number;
  /** Instances to give up whether busy or not: somebody has less than its minimum. */
  readonly any: number;
  /** Who asks, for a person. */
  readonly by: string;
};

export type ScaleDecision = {
  readonly wanted: number;
  /** What the work there is now needs, within the settings; no more than `wanted`, unless others have the better claim. */
  readonly needed: number;
  readonly reason: string;
  /** When the answer may change by the passing of time alone, milliseconds since the epoch; null when it cannot. */
  readonly againAtMs: number | null;
  /** The values that led to it. */
  readonly inputs: Readonly<Record<string, number>>;
};

/** More than this ahead nothing is foreseen. */
const maxLeadMs = 180_000;
/** Long enough for a number of bursts and for what lies between them; a day's rise and fall is longer. */
const worthMs = 1_200_000;

export function decideScale(input: ScaleInput): ScaleDecision {
  const { minInstances, maxInstances } = input.settings;
  const { load, live } = input;
  const tuning = input.tuning ?? defaultTuning;
  const slots = Math.max(1, input.slots);
  const work = load.queued + load.running;
  const planned = Math.max(1, Math.ceil(slots * tuning.fullness));
  const ahead = foresee(input, work, tuning);
  const clamp = (count: number) => Math.min(maxInstances, Math.max(minInstances, count));
  const inputs = { queued: load.queued, running: load.running, slots, live, foreseen: Math.round(ahead) };
  const decide = (wanted: number, reason: string, againAtMs: number | null = null): ScaleDecision => ({
    wanted,
    needed: clamp(Math.ceil(work / slots)),
    reason,
    againAtMs,
    inputs,
  });

  if (maxInstances === 0) return decide(0, "max_instances is 0");
  const steady = countSteady(input, work, planned, tuning);
  const up = clamp(steady ?? Math.ceil(Math.max(work, ahead) / planned));
  const yields = giveUp(input, work, slots);
  if (yields !== null) return decide(yields.wanted, yields.reason);
  const awake = keepAwake(input, work);
  if (awake.wanted === 0 && work === 0) return decide(0, awake.reason);
  const why = steady === null ? null : describeWorth(tuning);
  const kept = steady === null ? keepForWindow(input, planned, up, tuning) : keepSteady(input, up);
  // What is worth its GPUs changes by time alone, also while there is no room for it.
  const laterMs = steady === null ? null : earlier(kept.againAtMs, awake.againAtMs);
  if (up > live) return decide(up, whyUp(input, up, work, slots, why), laterMs);
  const wanted = Math.max(up, awake.wanted, Math.min(live, clamp(kept.wanted)));
  if (wanted === up && wanted > awake.wanted)
    return decide(wanted, why ?? whySteady(input, work, wanted), laterMs);
  if (wanted > awake.wanted) {
    const reason = `${wanted} were needed within ${Math.round(tuning.downAfterMs / 1000)} s`;
    return decide(wanted, reason, earlier(kept.againAtMs, awake.againAtMs));
  }
  return decide(wanted, awake.reason, earlier(laterMs, awake.againAtMs));
}

/**
 * The work there will be when an instance that is started now has loaded, if what grew goes on growing. Who keeps the
 * history expects it there too (`noteWork`), so that what was started for it is kept like what was needed.
 */
function foresee(
  { history, loadTimeMs, now }: Pick<ScaleInput, "history" | "loadTimeMs" | "now">,
  work: number,
  { trendMs }: ScaleTuning,
): number {
  if (history === undefined || loadTimeMs === null) return work;
  const before = history.mean(now - trendMs, now - trendMs / 2);
  const lately = history.mean(now - trendMs / 2, now);
  // A first request is no trend.
  if (before === 0 || lately <= before) return work;
  const perMs = (lately - before) / (trendMs / 2);
  const grown = lately + perMs * (trendMs / 4 + Math.min(maxLeadMs, loadTimeMs));
  return Math.max(work, Math.min(grown, 2 * lately));
}

/** What is worth its GPUs, what is busy, and what a line needs; null where every burst is followed. */
function countSteady(
  input: ScaleInput,
  work: number,
  planned: number,
  { cover }: ScaleTuning,
): number | null {
  const { history, load, loadTimeMs, live, now, settings } = input;
  if (cover >= 1 || history === undefined) return null;
  // What came earlier wakes nothing: only a request does.
  if (live === 0 && work === 0) return 0;
  const losses = history.demand.losses(now, worthMs, planned);
  const kept = worthwhile(losses, 1 - cover, live, settings.maxInstances);
  const slots = Math.max(1, input.slots);
  const busy = Math.ceil(load.running / slots);
  // A line that lasted gets its instances until they have loaded; then they are busy, or were not needed.
  const lasting = Math.ceil(history.lasting(now, loadTimeMs ?? 0) / slots);
  return Math.max(kept, busy, lasting, load.queued === 0 ? 0 : countForLine(input, history));
}

/**
 * What a line needs that will still be there when an instance has loaded: requests come as they came lately, and end as fast as
 * they ended at best. One that is gone sooner needs nothing more. Where nothing runs or little is known, all of it counts.
 */
function countForLine({ load, live, loadTimeMs, now, slots }: ScaleInput, history: WorkHistory): number {
  const pace = live === 0 ? null : history.demand.pace(now);
  const grownBy = pace === null ? 0 : (pace.comePerMs - pace.endPerMs) * Math.min(maxLeadMs, loadTimeMs ?? 0);
  const left = load.queued + Math.min(0, grownBy);
  return left <= 0 ? 0 : Math.ceil((load.running + left) / Math.max(1, slots));
}

/** Notes the work there is from now on, and what it leads one to expect. */
export function noteWork(
  history: WorkHistory,
  {
    load: { queued, running, arrived },
    now,
    loadTimeMs,
  }: { readonly load: Pick<ModelLoad, "queued" | "running" | "arrived"> } & Pick<
    ScaleInput,
    "now" | "loadTimeMs"
  >,
  tuning = defaultTuning,
): void {
  const work = queued + running;
  history.note(now, work, arrived ?? null);
  history.noteLine(now, queued > 0);
  // A line that is gone sooner than a load takes would have been gone before an instance came.
  const lineMs = now - (history.lineSinceMs ?? now);
  if (queued > 0 && lineMs >= (loadTimeMs ?? 0)) history.noteLasting(now, work);
  history.expect(now, foresee({ history, loadTimeMs, now }, work, tuning));
}

/** What was needed within the window is kept; what was before control began to watch is not known to be unneeded. */
function keepForWindow(
  { history, live, load, now, watchingSinceMs }: ScaleInput,
  planned: number,
  up: number,
  { downAfterMs }: ScaleTuning,
): { wanted: number; againAtMs: number | null } {
  const seenAtMs = watchingSinceMs + downAfterMs;
  if (now < seenAtMs) return { wanted: live, againAtMs: seenAtMs };
  const peak = history?.peak(now, downAfterMs) ?? load.queued + load.running;
  const wanted = Math.ceil(peak / planned);
  const dropsAtMs = wanted > up ? (history?.dropsAtMs(downAfterMs, (wanted - 1) * planned) ?? null) : null;
  return { wanted, againAtMs: dropsAtMs };
}

/** What is worth it is in `up` already; after a start of control nothing is given up for as long as the window. */
function keepSteady(
  { history, live, load, loadTimeMs, now, watchingSinceMs }: ScaleInput,
  up: number,
): { wanted: number; againAtMs: number | null } {
  const seenAtMs = watchingSinceMs + worthMs;
  if (now < seenAtMs) return { wanted: live, againAtMs: seenAtMs };
  const lineSinceMs = load.queued === 0 ? null : (history?.lineSinceMs ?? null);
  const lineCountsAtMs = lineSinceMs === null ? null : lineSinceMs + (loadTimeMs ?? 0);
  const changesAtMs = history?.demand.changesAtMs(now) ?? null;
  const isAhead = lineCountsAtMs !== null && lineCountsAtMs > now;
  return { wanted: up, againAtMs: isAhead ? earlier(lineCountsAtMs, changesAtMs) : changesAtMs };
}

/** The minimum; and without one, an instance until it was idle for long enough. */
function keepAwake(
  input: ScaleInput,
  work: number,
): { wanted: number; reason: string; againAtMs: number | null } {
  const { settings, live, now } = input;
  const { minInstances, inactiveShutdownS } = settings;
  if (minInstances > 0) {
    return { wanted: minInstances, reason: minimumReason(input), againAtMs: null };
  }
  if (live === 0)
    return { wanted: 0, reason: `${minimumReason(input)} and no request waits`, againAtMs: null };
  if (work > 0) return { wanted: 1, reason: whySteady(input, work, 1), againAtMs: null };
  const idleLimitMs = inactiveShutdownS === null ? input.defaultInactiveShutdownMs : inactiveShutdownS * 1000;
  const idleEndsAtMs = input.lastActivityMs + idleLimitMs;
  if (now < idleEndsAtMs) {
    return { wanted: 1, reason: "used within inactive_shutdown", againAtMs: idleEndsAtMs };
  }
  return { wanted: 0, reason: `no request for ${Math.round(idleLimitMs / 1000)} s`, againAtMs: null };
}

/** Others have the better claim to the GPUs: idle instances above the minimum go first, at once. */
function giveUp(
  { asked, settings, live, load }: ScaleInput,
  work: number,
  slots: number,
): { wanted: number; reason: string } | null {
  if (asked === undefined || live <= settings.minInstances) return null;
  const busy = Math.max(Math.ceil(work / slots), load.queued > 0 ? live : 0);
  const idle = Math.min(asked.idle + asked.any, Math.max(0, live - Math.max(settings.minInstances, busy)));
  const forced = Math.min(asked.any - Math.min(asked.any, idle), live - settings.minInstances - idle);
  const wanted = Math.min(settings.maxInstances, live - idle - Math.max(0, forced));
  return wanted >= live ? null : { wanted, reason: `${asked.by} has the better claim to its GPUs` };
}

function whyUp(input: ScaleInput, up: number, work: number, slots: number, steady: string | null): string {
  if (up === input.settings.minInstances) return minimumReason(input);
  if (up <= Math.ceil(work / slots)) return `${requests(work)} for ${slots} slots an instance`;
  return steady ?? `${requests(work)}, and more are to be expected before an instance has loaded`;
}

function describeWorth({ cover }: ScaleTuning): string {
  const percent = Number((100 * (1 - cover)).toFixed(2));
  return `one more would have been needed for less than ${percent} % of the last ${worthMs / 60_000} minutes`;
}

function whySteady(input: ScaleInput, work: number, wanted: number): string {
  return wanted === input.settings.minInstances ? minimumReason(input) : requests(work);
}

function minimumReason({ settings, minimumReason: reason }: ScaleInput): string {
  return reason ?? `min_instances is ${settings.minInstances}`;
}

function requests(work: number): string {
  return work === 1 ? "1 request waits or runs" : `${work} requests wait or run`;
}

function earlier(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.min(a, b);
}
