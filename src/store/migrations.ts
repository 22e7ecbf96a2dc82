/**
 * Brings a database to this version's tables: numbered steps, forward only, all in one transaction under a lock, so that
 * two starters cannot race and a crash leaves the old version whole. A step that was released is never edited; changes
 * are new steps at the end. Must stay inside the subset of SQL that SQLite and PostgreSQL share.
 */
import { type Kysely, type QueryExecutorProvider, sql } from "kysely";
import { newerStateError, StoreError } from "./error.ts";
import type { Database, Tables } from "./tables.ts";

/** Step n (from 1) is at index n - 1. */
const migrations: readonly ((db: Kysely<Tables>) => Promise<void>)[] = [
  createTables,
  addUsage,
  addAccess,
  addRevisions,
  addTokenRates,
  addLoadTimes,
  indexVersions,
];

/** Version of the state that this code reads and writes. */
export const stateVersion = migrations.length;

/**
 * Runs the steps that are missing, up to and with `upTo`.
 * @returns how many ran
 * @throws StoreError when the state is newer than this code; nothing was changed then
 */
export async function migrate(database: Database, upTo = stateVersion): Promise<number> {
  return database.kysely.connection().execute(async (connection) => {
    try {
      for (const statement of database.beginExclusive) await sql.raw(statement).execute(connection);
      const found = await readVersion(connection);
      if (found > stateVersion) throw newerStateError(database.where, found, stateVersion);
      const missing = migrations.slice(found, upTo);
      for (const step of missing) await step(connection);
      if (missing.length > 0) await sql`update berth_schema set version = ${upTo}`.execute(connection);
      await sql`commit`.execute(connection);
      return missing.length;
    } catch (error) {
      // Where the connection is gone there is nothing to roll back, and `error` says why; the caller closes the rest.
      await sql`rollback`.execute(connection).catch(() => undefined);
      throw error instanceof StoreError ? error : explainStop(database.where, error);
    }
  });
}

function explainStop(where: string, error: unknown): StoreError {
  const reason = error instanceof Error ? error.message : String(error);
  return new StoreError(
    `${where} could not be brought to state version ${stateVersion} (${reason}); nothing was changed. ` +
      "It must be empty or Berth's own, and its user must be allowed to create tables.",
    { cause: error },
  );
}

async function readVersion(db: Kysely<Tables>): Promise<number> {
  await sql`create table if not exists berth_schema (version bigint not null)`.execute(db);
  const row = await db.selectFrom("berth_schema").select("version").executeTakeFirst();
  if (row === undefined) {
    await db.insertInto("berth_schema").values({ version: 0 }).execute();
    return 0;
  }
  if (!Number.isSafeInteger(row.version) || row.version < 0) {
    throw new StoreError("The table berth_schema holds no version number. Restore a backup of the database.");
  }
  return row.version;
}

