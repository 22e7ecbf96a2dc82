/**
 * The wire shapes around who is calling: `/v1/me`, API tokens, and Berth's own `/v1/accounts`, `/v1/berth/*`. A secret
 * occurs in exactly two answers: those that create a token.
 */
import { z } from "zod";

/** `GET /v1/me`. Berth keeps no personal data; those fields are empty. */
export const meOut = z.object({
  uid: z.string(),
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

export const apiTokenIn = z.object({
  /** No control characters, no broken Unicode. */
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}\p{Cs}]+$/u),
});

export const apiTokenOut = z.object({
  /** The secret in the answer that creates it, else masked. */
  token: z.string(),
  /** Unix seconds. */
  created_at: z.int(),
  name: z.string(),
  token_id: z.string(),
  allowed_ips: z.null(),
  /** The secret's last five characters. */
  fragment: z.string(),
});
export type ApiTokenOut = z.output<typeof apiTokenOut>;

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
  /** Unix seconds. */
  created_at: z.int(),
});
export type AccountOut = z.output<typeof accountOut>;

export const accountListOut = z.array(accountOut);

/** The new account with its first token, whose secret is shown here only. */
export const newAccountOut = accountOut.extend({ token: z.string(), token_id: z.string() });
export type NewAccountOut = z.output<typeof newAccountOut>;

/** `GET /v1/berth/info`. */
export const berthInfoOut = z.object({ version: z.string(), account: z.string() });

/** `POST /v1/berth/down`. */
export const berthDownOut = z.object({ status: z.literal("stopping") });

/** Answer of an operation that has nothing to say. */
export const nothingOut = z.object({});
