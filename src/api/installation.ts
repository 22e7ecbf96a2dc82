/** Berth's own operations about the installation as a whole, for administrators. */
import type { NodeGpu } from "../core/instance.ts";
import type { Isolation } from "../core/isolation.ts";
import { berthDownOut, berthInfoOut } from "../schema/account.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function installationOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/berth/info",
      id: "berth_info",
      summary:
        "Version of this Berth, whether its engines are isolated, the GPUs that were found, and which of its processes had to be started again",
      access: "administrator",
      answer: berthInfoOut,
      handle: async ({ caller }) => ({
        version: deps.version,
        account: caller.account,
        isolation: describeIsolation(await deps.isolation()),
        gpus: (await deps.capacity()).flatMap((node) => node.gpus.map(describeGpu)),
        restarts: deps.restarts().map(({ role, atMs, reason }) => ({
          ...{ process: role, reason, at: new Date(atMs).toISOString() },
        })),
      }),
    }),
    operation({
      method: "POST",
      path: "/v1/berth/down",
      id: "berth_down",
      summary: "Stop Berth and every engine",
      access: "administrator",
      status: 202,
      answer: berthDownOut,
      handle: async () => ({ status: "stopping" as const }),
      afterwards: deps.down,
    }),
  ];
}

function describeGpu({ id, name, type, memoryBytes, usable, outage, reason }: NodeGpu) {
  const memoryGb = Math.round(memoryBytes / 1e8) / 10;
  return { id, name, type, memory_gb: memoryGb, usable, outage: outage ?? null, reason };
}

function describeIsolation(isolation: Isolation) {
  return isolation.isIsolated
    ? { isolated: true, reason: null, next: null }
    : { isolated: false, reason: isolation.reason, next: isolation.next };
}
