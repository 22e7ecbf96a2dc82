/** The load of a simulated deployment, summed over the reports that control has. */
import type { InstanceRecord } from "../core/instance.ts";
import type { LoadReport, ModelLoad } from "../core/routing.ts";

/** A draining instance is left out until every gateway has named it. */
export function sumLoads(
  reports: ReadonlyMap<string, LoadReport>,
  deployment: string,
  instances: readonly InstanceRecord[],
): ModelLoad {
  const loads = [...reports.values()].flatMap(({ models }) => models[deployment] ?? []);
  const inFlight: Record<string, number> = {};
  for (const load of loads)
    for (const [id, count] of Object.entries(load.inFlight)) inFlight[id] = (inFlight[id] ?? 0) + count;
  for (const { id, intent } of instances) {
    const isKnown = reports.size > 0 && loads.filter((load) => id in load.inFlight).length === reports.size;
    if (intent === "drain" && !isKnown) delete inFlight[id];
  }
  const times = loads.flatMap(({ lastRequestAtMs }) => lastRequestAtMs ?? []);
  return {
    queued: loads.reduce((sum, load) => sum + load.queued, 0),
    running: loads.reduce((sum, load) => sum + load.running, 0),
    lastRequestAtMs: times.length === 0 ? null : Math.max(...times),
    inFlight,
  };
}
