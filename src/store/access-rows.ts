/**
 * Between the values of `access.ts` and the tables' rows, as `rows.ts` does it for the rest: each row is checked when it
 * is read. Pure; must not query.
 */
import { z } from "zod";
import type { AccountTerms, LimitRequest, Profile, WantedLimits } from "../core/account.ts";
import type { AuditEntry, StoredAuditEntry } from "../core/audit.ts";
import { gpuTypes } from "../core/deployment.ts";
import type { LimitedScope } from "../ports/access-store.ts";
import { json, readRow } from "./rows.ts";
import type { Tables } from "./tables.ts";

const count = z.int().min(0);
const timeMs = z.int();
const gpus = z.partialRecord(z.enum(gpuTypes), count);
const text = z.string().exactOptional();

const profile: z.ZodType<Profile> = z.strictObject({
  name: text,
  firstName: text,
  lastName: text,
  country: text,
  email: text,
  isBusiness: z.boolean().exactOptional(),
  company: text,
  website: text,
  title: text,
});

const terms: z.ZodType<AccountTerms> = z.strictObject({
  isDisabled: z.boolean(),
  limits: z.strictObject({
    concurrentRequests: count.nullable(),
    requestsPerMinute: count.nullable(),
    tokensPerMinute: count.nullable(),
    gpus,
  }),
  profile,
});

const wanted: z.ZodType<WantedLimits> = z.strictObject({
  concurrentRequests: count.exactOptional(),
  tokensPerMinute: count.exactOptional(),
  gpus: gpus.exactOptional(),
});

const termsRow = z.object({ account: z.string(), terms: json(terms), version: count });

const requestRow = z
  .object({
    id: z.string(),
    account: z.string(),
    kind: z.enum(["rate", "gpu"]),
    state: z.enum(["pending", "granted", "rejected", "withdrawn"]),
    created_at_ms: timeMs,
    details: json(
      z.strictObject({
        wanted,
        reason: z.string(),
        decidedAtMs: timeMs.nullable(),
        answer: z.string(),
      }),
    ),
  })
  .transform(
    ({ created_at_ms, details, ...row }): LimitRequest => ({
      ...row,
      ...details,
      createdAtMs: created_at_ms,
    }),
  );

const auditRow = z
  .object({
    seq: count,
    at_ms: timeMs,
    account: z.string(),
    token_id: z.string(),
    address: z.string(),
    action: z.string(),
    target: json(z.record(z.string(), z.string())),
    request_id: z.string(),
  })
  .transform(
    (row): StoredAuditEntry => ({
      seq: row.seq,
      atMs: row.at_ms,
      account: row.account,
      tokenId: row.token_id,
      address: row.address,
      action: row.action,
      target: row.target,
      requestId: row.request_id,
    }),
  );

export function readTerms(row: Tables["account_terms"]): AccountTerms {
  return readRow("account_terms", row.account, termsRow, row).terms;
}

export function writeTerms(account: string, value: AccountTerms, version: number): Tables["account_terms"] {
  const row = { account, terms: JSON.stringify(value), version };
  readTerms(row);
  return row;
}

export function readRequest(row: Tables["limit_requests"]): LimitRequest {
  return readRow("limit_requests", row.id, requestRow, row);
}

export function writeRequest(request: LimitRequest): Tables["limit_requests"] {
  const { id, account, kind, state, createdAtMs, wanted: asked, reason, decidedAtMs, answer } = request;
  const details = JSON.stringify({ wanted: asked, reason, decidedAtMs, answer });
  const row = { id, account, kind, state, created_at_ms: createdAtMs, details };
  readRequest(row);
  return row;
}

export function readAudit(row: Tables["audit"]): StoredAuditEntry {
  return readRow("audit", String(row.seq), auditRow, row);
}

export function writeAudit(entry: AuditEntry): Omit<Tables["audit"], "seq"> {
  const row = {
    at_ms: entry.atMs,
    account: entry.account,
    token_id: entry.tokenId,
    address: entry.address,
    action: entry.action,
    target: JSON.stringify(entry.target),
    request_id: entry.requestId,
  };
  readAudit({ seq: 1, ...row });
  return row;
}

export function writeScope(scope: LimitedScope): Tables["jwt_scopes"] {
  return {
    scope_id: scope.scopeId,
    account: scope.account,
    token_id: scope.tokenId,
    limit_nano_usd: scope.limitNanoUsd,
    expires_at_ms: scope.expiresAtMs,
  };
}
