/**
 * Usage over SQL: single records, their sums by the hour, what scoped JWTs have spent, and the runs of instances. Owns
 * that each record counts once, and how long things are kept. Must not interpret: what counts as an error or a time is
 * `core/usage-totals`'s. Long answers are read in pages, so that nothing else waits for them.
 */
import { setImmediate } from "node:timers/promises";
import { type CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import type { InstanceRun } from "../core/rent.ts";
import type { UsageKind, UsageRecord } from "../core/usage.ts";
import {
  addTotals,
  byHour,
  noTotals,
  splitWindow,
  totalsOf,
  type UsageHour,
  type UsageTotals,
} from "../core/usage-totals.ts";
import type { TimeWindow, UsageStore, UsageSum } from "../ports/usage-store.ts";
import type { Tables } from "./tables.ts";
import { pruneUsage, recordsSince } from "./usage-prune.ts";
import { readHour, readRecord, readRun, readSum, writeHour, writeRecord, writeRun } from "./usage-rows.ts";

/** Rows of one insert: few sizes, so that each statement is put together once. More at once would hold up all else. */
const insertRows = [200, 20, 1] as const;
/** Rows that are read at once. */
const pageRows = 1000;
/** Request ids or scopes in one statement. */
const maxIds = 1000;

type Query = Parameters<UsageStore["sums"]>[0];

export function createUsageStore(db: Kysely<Tables>): UsageStore {
  /** Writes take turns: sums are read, added to and written again. */
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined); // the caller of `mine` hears of it
    return mine;
  };

  const inserts = compiledInserts(db);

  return {
    add: (records) =>
      inTurn(() => db.transaction().execute((transaction) => add(transaction, inserts, records))),
    totals: (deploymentId, window) => readTotals(db, deploymentId, window),
    sums: (of, window) => readSums(db, of, window),
    firstUseMs: (account) => firstUseMs(db, account),
    async costs(account, requestIds) {
      const rows = await inParts(requestIds, (ids) =>
        db
          .selectFrom("usage_records")
          .select(["request_id", "cost_nano_usd"])
          .where("account", "=", account)
          .where("request_id", "in", ids)
          .execute(),
      );
      const costs = new Map<string, number>();
      for (const row of rows) costs.set(row.request_id, (costs.get(row.request_id) ?? 0) + row.cost_nano_usd);
      return costs;
    },
    async spentByScope(scopeIds) {
      const rows = await inParts(scopeIds, (ids) =>
        db.selectFrom("usage_scopes").selectAll().where("scope_id", "in", ids).execute(),
      );
      return new Map(rows.map((row) => [row.scope_id, row.cost_nano_usd]));
    },
    async openRuns() {
      const rows = await db
        .selectFrom("instance_runs")
        .selectAll()
        .where("ended_at_ms", "is", null)
        .execute();
      return rows.map(readRun);
    },
    putRuns: (runs) => inTurn(() => db.transaction().execute((transaction) => putRuns(transaction, runs))),
    async runs(account, window) {
      const rows = await db
        .selectFrom("instance_runs")
        .selectAll()
        .where("account", "=", account)
        .where("started_at_ms", "<", window.toMs)
        .where((where) =>
          where.or([where("ended_at_ms", "is", null), where("ended_at_ms", ">", window.fromMs)]),
        )
        .orderBy("started_at_ms")
        .orderBy("instance_id")
        .execute();
      return rows.map(readRun);
    },
    prune: (keep) => inTurn(() => pruneUsage(db, keep)),
  };
}

const recordColumns = [
  "id",
  "request_id",
  "account",
  "deployment_id",
  "started_at_ms",
  "cost_nano_usd",
  "details",
] as const satisfies readonly (keyof Tables["usage_records"])[];

/** The insert of so many records, its parameters left to the caller: column by column of row by row. */
type Inserts = (rows: number) => CompiledQuery<{ id: string }>;

function compiledInserts(db: Kysely<Tables>): Inserts {
  const known = new Map<number, CompiledQuery<{ id: string }>>();
  const empty = {
    id: "",
    request_id: "",
    account: "",
    deployment_id: "",
    started_at_ms: 0,
    cost_nano_usd: 0,
  };
  return (rows) => {
    const query =
      known.get(rows) ??
      db
        .insertInto("usage_records")
        .values(Array.from({ length: rows }, () => ({ ...empty, details: "" })))
        .onConflict((conflict) => conflict.column("id").doNothing())
        .returning("id")
        .compile();
    known.set(rows, query);
    return query;
  };
}

