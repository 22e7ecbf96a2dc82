/** The wire shapes of quotas and of requests for higher ones: DeepInfra's two generations, and Berth's own for administrators. */
import { z } from "zod";
import { gpuCounts } from "./account.ts";
import { laxInt } from "./lax.ts";

const rate = z.int().min(1).max(1_000_000_000);
const reason = (max: number) => z.string().max(max);

export const rateLimitOut = z.object({ rate_limit: z.int(), tpm_rate_limit: z.int() });

export const rateLimitRequestIn = z.object({
  rate_limit: laxInt(rate),
  tpm_rate_limit: laxInt(rate).nullish(),
  reason: reason(2048),
});

export const gpuLimitOut = z.object({
  limits: z.record(z.string(), z.int()),
  pending_requests: z.record(z.string(), z.int()).nullable(),
});

export const gpuLimitRequestIn = z.object({
  gpu_type: z.string().max(64),
  requested_limit: laxInt(z.int().min(0).max(100_000)),
  reason: reason(2048),
});

export const gpuTypesOut = z.object({ gpu_types: z.array(z.string()) });

export const gpuPoolRequestOut = z.object({
  request_id: z.string(),
  requested_max: z.record(z.string(), z.int()),
  requested_min: z.record(z.string(), z.int()),
  reason: z.string(),
  /** Unix seconds. */
  created_at: z.int(),
});
export type GpuPoolRequestOut = z.output<typeof gpuPoolRequestOut>;

export const gpuPoolOut = z.object({
  max_limits: z.record(z.string(), z.int()),
  min_limits: z.record(z.string(), z.int()),
  pending_request: gpuPoolRequestOut.nullable(),
  last_rejection: gpuPoolRequestOut.extend({ rejection_reason: z.string(), rejected_at: z.int() }).nullable(),
});

export const gpuPoolRequestIn = z.object({
  reason: reason(2000),
  requested_max: gpuCounts.nullish(),
  requested_min: gpuCounts.nullish(),
  expected_request_id: z.string().max(64).nullish(),
});

export const limitRequestPath = z.object({ request_id: z.string() });

/** A request as administrators see it. */
export const limitRequestOut = z.object({
  request_id: z.string(),
  account: z.string(),
  kind: z.enum(["rate", "gpu"]),
  state: z.enum(["pending", "granted", "rejected", "withdrawn"]),
  wanted: z.object({
    rate_limit: z.int().optional(),
    tpm_rate_limit: z.int().optional(),
    gpus: z.record(z.string(), z.int()).optional(),
  }),
  reason: z.string(),
  /** Unix seconds. */
  created_at: z.int(),
  decided_at: z.int().nullable(),
  answer: z.string(),
});
export type LimitRequestOut = z.output<typeof limitRequestOut>;

export const limitRequestListOut = z.array(limitRequestOut);

export const limitRequestQuery = z.object({
  state: z.enum(["pending", "granted", "rejected", "withdrawn", "all"]).default("pending"),
  account: z.string().max(64).optional(),
});

/** Body of a grant or a rejection: a word for the asker. */
export const limitDecisionIn = z.object({ answer: z.string().max(2048).default("") }).nullish();
