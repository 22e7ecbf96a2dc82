/**
 * What the gateway counts, for Prometheus. Fed once a request, when it is over; what changes all the time is read when it
 * is asked for. Owns names, buckets and labels: deployments are the only ones without a fixed list, and the series of one
 * that has gone go with it. Must not hold accounts, tokens or what a client wrote.
 */
import { Histogram } from "../core/histogram.ts";
import type { ModelLoad, RouteModel } from "../core/routing.ts";
import { type MetricFamily, type Sample, writeExposition } from "../schema/exposition.ts";
import type { RequestRecord } from "./record.ts";

/** What is read at the moment of asking. */
export type Readings = {
  readonly load: Readonly<Record<string, ModelLoad>>;
  /** Since control was last heard of, milliseconds; null when there are no routes yet. */
  readonly routesAgeMs: number | null;
  readonly spool: SpoolReading;
  readonly residentBytes: number;
};

export type SpoolReading = {
  /** Bytes of records that wait on disk. */
  readonly bytes: number;
  /** Records that were given up since the start. */
  readonly dropped: number;
};

const secondsToFirstToken = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const secondsPerToken = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 20];
const secondsInQueue = [0.001, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
const statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

type Labels = Readonly<Record<"deployment" | "model", string>>;

/** All that is counted of one deployment. */
class Series {
  readonly labels: Labels;
  /** By the first digit of the status, from 1. */
  readonly requests = [0, 0, 0, 0, 0];
  readonly tokens = { input: 0, output: 0, cached: 0 };
  readonly firstToken = new Histogram(secondsToFirstToken);
  readonly perToken = new Histogram(secondsPerToken);
  readonly queue = new Histogram(secondsInQueue);
  retries = 0;
  continued = 0;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  note(record: RequestRecord): void {
    const at = Math.floor(record.status / 100) - 1;
    this.requests[at] = (this.requests[at] ?? 0) + 1;
    this.tokens.input += record.inputTokens;
    this.tokens.output += record.outputTokens;
    this.tokens.cached += record.cachedTokens;
    this.retries += record.retries;
    this.continued += record.continuations;
    if (record.instanceId !== null) this.queue.observe(seconds(record.waitedMs));
    if (!record.isStream || record.firstByteMs === null) return;
    this.firstToken.observe(seconds(record.firstByteMs));
    if (record.outputTokens < 2) return;
    this.perToken.observe(seconds(record.durationMs - record.firstByteMs) / (record.outputTokens - 1));
  }
}

export class Metrics {
  /** Names of the deployments that are listed, by id. */
  #names: ReadonlyMap<string, string> = new Map();
  /** Of those that had a request: of thousands of deployments most have none. */
  readonly #used = new Map<string, Series>();
  /** Requests for which no deployment was found. */
  readonly #others = new Series({ deployment: "", model: "" });

  /** Lists the deployments that there are, and forgets the series of those that are gone. */
  setModels(models: readonly RouteModel[]): void {
    this.#names = new Map(models.map(({ deploymentId, name }) => [deploymentId, name]));
    for (const id of this.#used.keys()) if (!this.#names.has(id)) this.#used.delete(id);
  }

  /** Counts a request that is over. */
  note(record: RequestRecord): void {
    const { deploymentId } = record;
    const model = deploymentId === null ? undefined : this.#names.get(deploymentId);
    if (deploymentId === null || model === undefined) {
      this.#others.note(record);
      return;
    }
    let series = this.#used.get(deploymentId);
    if (series === undefined) {
      series = new Series({ deployment: deploymentId, model });
      this.#used.set(deploymentId, series);
    }
    series.note(record);
  }

  /** The page in Prometheus' text format. */
  page(readings: Readings): string {
    return writeExposition([...this.families(readings), ...spooled(readings.spool)]);
  }

  /**
   * What is this process's own.
   * @param isBrief leaves out deployments of which there is nothing to say
   */
  families(readings: Readings, isBrief = false): MetricFamily[] {
    const isTold = (id: string) => !isBrief || this.#used.has(id) || readings.load[id] !== undefined;
    const listed = [...this.#names]
      .filter(([id]) => isTold(id))
      .map(([deployment, model]) => this.#used.get(deployment) ?? new Series({ deployment, model }));
    return [
      ...counted([...listed, this.#others]),
      ...timed(listed),
      ...loaded(listed, readings.load),
      gauge(
        "berth_routes_age_seconds",
        "Since control was last heard of; grows while it is away.",
        readings.routesAgeMs === null ? Number.NaN : seconds(readings.routesAgeMs),
      ),
      gauge("berth_gateway_resident_memory_bytes", "Memory of the gateway process.", readings.residentBytes),
    ];
  }
}

/** One page of what several processes count, each with its number as a further label. */
export function joinFamilies(
  processes: readonly { readonly number: number; readonly families: readonly MetricFamily[] }[],
): MetricFamily[] {
  const joined = new Map<string, MetricFamily>();
  for (const { number, families } of processes) {
    for (const family of families) {
      const samples = family.samples.map((sample) => ({
        ...sample,
        labels: { ...sample.labels, process: String(number) },
      }));
      const before = joined.get(family.name)?.samples ?? [];
      joined.set(family.name, { ...family, samples: [...before, ...samples] });
    }
  }
  return [...joined.values()];
}

/** The folder is that of all processes. */
export function spooled({ bytes, dropped }: SpoolReading): MetricFamily[] {
  return [
    gauge("berth_spool_bytes", "Records of usage that wait on disk for control.", bytes),
    {
      name: "berth_spool_dropped_records_total",
      help: "Records of usage that were given up because too many waited or the disk refused them.",
      type: "counter",
      samples: [{ labels: {}, value: dropped }],
    },
  ];
}

function counted(all: readonly Series[]): MetricFamily[] {
  return [
    {
      name: "berth_requests_total",
      help: "Requests that are over, by class of their status; 499, a client that left early, is in 4xx.",
      type: "counter",
      samples: all.flatMap(({ labels, requests }) =>
        statusClasses.map((status, at) => ({ labels: { ...labels, status }, value: requests[at] ?? 0 })),
      ),
    },
    {
      name: "berth_tokens_total",
      help: "Tokens as engines counted them; those from a cache are part of the input.",
      type: "counter",
      samples: all.flatMap(({ labels, tokens }) =>
        Object.entries(tokens).map(([kind, value]) => ({ labels: { ...labels, kind }, value })),
      ),
    },
    {
      name: "berth_retries_total",
      help: "Times a request was offered to an instance again, continued streams among them.",
      type: "counter",
      samples: all.map(({ labels, retries }) => ({ labels, value: retries })),
    },
    {
      name: "berth_continued_streams_total",
      help: "Times a stream whose engine failed went on at another instance.",
      type: "counter",
      samples: all.map(({ labels, continued }) => ({ labels, value: continued })),
    },
  ];
}

function timed(listed: readonly Series[]): MetricFamily[] {
  const family = (name: string, help: string, of: (series: Series) => Histogram): MetricFamily => ({
    ...{ name, help, type: "histogram" },
    samples: listed.flatMap((series) => samplesOf(of(series), series.labels)),
  });
  return [
    family(
      "berth_time_to_first_token_seconds",
      "From the start of a streamed request to the first byte of its answer, waiting included.",
      (series) => series.firstToken,
    ),
    family(
      "berth_time_per_output_token_seconds",
      "Mean time a token of a stream after the first, one value a request.",
      (series) => series.perToken,
    ),
    family(
      "berth_queue_seconds",
      "Time that requests which were given a slot waited for it.",
      (series) => series.queue,
    ),
  ];
}

function loaded(listed: readonly Series[], load: Readings["load"]): MetricFamily[] {
  const family = (name: string, help: string, of: (load: ModelLoad | undefined) => number): MetricFamily => ({
    ...{ name, help, type: "gauge" },
    samples: listed.map(({ labels }) => ({ labels, value: of(load[labels.deployment]) })),
  });
  return [
    family("berth_requests_in_flight", "Requests at engines now.", (of) => of?.running ?? 0),
    family(
      "berth_requests_queued",
      "Requests that wait for a slot or an instance now.",
      (of) => of?.queued ?? 0,
    ),
  ];
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", samples: [{ labels: {}, value }] };
}

function samplesOf(histogram: Histogram, labels: Labels): Sample[] {
  const cumulative = histogram.cumulative();
  const total = cumulative.at(-1) ?? 0;
  return [
    ...cumulative.map((value, at) => ({
      suffix: "_bucket",
      labels: { ...labels, le: String(histogram.bounds[at] ?? "+Inf") },
      value,
    })),
    { suffix: "_sum", labels, value: histogram.sum },
    { suffix: "_count", labels, value: total },
  ];
}

/** Never below 0, also when the clock was set back meanwhile. */
function seconds(ms: number): number {
  return Math.max(0, ms) / 1000;
}
