/**
 * Access over SQL: what accounts may use, what they ask for, who changed what, and scoped JWTs with a spending limit. Owns
 * how many of each are kept. Must not decide what a limit means.
 */
import { type Kysely, sql } from "kysely";
import { type AccountTerms, defaultTerms, type LimitRequest } from "../core/account.ts";
import type { AuditEntry, AuditQuery, StoredAuditEntry } from "../core/audit.ts";
import type { AccessStore, LimitedScope } from "../ports/access-store.ts";
import * as rows from "./access-rows.ts";
import { StoreError } from "./error.ts";
import type { Tables } from "./tables.ts";

/** Requests of one account that were decided, the newest. */
const decidedRequestsKept = 50;
/** Audit entries are pruned after this many new ones. */
const pruneEvery = 50;
/** Tries of a write that others keep overtaking; far above the number of writers there are. */
const maxTries = 100;

export function createAccessStore(db: Kysely<Tables>): AccessStore {
  return {
    terms: async (account) => (await readTerms(db, account))?.value ?? defaultTerms,
    async allTerms() {
      const found = await db.selectFrom("account_terms").selectAll().execute();
      return new Map(found.map((row) => [row.account, rows.readTerms(row)]));
    },
    changeTerms: (account, change) => changeTerms(db, account, change),
    addLimitRequest: (request) => addLimitRequest(db, request),
    async limitRequests({ account, state, limit }) {
      let wanted = db.selectFrom("limit_requests").selectAll();
      if (account !== undefined) wanted = wanted.where("account", "=", account);
      if (state !== undefined) wanted = wanted.where("state", "=", state);
      const found = await wanted
        .orderBy("created_at_ms", "desc")
        .orderBy("id", "desc")
        .limit(limit)
        .execute();
      return found.map(rows.readRequest);
    },
    async limitRequest(id) {
      const row = await db.selectFrom("limit_requests").selectAll().where("id", "=", id).executeTakeFirst();
      return row === undefined ? null : rows.readRequest(row);
    },
    async changeLimitRequest(request) {
      const { id, state, details } = rows.writeRequest(request);
      const changed = await db
        .updateTable("limit_requests")
        .set({ state, details })
        .where("id", "=", id)
        .where("state", "=", "pending")
        .returning("id")
        .executeTakeFirst();
      return changed !== undefined;
    },
    addAudit: (entry, keep) => addAudit(db, entry, keep),
    audit: (query) => readAudit(db, query),
    rememberScope: (scope, nowMs, max) => rememberScope(db, scope, nowMs, max),
    async spentScopes(nowMs) {
      const found = await db
        .selectFrom("jwt_scopes")
        .innerJoin("usage_scopes", "usage_scopes.scope_id", "jwt_scopes.scope_id")
        .whereRef("usage_scopes.cost_nano_usd", ">=", "jwt_scopes.limit_nano_usd")
        .where("jwt_scopes.expires_at_ms", ">", nowMs)
        .select("jwt_scopes.scope_id")
        .orderBy("jwt_scopes.scope_id")
        .execute();
      return found.map((row) => row.scope_id);
    },
  };
}

async function readTerms(
  db: Kysely<Tables>,
  account: string,
): Promise<{ value: AccountTerms; version: number } | null> {
  const row = await db
    .selectFrom("account_terms")
    .selectAll()
    .where("account", "=", account)
    .executeTakeFirst();
  return row === undefined ? null : { value: rows.readTerms(row), version: row.version };
}

async function changeTerms(
  db: Kysely<Tables>,
  account: string,
  change: (current: AccountTerms) => AccountTerms,
): Promise<AccountTerms> {
  for (let attempt = 1; attempt <= maxTries; attempt += 1) {
    const found = await readTerms(db, account);
    const next = change(found?.value ?? defaultTerms);
    const row = rows.writeTerms(account, next, (found?.version ?? 0) + 1);
    const written =
      found === null
        ? await db
            .insertInto("account_terms")
            .values(row)
            .onConflict((conflict) => conflict.column("account").doNothing())
            .returning("account")
            .executeTakeFirst()
        : await db
            .updateTable("account_terms")
            .set(row)
            .where("account", "=", account)
            .where("version", "=", found.version)
            .returning("account")
            .executeTakeFirst();
    if (written !== undefined) return next;
  }
  throw new StoreError(
    `The account ${account} was changed by others ${maxTries} times while it should be written. Try again.`,
  );
}

