/** What of a request's record control needs to know: the one place where a visit becomes usage. Pure. */
import type { UsageRecord } from "../core/usage.ts";
import type { RequestRecord } from "./record.ts";

/**
 * Null for what used nothing of a model: paths that are no inference, callers without a token, models that are not there.
 * A request that was refused for its model (its queue was full, it did not start) counts: its owner wants to know. Times are never below 0,
 * also when the clock was set back meanwhile.
 */
export function usageRecordOf(record: RequestRecord, id: string): UsageRecord | null {
  const { account, tokenId, deploymentId, model, kind } = record;
  if (account === null || tokenId === null || deploymentId === null || model === null || kind === null)
    return null;
  return {
    id,
    requestId: record.requestId,
    account,
    tokenId,
    scopeId: record.scopeId,
    deploymentId,
    model,
    instanceId: record.instanceId,
    kind,
    startedAtMs: Math.floor(record.startedAtMs),
    durationMs: Math.max(0, record.durationMs),
    status: record.status,
    error: record.error,
    inputTokens: record.inputTokens,
    outputTokens: record.outputTokens,
    cachedTokens: record.cachedTokens,
    waitedMs: Math.max(0, record.waitedMs),
    ttftMs: record.firstByteMs === null ? null : Math.max(0, record.firstByteMs),
    costNanoUsd: record.costNanoUsd,
  };
}
