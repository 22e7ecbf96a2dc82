/**
 * What the gateways report, kept in memory: each gateway's last picture, summed on demand. Lost and rebuilt freely. Pure: it
 * changes by what it is told alone.
 */
import type { InstanceRecord } from "./instance.ts";
import type { LoadReport, ModelLoad } from "./routing.ts";

export class LoadBoard {
  readonly #reports = new Map<string, LoadReport>();

  /** Replaces what this gateway said before. Returns the deployments of which it says something else now. */
  put(report: LoadReport): Set<string> {
    const before = this.#reports.get(report.gatewayId)?.models ?? {};
    this.#reports.set(report.gatewayId, report);
    const named = new Set([...Object.keys(before), ...Object.keys(report.models)]);
    // Most of a report is as it was: what rests shall not be looked at each second.
    for (const id of named) if (isSame(before[id], report.models[id])) named.delete(id);
    return named;
  }

  /** Forgets a gateway that has gone. Returns the deployments it had work for. */
  drop(gatewayId: string): Set<string> {
    const before = this.#reports.get(gatewayId);
    this.#reports.delete(gatewayId);
    return new Set(Object.keys(before?.models ?? {}));
  }

  get gateways(): number {
    return this.#reports.size;
  }

  /** The sum over all gateways. A draining instance is left out until every gateway has named it. */
  of(deploymentId: string, instances: readonly InstanceRecord[]): ModelLoad {
    let queued = 0;
    let running = 0;
    let lastRequestAtMs: number | null = null;
    const inFlight: Record<string, number> = {};
    const named = new Map<string, number>();
    const suspects = new Set<string>();
    for (const report of this.#reports.values()) {
      const load = report.models[deploymentId];
      if (load === undefined) continue;
      for (const id of load.suspects ?? []) suspects.add(id);
      queued += load.queued;
      running += load.running;
      if (load.lastRequestAtMs !== null)
        lastRequestAtMs = Math.max(lastRequestAtMs ?? 0, load.lastRequestAtMs);
      for (const [id, count] of Object.entries(load.inFlight)) {
        inFlight[id] = (inFlight[id] ?? 0) + count;
        named.set(id, (named.get(id) ?? 0) + 1);
      }
    }
    for (const record of instances) {
      const isKnownToAll = named.get(record.id) === this.#reports.size && this.#reports.size > 0;
      if (record.intent === "drain" && !isKnownToAll) delete inFlight[record.id];
    }
    return {
      queued,
      running,
      lastRequestAtMs,
      inFlight,
      ...(suspects.size > 0 && { suspects: [...suspects] }),
    };
  }
}

function isSame(a: ModelLoad | undefined, b: ModelLoad | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));
}
