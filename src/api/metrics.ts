/**
 * Control's part of `GET /metrics`, which the gateway puts on the page: what becomes of deployments, and downloads. Who may
 * read it is the gateway's to decide.
 */
import type { ObservedInstance } from "../core/instance.ts";
import { statuses, statusOf } from "../core/status.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type MetricFamily, writeExposition } from "../schema/exposition.ts";
import type { ApiDeps } from "./deps.ts";

export async function controlMetrics({
  store,
  progressOf,
  observe,
  clock,
}: {
  readonly store: Store;
  readonly clock: Clock;
  readonly progressOf: ApiDeps["progressOf"];
  /** What runs on the machines. */
  observe(): Promise<readonly Pick<ObservedInstance, "id" | "deploymentId" | "memory">[]>;
}): Promise<string> {
  const deployments = await store.deployments({ includeDeleted: false });
  const instances = Map.groupBy(await store.instances(), ({ deploymentId }) => deploymentId);
  const now = clock.now();
  const seen = deployments.map((each) => statusOf(each, instances.get(each.id) ?? [], now).status);
  const downloads = deployments.flatMap(({ id, name }) => {
    const progress = progressOf(id);
    return progress === null ? [] : [{ labels: { deployment: id, model: name }, progress }];
  });
  const names = new Map(deployments.map(({ id, name }) => [id, name]));
  const engines = (await observe()).flatMap(({ id, deploymentId, memory }) => {
    const labels = { deployment: deploymentId, model: names.get(deploymentId) ?? "", instance: id };
    return memory === undefined ? [] : [{ labels, memory }];
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
    gauge(
      "berth_engine_memory_bytes",
      "Memory that an engine uses by itself, without mapped weights.",
      engines.map(({ labels, memory }) => ({ labels, value: memory.usedBytes })),
    ),
    gauge(
      "berth_engine_memory_limit_bytes",
      "The most that an engine may use; one that comes near it is replaced when it has nothing to do.",
      engines.flatMap(({ labels, memory }) =>
        memory.limitBytes === null ? [] : [{ labels, value: memory.limitBytes }],
      ),
    ),
  ]);
}
