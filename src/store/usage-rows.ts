/**
 * Between the values of usage and the tables' rows, as `rows.ts` does it for the rest: each row is checked when it is
 * read. Records are checked at the border they came in by, and not again when they are written. Pure; must not query.
 */
import { z } from "zod";
import type { InstanceRun } from "../core/rent.ts";
import type { Sketch } from "../core/sketch.ts";
import type { UsageKind, UsageRecord } from "../core/usage.ts";
import type { UsageHour, UsageTotals } from "../core/usage-totals.ts";
import type { UsageSum } from "../ports/usage-store.ts";
import { json, readRow } from "./rows.ts";
import type { Tables } from "./tables.ts";

const count = z.int().min(0);
const timeMs = z.int();
const kind: z.ZodType<UsageKind> = z.enum(["llm", "embeddings", "time"]);

const details = z.strictObject({
  tokenId: z.string(),
  scopeId: z.string().nullable(),
  model: z.string(),
  instanceId: z.string().nullable(),
  kind,
  durationMs: z.number(),
  status: z.int(),
  error: z.string().nullable(),
  inputTokens: count,
  outputTokens: count,
  cachedTokens: count,
  waitedMs: z.number(),
  ttftMs: z.number().nullable(),
});

const recordRow = z
  .object({
    id: z.string(),
    request_id: z.string(),
    account: z.string(),
    deployment_id: z.string(),
    started_at_ms: timeMs,
    cost_nano_usd: count,
    details: json(details),
  })
  .transform(
    (row): UsageRecord => ({
      id: row.id,
      requestId: row.request_id,
      account: row.account,
      deploymentId: row.deployment_id,
      startedAtMs: row.started_at_ms,
      costNanoUsd: row.cost_nano_usd,
      ...row.details,
    }),
  );

export function readRecord(row: Tables["usage_records"]): UsageRecord {
  return readRow("usage_records", row.id, recordRow, row);
}

export function writeRecord(record: UsageRecord): Tables["usage_records"] {
  const { id, requestId, account, deploymentId, startedAtMs, costNanoUsd, ...rest } = record;
  return {
    id,
    request_id: requestId,
    account,
    deployment_id: deploymentId,
    started_at_ms: Math.floor(startedAtMs),
    cost_nano_usd: costNanoUsd,
    details: JSON.stringify(rest),
  };
}

/** Bins are written as one list, bin and count in turn. */
const sketch = z
  .strictObject({ count, sum: z.number(), bins: z.array(z.int()) })
  .transform((written): Sketch => {
    const bins = new Map<number, number>();
    for (let index = 0; index + 1 < written.bins.length; index += 2)
      bins.set(written.bins[index] ?? 0, written.bins[index + 1] ?? 0);
    return { count: written.count, sum: written.sum, bins };
  });
const sketches = z.strictObject({ times: sketch, ttfts: sketch, perToken: sketch });

function writeSketch({ count: values, sum, bins }: Sketch): z.input<typeof sketch> {
  return { count: values, sum, bins: [...bins].flat() };
}

const hourRow = z
  .object({
    kind,
    requests: count,
    errors: count,
    input_tokens: count,
    output_tokens: count,
    cached_tokens: count,
    duration_ms: count,
    cost_nano_usd: count,
    sketches: json(sketches),
  })
  .transform((row): { kind: UsageKind; totals: UsageTotals } => ({
    kind: row.kind,
    totals: {
      requests: row.requests,
      errors: row.errors,
      inputTokens: row.input_tokens,
      outputTokens: row.output_tokens,
      cachedTokens: row.cached_tokens,
      durationMs: row.duration_ms,
      costNanoUsd: row.cost_nano_usd,
      timesMs: row.sketches.times,
      ttftsMs: row.sketches.ttfts,
      perTokenMs: row.sketches.perToken,
    },
  }));

export function readHour(row: Tables["usage_hours"]): { kind: UsageKind; totals: UsageTotals } {
  return readRow("usage_hours", `${row.deployment_id} ${row.hour_ms} ${row.kind}`, hourRow, row);
}

export function writeHour(hour: UsageHour, totals: UsageTotals): Tables["usage_hours"] {
  return {
    deployment_id: hour.deploymentId,
    account: hour.account,
    token_id: hour.tokenId,
    kind: hour.kind,
    hour_ms: hour.hourMs,
    requests: totals.requests,
    errors: totals.errors,
    input_tokens: totals.inputTokens,
    output_tokens: totals.outputTokens,
    cached_tokens: totals.cachedTokens,
    duration_ms: totals.durationMs,
    cost_nano_usd: totals.costNanoUsd,
    sketches: JSON.stringify({
      times: writeSketch(totals.timesMs),
      ttfts: writeSketch(totals.ttftsMs),
      perToken: writeSketch(totals.perTokenMs),
    } satisfies z.input<typeof sketches>),
  };
}

const sumRow = z
  .object({
    deployment_id: z.string(),
    kind,
    requests: count,
    errors: count,
    input_tokens: count,
    output_tokens: count,
    cost_nano_usd: count,
  })
  .transform(
    (row): UsageSum => ({
      deploymentId: row.deployment_id,
      kind: row.kind,
      requests: row.requests,
      errors: row.errors,
      inputTokens: row.input_tokens,
      outputTokens: row.output_tokens,
      costNanoUsd: row.cost_nano_usd,
    }),
  );

export function readSum(row: { deployment_id: string }): UsageSum {
  return readRow("usage_hours", row.deployment_id, sumRow, row);
}

const runRow = z
  .object({
    instance_id: z.string(),
    deployment_id: z.string(),
    account: z.string(),
    gpu: z.string(),
    gpus: count,
    usd_per_gpu_hour: json(z.number().min(0)),
    started_at_ms: timeMs,
    seen_at_ms: timeMs,
    ended_at_ms: timeMs.nullable(),
  })
  .transform(
    (row): InstanceRun => ({
      instanceId: row.instance_id,
      deploymentId: row.deployment_id,
      account: row.account,
      gpu: row.gpu,
      gpus: row.gpus,
      usdPerGpuHour: row.usd_per_gpu_hour,
      startedAtMs: row.started_at_ms,
      seenAtMs: row.seen_at_ms,
      endedAtMs: row.ended_at_ms,
    }),
  );

export function readRun(row: Tables["instance_runs"]): InstanceRun {
  return readRow("instance_runs", row.instance_id, runRow, row);
}

export function writeRun(run: InstanceRun): Tables["instance_runs"] {
  return {
    instance_id: run.instanceId,
    deployment_id: run.deploymentId,
    account: run.account,
    gpu: run.gpu,
    gpus: run.gpus,
    usd_per_gpu_hour: JSON.stringify(run.usdPerGpuHour),
    started_at_ms: run.startedAtMs,
    seen_at_ms: run.seenAtMs,
    ended_at_ms: run.endedAtMs,
  };
}
