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

export const instance = z.object({ id, endpoint, secret, slots: count, isDraining: z.boolean() });

const abilities = z.object({
  engine: z.string().max(64),
  chat: z.boolean(),
  completions: z.boolean(),
  embeddings: z.boolean(),
  tokenize: z.boolean(),
  tools: z.boolean(),
  jsonObject: z.boolean(),
  jsonSchema: z.boolean(),
  regex: z.boolean(),
  logprobs: z.boolean(),
  maxChoices: count,
  images: z.boolean(),
  reasoning: z.boolean(),
  lora: z.boolean(),
  usageByDefault: z.boolean(),
  exactContinuation: z.boolean(),
  deterministic: z.boolean(),
  cacheScope: z.enum(["header", "salt", "none"]),
});

const usd = z.number().min(0).max(1_000_000);
const prices = z.object({ inputUsd: usd, outputUsd: usd, cachedUsd: usd });

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
  version: z.string().max(64),
  abilities,
  prices,
  instances: z.array(instance).max(10_000),
});

const token = z.object({
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tokenId: id,
  account: z.string().min(1).max(64),
  allowedIps: z.array(z.string().max(64)).max(1000).nullable(),
  isAdmin: z.boolean(),
});

const account = z.object({
  name: z.string().min(1).max(64),
  concurrentRequests: count.nullable(),
  requestsPerMinute: count.nullable(),
  tokensPerMinute: count.nullable(),
});

const tokens = z.array(token).max(1_000_000);
const rates = z.array(account).max(1_000_000);
const spentScopes = z.array(id).max(1_000_000);
const models = z.array(model).max(100_000);
const version = { version: count, atMs: z.number() };

/** A line of `GET /routes`, its first at least. */
export const routingSnapshot = z.object({
  ...{ ...version, tokens, accounts: rates, limitedTokens: rates, spentScopes, models },
});

/** A line of it that has `since`. */
export const routeChanges = z.object({
  ...{ ...version, since: count, models, gone: z.array(id).max(100_000) },
  tokens: tokens.exactOptional(),
  accounts: rates.exactOptional(),
  limitedTokens: rates.exactOptional(),
  spentScopes: spentScopes.exactOptional(),
});

const modelLoad = z.object({
  queued: count,
  running: count,
  lastRequestAtMs: z.number().nullable(),
  inFlight: z.record(id, count),
  suspects: z.array(id).max(10_000).optional(),
});

/** Body of `POST /load`. */
export const loadReport = z.object({ gatewayId: id, models: z.record(id, modelLoad) });

/** Printable, so that no database refuses it: a record that cannot be stored would hold up all behind it. */
const plainId = z.string().regex(/^[\x21-\x7e]{1,128}$/);

/** One line of a gateway's spool. */
export const usageRecord = z.object({
  id: plainId,
  requestId: plainId,
  account: plainId,
  tokenId: plainId,
  scopeId: plainId.nullable(),
  deploymentId: plainId,
  model: z.string().min(1).max(256),
  instanceId: plainId.nullable(),
  kind: z.enum(["llm", "embeddings", "time"]),
  startedAtMs: count,
  durationMs: z.number().min(0),
  status: z.number().int().min(100).max(599),
  error: z.string().max(64).nullable(),
  inputTokens: count,
  outputTokens: count,
  cachedTokens: count,
  waitedMs: z.number().min(0),
  ttftMs: z.number().min(0).nullable(),
  costNanoUsd: count,
});

/** Body of `POST /records`. */
export const recordBatch = z.object({ gatewayId: id, records: z.array(usageRecord).max(10_000) });

/** Body of `POST /scopes` and its answer. */
export const scopeQuestion = z.object({ jwt: z.string().min(1).max(8192) });
export const scopeVerdict = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(true),
    scopeId: id,
    account: z.string().min(1).max(64),
    tokenId: id,
    expiresAtMs: z.number(),
    models: z.array(z.string().max(256)).max(1000).nullable(),
    spendingLimitNanoUsd: count.nullable(),
    spentNanoUsd: count,
  }),
  z.object({ ok: z.literal(false), reason: z.string().max(1024) }),
]);
