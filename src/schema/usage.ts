/**
 * The wire shapes of usage: statistics of deployments, what an account has used, costs of requests, the live figures.
 * Amounts are whole cents, rounded; `POST /v1/request-costs` has billionths of a dollar, and camelCase, as published.
 */
import { z } from "zod";
import { deployIdPath } from "./deploy.ts";
import { laxInt } from "./lax.ts";

/** Points in time are read in the API room, which knows the time it is now. */
export const statsQuery = z.object({ from: z.string(), to: z.string().default("now") });
export const statsPath = deployIdPath;

export const deploymentMainStatsOut = z.object({ model_name: z.string(), requests: z.int() });
export const deploymentMainStatsListOut = z.array(deploymentMainStatsOut);

export const deploymentStatsOut = z.object({
  requests: z.int(),
  /** Seconds spent in inference. */
  total_time: z.int(),
  total_tokens: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  /** Cents. */
  total_amount: z.int(),
  /** Milliseconds. */
  avg_time: z.number(),
  avg95_time: z.number(),
  errors: z.int(),
});
export type DeploymentStatsOut = z.output<typeof deploymentStatsOut>;

const llmStats = z.object({
  requests: z.int(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  avg_ttft_ms: z.number(),
  avg95_ttft_ms: z.number(),
  avg_tpt_ms: z.number(),
  avg95_tpt_ms: z.number(),
  total_amount_cents: z.int(),
  errors: z.int(),
});

const embeddingsStats = z.object({
  requests: z.int(),
  input_tokens: z.int(),
  avg_tpt_ms: z.number(),
  avg95_tpt_ms: z.number(),
  total_amount_cents: z.int(),
  errors: z.int(),
});

const timeStats = z.object({
  requests: z.int(),
  total_time_s: z.int(),
  total_amount_cents: z.int(),
  avg_time_ms: z.number(),
  avg95_time_ms: z.number(),
  errors: z.int(),
});

/** A kind of request that the deployment had none of is null. */
export const detailedDeploymentStatsOut = z.object({
  llm: llmStats.nullable(),
  embeddings: embeddingsStats.nullable(),
  time: timeStats.nullable(),
});
export type DetailedDeploymentStatsOut = z.output<typeof detailedDeploymentStatsOut>;

const unixSeconds = laxInt(z.int().min(0).max(8_640_000_000_000));

export const rentQuery = z.object({ from: unixSeconds, to: unixSeconds.optional() });

export const usageRentOut = z.object({
  /** Deployment id to seconds of GPU time: an instance's seconds, times the GPUs it takes. */
  id_to_duration: z.record(z.string(), z.int()),
});

/** Months; read in the API room. */
export const usageQuery = z.object({ from: z.string(), to: z.string().optional() });
export const usageTokenPath = z.object({ api_token: z.string() });

/** Milliseconds, both included. */
const timeInterval = z.object({ fr: z.int(), to: z.int() });

const usageItem = z.object({
  model: z.object({
    provider: z.string(),
    model_name: z.string(),
    task: z.string(),
    plan_id: z.string().nullable(),
    private: z.boolean(),
  }),
  /** Seconds of GPU time, or tokens. */
  units: z.int(),
  /** Cents for one unit. */
  rate: z.number(),
  /** Cents. */
  cost: z.int(),
  pricing_type: z.enum(["uptime", "tokens"]),
  interval: timeInterval,
  discount: z.null(),
});
export type UsageItemOut = z.output<typeof usageItem>;

export const usageOut = z.object({
  months: z.array(
    z.object({
      /** `2026.11`. */
      period: z.string(),
      interval: timeInterval,
      items: z.array(usageItem),
      total_cost: z.int(),
      /** Berth writes no invoices. */
      invoice_id: z.literal("EMPTY"),
    }),
  ),
  initial_month: z.string(),
});
export type UsageOut = z.output<typeof usageOut>;

export const requestCostQuery = z.object({ requestIds: z.array(z.string().max(256)).max(1000) });
/** Requests that are not known, not the caller's, or not kept any more are left out. */
export const requestCostResponse = z.object({
  requests: z.array(z.object({ requestId: z.string(), costNanoUsd: z.int() })),
});

export const webLiveMetricsOut = z.object({
  tokens_per_second: z.number().nullable(),
  /** Seconds. */
  time_to_first_token: z.number().nullable(),
  requests_per_second: z.number().nullable(),
  /** Berth does not measure it. */
  total_tflops: z.null(),
});