async function add(
  transaction: Transaction<Tables>,
  inserts: Inserts,
  records: readonly UsageRecord[],
): Promise<readonly UsageRecord[]> {
  const stored = new Set<string>();
  for (let from = 0; from < records.length; ) {
    const size = insertRows.find((rows) => rows <= records.length - from) ?? 1;
    const rows = records.slice(from, from + size).map(writeRecord);
    const { rows: added } = await transaction.executeQuery<{ id: string }>({
      ...inserts(size),
      parameters: rows.flatMap((row) => recordColumns.map((column) => row[column])),
    });
    for (const { id } of added) stored.add(id);
    from += size;
    if (from < records.length) await setImmediate();
  }
  // Of a record that occurs twice in one batch the first counts.
  const fresh = records.filter((record) => stored.delete(record.id));
  for (const { hour, records: own } of byHour(fresh)) await addToHour(transaction, hour, totalsOf(own));
  await addToScopes(transaction, fresh);
  return fresh;
}

async function addToHour(db: Transaction<Tables>, hour: UsageHour, more: UsageTotals): Promise<void> {
  const found = await db
    .selectFrom("usage_hours")
    .selectAll()
    .where("deployment_id", "=", hour.deploymentId)
    .where("hour_ms", "=", hour.hourMs)
    .where("kind", "=", hour.kind)
    .where("account", "=", hour.account)
    .where("token_id", "=", hour.tokenId)
    .executeTakeFirst();
  const row = writeHour(hour, found === undefined ? more : addTotals(readHour(found).totals, more));
  const { deployment_id, hour_ms, kind, account, token_id, ...sums } = row;
  await db
    .insertInto("usage_hours")
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(["deployment_id", "hour_ms", "kind", "account", "token_id"]).doUpdateSet(sums),
    )
    .execute();
}

async function addToScopes(db: Transaction<Tables>, records: readonly UsageRecord[]): Promise<void> {
  const spent = new Map<string, { cost: number; lastAtMs: number }>();
  for (const { scopeId, costNanoUsd, startedAtMs } of records) {
    if (scopeId === null || costNanoUsd === 0) continue;
    const { cost, lastAtMs } = spent.get(scopeId) ?? { cost: 0, lastAtMs: 0 };
    spent.set(scopeId, { cost: cost + costNanoUsd, lastAtMs: Math.max(lastAtMs, Math.floor(startedAtMs)) });
  }
  for (const [scopeId, { cost, lastAtMs }] of spent) {
    await db
      .insertInto("usage_scopes")
      .values({ scope_id: scopeId, cost_nano_usd: cost, last_at_ms: lastAtMs })
      .onConflict((conflict) =>
        conflict.column("scope_id").doUpdateSet({
          cost_nano_usd: sql`usage_scopes.cost_nano_usd + excluded.cost_nano_usd`,
          last_at_ms: lastAtMs,
        }),
      )
      .execute();
  }
}

async function readTotals(
  db: Kysely<Tables>,
  deploymentId: string,
  window: TimeWindow,
): Promise<Map<UsageKind, UsageTotals>> {
  const { hours, ends } = splitWindow(window, await recordsSince(db));
  const totals = new Map<UsageKind, UsageTotals>();
  const put = (kind: UsageKind, more: UsageTotals) =>
    totals.set(kind, addTotals(totals.get(kind) ?? noTotals, more));
  for await (const rows of pagesOf((offset) =>
    db
      .selectFrom("usage_hours")
      .selectAll()
      .where("deployment_id", "=", deploymentId)
      .where("hour_ms", ">=", hours.fromMs)
      .where("hour_ms", "<", hours.toMs)
      .orderBy("hour_ms")
      .orderBy("kind")
      .orderBy("account")
      .orderBy("token_id")
      .limit(pageRows)
      .offset(offset)
      .execute(),
  ))
    for (const { kind, totals: more } of rows.map(readHour)) put(kind, more);
  for (const end of ends)
    for await (const records of recordPages(db, { deploymentIds: [deploymentId] }, end))
      for (const [kind, own] of Map.groupBy(records, (record) => record.kind)) put(kind, totalsOf(own));
  return totals;
}

