/**
 * The border between two processes of the gateway, of which one has lines of the other's requests (gateway/peers.ts): both
 * sides parse what the other sent, which may be of another version. Bounds keep a broken peer from filling memory. Must
 * not decide anything.
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
  promptTokens: z.number().min(0),
  bytes: count,
  prefix: z.array(z.number()).max(1000).readonly(),
  avoid: z.array(id).max(100).readonly(),
};
const bid = z.object({
  ...claimFields,
  failFast: z.boolean(),
  deadlineMs: z.number().nullable(),
  isReturning: z.boolean(),
  joinedAtMs: z.number().nullable(),
});
const claim = z.object({ ...claimFields, tokens: z.number().min(0) });

const used = z
  .array(z.tuple([count, z.number().min(0)]).readonly())
  .max(60)
  .readonly();
const pastUses = z
  .array(z.object({ name: id, requests: used, tokens: used }))
  .max(1000)
  .readonly();
const average = z.number().min(0);

/** A line from the process whose requests they are. `key` numbers them. */
export const leaseQuestion = z.discriminatedUnion("type", [
  /** In place of all others: what has it counted? */
  z.object({ type: z.literal("figures") }),
  /** The first line: who it is. */
  z.object({ type: z.literal("hello"), from: id }),
  /** What follows is told in this view. */
  z.object({ type: z.literal("view"), version: count }),
  /** What it has learned while the line was there. */
  z.object({
    type: z.literal("past"),
    deploymentId: id,
    accounts: pastUses,
    tokens: pastUses,
    rate: z.object({ served: count, meanMs: average, counted: count, meanOutput: average }),
    lastRequestAtMs: z.number().nullable(),
  }),
  /** It has a slot already. */
  z.object({
    type: z.literal("hold"),
    key: count,
    deploymentId: id,
    instance,
    claim,
    startedAtMs: z.number(),
  }),
  /** It wants a slot; `routes` is the version of the routes that it goes by. */
  z.object({ type: z.literal("ask"), key: count, deploymentId: id, bid, routes: count }),
  /** It wants none any more. */
  z.object({ type: z.literal("leave"), key: count }),
  z.object({
    type: z.literal("release"),
    key: count,
    used: z.number().min(0).nullable(),
    pauseMs: z.number().min(0),
    verdict: z.enum(["succeeded", "failed"]).nullable(),
  }),
  /** It would try once more. */
  z.object({ type: z.literal("retry"), key: count, deploymentId: id }),
  /** All it holds has been told, in this view. */
  z.object({ type: z.literal("over"), version: count }),
  /** A scoped JWT with a limit has spent this. */
  z.object({ type: z.literal("spent"), scopeId: id, nanoUsd: z.number().min(0) }),
  /** The version of the routes that it goes by now. */
  z.object({ type: z.literal("routes"), version: count }),
]);

/** A line from the process that has the lines. */
export const leaseAnswer = z.discriminatedUnion("type", [
  z.object({ type: z.literal("grant"), key: count, instance, tokens: z.number().min(0) }),
  z.object({
    type: z.literal("refuse"),
    key: count,
    code: z.enum(Object.keys(httpErrors) as [HttpErrorCode, ...HttpErrorCode[]]),
    message: z.string().max(8192),
    retryAfterS: z.number().min(0).nullable(),
    param: z.string().max(256).nullable(),
  }),
  z.object({ type: z.literal("may"), key: count, isYes: z.boolean() }),
]);

export type LeaseQuestion = z.infer<typeof leaseQuestion>;
export type LeaseAnswer = z.infer<typeof leaseAnswer>;
