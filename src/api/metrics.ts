/**
 * Control's part of `GET /metrics`, which the gateway puts on the page: what becomes of deployments, and downloads. Who may
 * read it is the gateway's to decide.
 */
import { statuses, statusOf } from "../core/status.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type MetricFamily, writeExposition } from "../schema/exposition.ts";
import type { ApiDeps } from "./deps.ts";
import type { InstanceLoad } from "./engine-loads.ts";

export async function controlMetrics({
  store,
  progressOf,
  engineLoads,
  clock,
}: {
  readonly store: Store;
  readonly clock: Clock;
  readonly progressOf: ApiDeps["progressOf"];
  readonly engineLoads: () => Promise<readonly InstanceLoad[]>;
}): Promise<string> {
  const deployments = await store.deployments({ includeDeleted: false });
  const instances = Map.groupBy(await store.instances(), ({ deploymentId }) => deploymentId);
  const now = clock.now();
  const seen = deployments.map((each) => statusOf(each, instances.get(each.id) ?? [], now).status);
  const downloads = deployments.flatMap(({ id, name }) => {
    const progress = progressOf(id);
    return progress === null ? [] : [{ labels: { deployment: id, model: name }, progress }];
  });
  const loads = (await engineLoads()).map(({ load, ...labels }) => ({ labels, load }));
  const gauge = (name: string, help: string, samples: MetricFamily["samples"]): MetricFamily => ({
    ...{ name, help, type: "gauge", samples },
  });
  return writeExposition([
    gauge(
      "berth_deployments",
      "Deployments by status.",
      statuses
        .filter((status) => status !== "deleted")
        .map((status) => ({ labels: { status }, value: seen.filter((each) => each === status).length })),
    ),
    gauge(
      "berth_download_bytes",
      "Bytes of weights that are on disk, of deployments that download now.",
      downloads.map(({ labels, progress }) => ({ labels, value: progress.bytesDone })),
    ),
    gauge(
      "berth_download_expected_bytes",
      "Bytes of weights there will be, of deployments that download now.",
      downloads.map(({ labels, progress }) => ({ labels, value: progress.bytesTotal })),
    ),
    gauge(
      "berth_engine_requests_running",
      "Requests that an engine works at, by its own count.",
      loads.map(({ labels, load }) => ({ labels, value: load.running })),
    ),
    gauge(
      "berth_engine_requests_waiting",
      "Requests that wait within an engine, by its own count.",
      loads.map(({ labels, load }) => ({ labels, value: load.waiting })),
    ),
    gauge(
      "berth_engine_cache_ratio",
      "How full an engine's cache of contexts is, 0 to 1.",
      loads.flatMap(({ labels, load }) =>
        load.cacheShare === null ? [] : [{ labels, value: load.cacheShare }],
      ),
    ),
  ]);
}
