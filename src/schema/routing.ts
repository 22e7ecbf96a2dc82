/**
 * The border of the protocol between control and gateway (see core/routing.ts): both sides parse what the other sent,
 * so that a version that does not fit is a clear error and never half a picture. Unknown fields are dropped, which lets
 * a newer side add some. Bounds keep a broken peer from filling memory. Must not decide anything.
 */
import { z } from "zod";

const endpoint = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("unix"), path: z.string().min(1).max(4096) }),
  z.object({
    kind: z.literal("tcp"),
    host: z.string().regex(/^[A-Za-z0-9._:-]{1,255}$/),
    port: z.number().int().min(1).max(65_535),
  }),
]);

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const id = z.string().min(1).max(128);

/** Printable ASCII without spaces: it becomes part of a header towards the engine. */
const secret = z.string().regex(/^[\x21-\x7e]{1,512}$/);

const instance = z.object({ id, endpoint, secret, slots: count, isDraining: z.boolean() });

const model = z.object({
  deploymentId: id,
  name: z.string().min(1).max(256),
  account: z.string().min(1).max(64),
  isPublic: z.boolean(),
  state: z.enum(["ready", "starting", "asleep", "off", "gone"]),
  reason: z.string().max(8192),
  loadTimeMs: z.number().min(0).nullable(),
  createdAtMs: z.number(),
  contextTokens: count,
  task: z.string().max(128),
  instances: z.array(instance).max(10_000),
});

const token = z.object({
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tokenId: id,
  account: z.string().min(1).max(64),
});

/** One line of `GET /routes`. */
export const routingSnapshot = z.object({
  version: count,
  atMs: z.number(),
  tokens: z.array(token).max(1_000_000),
  models: z.array(model).max(100_000),
});

const modelLoad = z.object({
  queued: count,
  running: count,
  lastRequestAtMs: z.number().nullable(),
  inFlight: z.record(id, count),
});

/** Body of `POST /load`. */
export const loadReport = z.object({ gatewayId: id, models: z.record(id, modelLoad) });