async function addLimitRequest(
  db: Kysely<Tables>,
  request: LimitRequest,
): Promise<"added" | "pending-already"> {
  const added = await db
    .insertInto("limit_requests")
    .values(rows.writeRequest(request))
    // The index that is meant covers pending requests alone, so that it cannot be named by its columns.
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  if (added === undefined) return "pending-already";
  const old = await db
    .selectFrom("limit_requests")
    .select("id")
    .where("account", "=", request.account)
    .where("state", "!=", "pending")
    .orderBy("created_at_ms", "desc")
    .orderBy("id", "desc")
    .offset(decidedRequestsKept)
    .limit(1000)
    .execute();
  const ids = old.map((row) => row.id);
  if (ids.length > 0) await db.deleteFrom("limit_requests").where("id", "in", ids).execute();
  return "added";
}

async function addAudit(
  db: Kysely<Tables>,
  entry: AuditEntry,
  keep: { readonly max: number; readonly sinceMs: number },
): Promise<void> {
  const row = rows.writeAudit(entry);
  for (let attempt = 1; attempt <= maxTries; attempt += 1) {
    // One statement takes the next number and the row; see addEvent. ("where true" tells SQLite where the select ends.)
    const { rows: added } = await sql<{ seq: number }>`
      insert into audit (seq, at_ms, account, token_id, address, action, target, request_id)
      select coalesce(max(seq), 0) + 1, cast(${row.at_ms} as bigint), ${row.account}, ${row.token_id}, ${row.address},
        ${row.action}, ${row.target}, ${row.request_id}
      from audit where true
      on conflict (seq) do nothing
      returning seq`.execute(db);
    const seq = added[0]?.seq;
    if (seq === undefined) continue;
    if (seq % pruneEvery === 0) {
      await db
        .deleteFrom("audit")
        .where((where) => where.or([where("seq", "<=", seq - keep.max), where("at_ms", "<", keep.sinceMs)]))
        .execute();
    }
    return;
  }
  throw new StoreError(`An audit entry found its number taken ${maxTries} times.`);
}

async function readAudit(db: Kysely<Tables>, query: AuditQuery): Promise<StoredAuditEntry[]> {
  let wanted = db.selectFrom("audit").selectAll();
  if (query.account !== null) wanted = wanted.where("account", "=", query.account);
  if (query.action !== null) wanted = wanted.where("action", "=", query.action);
  if (query.fromMs !== null) wanted = wanted.where("at_ms", ">=", query.fromMs);
  if (query.toMs !== null) wanted = wanted.where("at_ms", "<", query.toMs);
  if (query.beforeSeq !== null) wanted = wanted.where("seq", "<", query.beforeSeq);
  if (query.target !== null) {
    const quoted = JSON.stringify(query.target).replaceAll(/[\\%_]/g, "\\$&");
    wanted = wanted.where(sql<boolean>`target like ${`%:${quoted}%`} escape '\\'`);
  }
  const found = await wanted.orderBy("seq", "desc").limit(query.limit).execute();
  return found.map(rows.readAudit);
}

async function rememberScope(
  db: Kysely<Tables>,
  scope: LimitedScope,
  nowMs: number,
  max: number,
): Promise<"kept" | "too-many"> {
  await db.deleteFrom("jwt_scopes").where("expires_at_ms", "<=", nowMs).execute();
  const { others } = await db
    .selectFrom("jwt_scopes")
    .select((select) => select.fn.countAll<number>().as("others"))
    .where("account", "=", scope.account)
    .where("scope_id", "!=", scope.scopeId)
    .executeTakeFirstOrThrow();
  if (Number(others) >= max) return "too-many";
  await db
    .insertInto("jwt_scopes")
    .values(rows.writeScope(scope))
    .onConflict((conflict) => conflict.column("scope_id").doNothing())
    .execute();
  return "kept";
}
