/** The wire shapes of the log queries: fractional unix seconds as strings, lines in ascending order. */
import { z } from "zod";
import { laxInt } from "./lax.ts";

/** Unix seconds with up to nine decimals. */
const unixSeconds = z.string().regex(/^\d{1,11}(\.\d{1,9})?$/);

/** Query of `GET /v1/logs/query`: `from` inclusive, `to` exclusive. */
export const logQuery = z.object({
  deploy_id: z.string(),
  from: unixSeconds.optional(),
  to: unixSeconds.optional(),
  limit: laxInt(z.int().min(1).max(1000)).default(100),
});
export type LogQuery = z.output<typeof logQuery>;

/** Query of `GET /v1/deployment_logs/query`; a pod is an instance. */
export const deploymentLogQuery = logQuery.extend({ pod_name: z.string().optional() });

/** Time with nine decimals, then the line. */
export const logEntry = z.tuple([z.string(), z.string()]);
export type LogEntry = z.output<typeof logEntry>;

export const logsOut = z.object({ entries: z.array(logEntry) });
export const deploymentLogsOut = z.object({ entries: z.record(z.string(), z.array(logEntry)) });
