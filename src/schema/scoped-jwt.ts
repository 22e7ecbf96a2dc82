/** The wire shapes of scoped JWTs. */
import { z } from "zod";
import { laxInt } from "./lax.ts";

const unixSeconds = laxInt(z.int().min(0).max(253_402_300_799)).nullish();

/** Body of `POST /v1/scoped-jwt`. */
export const scopedJwtIn = z.object({
  api_key_name: z.string(),
  models: z.array(z.string().min(1).max(256)).min(1).max(100).nullish(),
  expires_delta: laxInt(z.int().min(1).max(253_402_300_799)).nullish(),
  expires_at: unixSeconds,
  spending_limit: z.number().positive().max(1_000_000).nullish(),
});
export type ScopedJwtIn = z.output<typeof scopedJwtIn>;

export const scopedJwtOut = z.object({ token: z.string() });

/** Query of `GET /v1/scoped-jwt`. */
export const scopedJwtQuery = z.object({ jwtoken: z.string().max(16_384) });

export const scopedJwtRightsOut = z.object({
  expires_at: z.int(),
  models: z.array(z.string()).nullable(),
  spending_limit: z.number().nullable(),
});