async function createTables(db: QueryExecutorProvider): Promise<void> {
  const statements = [
    `create table accounts (
      name text not null primary key,
      name_key text not null unique,
      is_admin bigint not null,
      created_at_ms bigint not null
    )`,
    `create table tokens (
      id text not null primary key,
      account text not null references accounts (name),
      name text not null,
      hash text not null unique,
      fragment text not null,
      created_at_ms bigint not null,
      sealed text not null,
      unique (account, name)
    )`,
    `create table deployments (
      id text not null primary key,
      account text not null references accounts (name),
      name text not null,
      live_name text unique,
      is_public bigint not null,
      config text not null,
      settings text not null,
      desired text not null,
      created_at_ms bigint not null,
      updated_at_ms bigint not null,
      resolved text not null,
      weights_ready_at_ms bigint,
      failure text not null,
      has_run bigint not null,
      tries text not null,
      sealed_hf_token text,
      version bigint not null
    )`,
    `create table instances (
      id text not null primary key,
      deployment_id text not null references deployments (id),
      intent text not null,
      created_at_ms bigint not null,
      drain_since_ms bigint,
      observed text not null
    )`,
    "create index instances_by_deployment on instances (deployment_id)",
    `create table events (
      deployment_id text not null references deployments (id),
      seq bigint not null,
      at_ms bigint not null,
      code text not null,
      details text not null,
      primary key (deployment_id, seq)
    )`,
    "create table notes (key text not null primary key, value text not null)",
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/** No references to deployments: usage outlives what used it, and a record must never be refused for its age. */
async function addUsage(db: QueryExecutorProvider): Promise<void> {
  const statements = [
    `create table usage_records (
      id text not null primary key,
      request_id text not null,
      account text not null,
      deployment_id text not null,
      started_at_ms bigint not null,
      cost_nano_usd bigint not null,
      details text not null
    )`,
    "create index usage_records_by_deployment on usage_records (deployment_id, started_at_ms)",
    "create index usage_records_by_request on usage_records (account, request_id)",
    "create index usage_records_by_time on usage_records (started_at_ms)",
    `create table usage_hours (
      deployment_id text not null,
      account text not null,
      token_id text not null,
      kind text not null,
      hour_ms bigint not null,
      requests bigint not null,
      errors bigint not null,
      input_tokens bigint not null,
      output_tokens bigint not null,
      cached_tokens bigint not null,
      duration_ms bigint not null,
      cost_nano_usd bigint not null,
      sketches text not null,
      primary key (deployment_id, hour_ms, kind, account, token_id)
    )`,
    "create index usage_hours_by_account on usage_hours (account, hour_ms)",
    "create index usage_hours_by_time on usage_hours (hour_ms)",
    `create table usage_scopes (
      scope_id text not null primary key,
      cost_nano_usd bigint not null,
      last_at_ms bigint not null
    )`,
    `create table instance_runs (
      instance_id text not null primary key,
      deployment_id text not null,
      account text not null,
      gpu text not null,
      gpus bigint not null,
      usd_per_gpu_hour text not null,
      started_at_ms bigint not null,
      seen_at_ms bigint not null,
      ended_at_ms bigint
    )`,
    "create index instance_runs_by_account on instance_runs (account, started_at_ms)",
    "create index instance_runs_open on instance_runs (ended_at_ms)",
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/** Audit entries refer to nothing: they outlive what they tell of. */
async function addAccess(db: QueryExecutorProvider): Promise<void> {
  const statements = [
    "alter table tokens add column allowed_ips text not null default 'null'",
    `create table account_terms (
      account text not null primary key references accounts (name),
      terms text not null,
      version bigint not null
    )`,
    `create table limit_requests (
      id text not null primary key,
      account text not null references accounts (name),
      kind text not null,
      state text not null,
      created_at_ms bigint not null,
      details text not null
    )`,
    "create unique index limit_requests_pending on limit_requests (account, kind) where state = 'pending'",
    "create index limit_requests_by_time on limit_requests (created_at_ms)",
    `create table audit (
      seq bigint not null primary key,
      at_ms bigint not null,
      account text not null,
      token_id text not null,
      address text not null,
      action text not null,
      target text not null,
      request_id text not null
    )`,
    "create index audit_by_account on audit (account, seq)",
    "create index audit_by_time on audit (at_ms)",
    `create table jwt_scopes (
      scope_id text not null primary key,
      account text not null,
      token_id text not null,
      limit_nano_usd bigint not null,
      expires_at_ms bigint not null
    )`,
    "create index jwt_scopes_by_account on jwt_scopes (account)",
    "create index jwt_scopes_by_expiry on jwt_scopes (expires_at_ms)",
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/** Arguments move from the fixed configuration to the revisions, which a rolling update changes. */
async function addRevisions(db: Kysely<Tables>): Promise<void> {
  const statements = [
    "alter table deployments add column revisions text not null default ''",
    "alter table instances add column revision bigint not null default 1",
    "alter table instances add column warmed_at_ms bigint",
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
  const found = await db.selectFrom("deployments").select(["id", "config"]).execute();
  for (const { id, config } of found) {
    const { extraArgs, ...rest } = JSON.parse(config) as { extraArgs: readonly string[] };
    const tries = { count: 0, lastAtMs: null, lastFailure: null };
    const wanted = { id: 1, args: { standardArgs: {}, extraArgs } };
    await db
      .updateTable("deployments")
      .set({
        config: JSON.stringify({ ...rest, containerImage: null }),
        revisions: JSON.stringify({ wanted, fallback: null, tries, updateError: null, retired: [] }),
      })
      .where("id", "=", id)
      .execute();
  }
}

/** Null: none of its own. */
async function addTokenRates(db: QueryExecutorProvider): Promise<void> {
  await sql.raw("alter table tokens add column rates text not null default 'null'").execute(db);
}

/** Null: not known. From here on settings may hold a schedule too, which earlier versions cannot read. */
async function addLoadTimes(db: QueryExecutorProvider): Promise<void> {
  await sql.raw("alter table deployments add column load_time_ms bigint").execute(db);
}

/** The sum of an account's versions is asked for at every list. */
async function indexVersions(db: QueryExecutorProvider): Promise<void> {
  await sql.raw("create index deployments_by_account on deployments (account, version)").execute(db);
}
