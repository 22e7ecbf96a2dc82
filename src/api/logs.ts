/** The log queries: what a deployment's engines have printed, for its owner. */
import { deploymentLogQuery, deploymentLogsOut, logQuery, logsOut } from "../schema/logs.ts";
import type { Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { type StampedLine, selectLines, stampLines, toEntry } from "./log-window.ts";
import { type Operation, operation } from "./operation.ts";
import { findDeployment } from "./visibility.ts";

export function logOperations(deps: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/logs/query",
      id: "logs_query_v1_logs_query_get",
      summary: "What a deployment's engines have printed.",
      query: logQuery,
      answer: logsOut,
      handle: async ({ caller, query }) => {
        const lines = await readLines(deps, caller, query.deploy_id);
        return { entries: selectLines(lines, query, deps.clock.now()).map(toEntry) };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/deployment_logs/query",
      id: "deployment_logs_query_v1_deployment_logs_query_get",
      summary: "The same by instance; `limit` counts for each.",
      query: deploymentLogQuery,
      answer: deploymentLogsOut,
      handle: async ({ caller, query }) => {
        const lines = await readLines(deps, caller, query.deploy_id);
        const pods = Map.groupBy(lines, (line) => line.instanceId);
        // `limit` counts for each pod.
        const entries = [...pods]
          .filter(([pod]) => query.pod_name === undefined || pod === query.pod_name)
          .map(([pod, own]) => [pod, selectLines(own, query, deps.clock.now()).map(toEntry)]);
        return { entries: Object.fromEntries(entries) };
      },
    }),
  ];
}

async function readLines(deps: ApiDeps, caller: Caller, id: string): Promise<StampedLine[]> {
  const deployment = await findDeployment(deps.store, caller, id, "manage");
  return stampLines(await deps.readLogs(deployment.id));
}
