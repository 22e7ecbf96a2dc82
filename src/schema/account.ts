/**
 * The wire shapes around who is calling: `/v1/me`, API tokens, and Berth's own `/v1/accounts`, `/v1/berth/*`. A secret
 * occurs in exactly two answers: those that create a token.
 */
import { z } from "zod";
import { laxInt } from "./lax.ts";

/** Query of `GET /v1/me`. */
export const meQuery = z.object({ checklist: z.enum(["true", "false", "1", "0"]).default("false") });

/** Payments are not Berth's: the list is always in order. */
export const checklistOut = z.object({
  email: z.boolean(),
  billing_address: z.boolean(),
  payment_method: z.boolean(),
  suspended: z.boolean(),
  overdue_invoices: z.number(),
  last_checked: z.int(),
  stripe_balance: z.number(),
  recent: z.number(),
  limit: z.number().nullable(),
  suspend_reason: z.null(),
  topup: z.boolean(),
  topup_amount: z.int(),
  topup_threshold: z.int(),
  topup_failed: z.boolean(),
});

/** `GET /v1/me`. What PATCH has not set is empty. */
export const meOut = z.object({
  uid: z.string(),
  require_email_verified: z.boolean(),
  is_team_account: z.boolean(),
  is_team_owner: z.boolean(),
  team_role: z.null(),
  team_display_name: z.null(),
  is_team_upgrade_enabled: z.boolean(),
  vercel_connection: z.null(),
  checklist: checklistOut.nullable(),
  email: z.string().nullable(),
  email_verified: z.boolean(),
  account_setup: z.boolean(),
  display_name: z.string(),
  provider: z.string(),
  picture: z.string().nullable(),
  is_admin: z.boolean(),
  name: z.string(),
  first_name: z.string(),
  last_name: z.string(),
  country: z.string(),
  is_business_account: z.boolean(),
  company: z.string(),
  website: z.string(),
  title: z.string(),
});
export type MeOut = z.output<typeof meOut>;

/** Printable, so that it can be shown as it is. */
const line = (max: number, min = 1) =>
  z
    .string()
    .min(min)
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u)
    .nullish();

/** Body of `PATCH /v1/me`. What is absent or null stays; `use_case` and `attribution` are not kept. */
export const meIn = z.object({
  name: line(256),
  first_name: line(128),
  last_name: line(128),
  country: line(128),
  email: line(320),
  is_business_account: z.boolean().nullish(),
  company: line(128),
  website: line(128, 0),
  title: line(128),
  display_name: z
    .string()
    .min(1)
    .max(39)
    .regex(/^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/)
    .nullish(),
  use_case: line(512),
  attribution: line(512),
});
export type MeIn = z.output<typeof meIn>;

export const emailsOut = z.object({ emails: z.array(z.string()) });

/** Null for all addresses. */
const allowedIps = z.array(z.string().max(64)).max(100).nullable();

export const apiTokenIn = z.object({
  /** No control characters, no broken Unicode. */
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}\p{Cs}]+$/u),
  allowed_ips: allowedIps.optional(),
});

/** Body of `PUT` and `PATCH /v1/api-tokens/id/{token_id}`. */
export const apiTokenChangeIn = z.object({ allowed_ips: allowedIps });

export const apiTokenOut = z.object({
  /** The secret in the answer that creates it, else masked. */
  token: z.string(),
  /** Unix seconds. */
  created_at: z.int(),
  name: z.string(),
  token_id: z.string(),
  allowed_ips: allowedIps,
  /** The secret's last five characters. */
  fragment: z.string(),
});
export type ApiTokenOut = z.output<typeof apiTokenOut>;

const tokenRate = z.int().min(0).max(1_000_000_000).nullable();

/** Body of `PUT /v1/berth/tokens/{token_id}/limits`, with the names of an account's limits. */
export const tokenLimitsIn = z.object({
  rate_limit: tokenRate.optional(),
  requests_per_minute: tokenRate.optional(),
  tpm_rate_limit: tokenRate.optional(),
});
export const tokenLimitsOut = z.object({
  rate_limit: tokenRate,
  requests_per_minute: tokenRate,
  tpm_rate_limit: tokenRate,
});

export const apiTokenListOut = z.array(apiTokenOut);

export const apiTokenPath = z.object({ api_token: z.string() });
export const apiTokenIdPath = z.object({ token_id: z.string() });

/** Body of `POST /v1/accounts`. */
export const accountIn = z.object({
  /** Letters and digits with single hyphens between them. */
  name: z
    .string()
    .min(1)
    .max(39)
    .regex(/^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$/),
  is_admin: z.boolean().default(false),
});
export type AccountBody = z.input<typeof accountIn>;

export const accountOut = z.object({
  name: z.string(),
  is_admin: z.boolean(),
  is_disabled: z.boolean(),
  /** Unix seconds. */
  created_at: z.int(),
  /** What was set for it; null and absent GPU types go by the installation's defaults, 0 is no limit. */
  limits: z.object({
    rate_limit: z.int().nullable(),
    requests_per_minute: z.int().nullable(),
    tpm_rate_limit: z.int().nullable(),
    gpus: z.record(z.string(), z.int()),
  }),
});
export type AccountOut = z.output<typeof accountOut>;

export const accountPath = z.object({ name: z.string() });

const rate = laxInt(z.int().min(0).max(1_000_000_000)).nullish();
/** GPUs by type; types are checked where they are known. */
export const gpuCounts = z.record(z.string().max(64), laxInt(z.int().min(0).max(100_000)));

/** Body of `PATCH /v1/accounts/{name}`: what is absent stays, null goes back to the default. */
export const accountChangeIn = z.object({
  is_disabled: z.boolean().optional(),
  limits: z
    .object({
      rate_limit: rate,
      requests_per_minute: rate,
      tpm_rate_limit: rate,
      gpus: z.record(z.string().max(64), laxInt(z.int().min(0).max(100_000)).nullable()).optional(),
    })
    .optional(),
});
export type AccountChange = z.output<typeof accountChangeIn>;

export const accountListOut = z.array(accountOut);

/** The new account with its first token, whose secret is shown here only. */
export const newAccountOut = accountOut.extend({ token: z.string(), token_id: z.string() });
export type NewAccountOut = z.output<typeof newAccountOut>;

/** `GET /v1/berth/info`. */
export const berthInfoOut = z.object({
  version: z.string(),
  account: z.string(),
  isolation: z.object({ isolated: z.boolean(), reason: z.string().nullable(), next: z.string().nullable() }),
  /** Every GPU that was found, also those that are not offered, with the reason; `outage`: `lost`, `sick` or `busy`. */
  gpus: z
    .array(
      z.object({
        ...{ id: z.string(), name: z.string(), type: z.string(), memory_gb: z.number() },
        ...{ usable: z.boolean(), outage: z.string().nullable(), reason: z.string().nullable() },
      }),
    )
    .default([]),
  /** Processes of Berth that ended unasked or hung and were started again since it was started, the newest last, at most 20. */
  restarts: z.array(z.object({ process: z.string(), at: z.string(), reason: z.string() })).default([]),
});

export type BerthInfoOut = z.output<typeof berthInfoOut>;

/** `POST /v1/berth/down`. */
export const berthDownOut = z.object({ status: z.literal("stopping") });

/** Answer of an operation that has nothing to say. */
export const nothingOut = z.object({});