async function readSums(db: Kysely<Tables>, of: Query, window: TimeWindow): Promise<UsageSum[]> {
  const { hours, ends } = splitWindow(window, await recordsSince(db));
  const sums = new Map<string, UsageSum>();
  const put = (more: UsageSum) => {
    const key = `${more.deploymentId} ${more.kind}`;
    const had = sums.get(key);
    sums.set(key, had === undefined ? more : addSums(had, more));
  };
  const ids = "deploymentIds" in of ? parts(of.deploymentIds) : [null];
  for (const some of ids) {
    const rows = await narrowHours(db, some === null ? of : { deploymentIds: some })
      .where("hour_ms", ">=", hours.fromMs)
      .where("hour_ms", "<", hours.toMs)
      .select(["deployment_id", "kind"])
      .select([
        sql<number>`cast(sum(requests) as bigint)`.as("requests"),
        sql<number>`cast(sum(errors) as bigint)`.as("errors"),
        sql<number>`cast(sum(input_tokens) as bigint)`.as("input_tokens"),
        sql<number>`cast(sum(output_tokens) as bigint)`.as("output_tokens"),
        sql<number>`cast(sum(cost_nano_usd) as bigint)`.as("cost_nano_usd"),
      ])
      .groupBy(["deployment_id", "kind"])
      .execute();
    rows.map(readSum).forEach(put);
    for (const end of ends)
      for await (const records of recordPages(db, some === null ? of : { deploymentIds: some }, end))
        for (const { hour, records: own } of byHour(records))
          put({ deploymentId: hour.deploymentId, kind: hour.kind, ...totalsOf(own) });
  }
  return [...sums.values()];
}

function narrowHours(db: Kysely<Tables>, of: Query) {
  const query = db.selectFrom("usage_hours");
  if ("deploymentIds" in of) return query.where("deployment_id", "in", of.deploymentIds);
  const own = query.where("account", "=", of.account);
  return of.tokenId === undefined ? own : own.where("token_id", "=", of.tokenId);
}

function addSums(a: UsageSum, b: UsageSum): UsageSum {
  return {
    deploymentId: a.deploymentId,
    kind: a.kind,
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    costNanoUsd: a.costNanoUsd + b.costNanoUsd,
  };
}

async function* recordPages(
  db: Kysely<Tables>,
  of: Query,
  window: TimeWindow,
): AsyncGenerator<UsageRecord[]> {
  let after = { atMs: window.fromMs, id: "" };
  for (;;) {
    const query = db.selectFrom("usage_records").selectAll();
    const own =
      "deploymentIds" in of
        ? query.where("deployment_id", "in", of.deploymentIds)
        : query.where("account", "=", of.account);
    const rows = await own
      .where("started_at_ms", ">=", after.atMs)
      .where("started_at_ms", "<", window.toMs)
      .where((where) => where.or([where("started_at_ms", ">", after.atMs), where("id", ">", after.id)]))
      .orderBy("started_at_ms")
      .orderBy("id")
      .limit(pageRows)
      .execute();
    const records = rows.map(readRecord);
    const tokenId = "deploymentIds" in of ? undefined : of.tokenId;
    yield tokenId === undefined ? records : records.filter((record) => record.tokenId === tokenId);
    const last = rows.at(-1);
    if (last === undefined || rows.length < pageRows) return;
    after = { atMs: last.started_at_ms, id: last.id };
    await setImmediate();
  }
}

async function* pagesOf<Row>(read: (offset: number) => Promise<Row[]>): AsyncGenerator<Row[]> {
  for (let offset = 0; ; offset += pageRows) {
    const rows = await read(offset);
    yield rows;
    if (rows.length < pageRows) return;
    await setImmediate();
  }
}

async function firstUseMs(db: Kysely<Tables>, account: string): Promise<number | null> {
  const hour = await db
    .selectFrom("usage_hours")
    .select("hour_ms")
    .where("account", "=", account)
    .orderBy("hour_ms")
    .limit(1)
    .executeTakeFirst();
  const run = await db
    .selectFrom("instance_runs")
    .select("started_at_ms")
    .where("account", "=", account)
    .orderBy("started_at_ms")
    .limit(1)
    .executeTakeFirst();
  const times = [hour?.hour_ms, run?.started_at_ms].filter((atMs) => atMs !== undefined);
  return times.length === 0 ? null : Math.min(...times);
}

async function putRuns(db: Transaction<Tables>, runs: readonly InstanceRun[]): Promise<void> {
  for (const { instance_id, ...rest } of runs.map(writeRun)) {
    await db
      .insertInto("instance_runs")
      .values({ instance_id, ...rest })
      .onConflict((conflict) => conflict.column("instance_id").doUpdateSet(rest))
      .execute();
  }
}

function parts<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / maxIds) }, (_, index) =>
    all.slice(index * maxIds, (index + 1) * maxIds),
  );
}

async function inParts<Row>(
  ids: readonly string[],
  read: (ids: readonly string[]) => Promise<Row[]>,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const some of parts([...new Set(ids)])) rows.push(...(await read(some)));
  return rows;
}
