/**
 * The border between a gateway and the one that takes over from it (gateway/handover.ts): both sides parse what the other
 * sent, which may be of another version. Bounds keep a broken peer from filling memory. Must not decide anything.
 */
import { z } from "zod";
import { type HttpErrorCode, httpErrors } from "./errors.ts";
import { instance } from "./routing.ts";

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const id = z.string().min(1).max(128);

const claimFields = {
  account: z.string().max(64),
  tokenId: z.string().max(128),
  tier: z.enum(["priority", "default", "flex"]),
  tokens: z.number().min(0),
  promptTokens: z.number().min(0),
  bytes: count,
  prefix: z.array(z.number()).max(100_000).readonly(),
  avoid: z.array(id).max(10_000).readonly(),
};
const bid = z
  .object({
    ...claimFields,
    failFast: z.boolean(),
    deadlineMs: z.number().nullable(),
    isReturning: z.boolean(),
  })
  .omit({ tokens: true });

/** A line of the gateway that hands over. `key` numbers its requests. */
export const handoverQuestion = z.discriminatedUnion("type", [
  /** It is in flight. */
  z.object({
    type: z.literal("hold"),
    key: count,
    deploymentId: id,
    instanceId: id,
    claim: z.object(claimFields),
  }),
  /** It wants a slot. */
  z.object({ type: z.literal("ask"), key: count, deploymentId: id, bid }),
  /** It wants none any more. */
  z.object({ type: z.literal("leave"), key: count }),
  z.object({
    type: z.literal("release"),
    key: count,
    used: z.number().min(0).nullable(),
    pauseMs: z.number().min(0),
  }),
  /** All that was in flight has been told. */
  z.object({ type: z.literal("over") }),
]);

/** A line of the gateway that takes over. */
export const handoverAnswer = z.discriminatedUnion("type", [
  z.object({ type: z.literal("grant"), key: count, instance }),
  z.object({
    type: z.literal("refuse"),
    key: count,
    code: z.enum(Object.keys(httpErrors) as [HttpErrorCode, ...HttpErrorCode[]]),
    message: z.string().max(8192),
    retryAfterS: z.number().min(0).nullable(),
  }),
]);

export type HandoverQuestion = z.infer<typeof handoverQuestion>;
export type HandoverAnswer = z.infer<typeof handoverAnswer>;
