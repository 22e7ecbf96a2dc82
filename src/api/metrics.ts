/**
 * Control's part of `GET /metrics`, which the gateway puts on the page: what becomes of deployments, and downloads. Who may
 * read it is the gateway's to decide.
 */
import { statuses, statusOf } from "../core/status.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type MetricFamily, writeExposition } from "../schema/exposition.ts";
import type { ApiDeps } from "./deps.ts";

export async function controlMetrics({
  store,
  progressOf,
  clock,
}: {
  readonly store: Store;
  readonly clock: Clock;
  readonly progressOf: ApiDeps["progressOf"];
}): Promise<string> {
  const deployments = await store.deployments({ includeDeleted: false });
  const instances = Map.groupBy(await store.instances(), ({ deploymentId }) => deploymentId);
  const now = clock.now();
  const seen = deployments.map((each) => statusOf(each, instances.get(each.id) ?? [], now).status);
  const downloads = deployments.flatMap(({ id, name }) => {
    const progress = progressOf(id);
    return progress === null ? [] : [{ labels: { deployment: id, model: name }, progress }];
  });
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
  ]);
}
