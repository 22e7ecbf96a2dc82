/**
 * Forgetting usage: single records first, sums later. Owns the mark from which on single records are kept, which reading
 * goes by. Works in small steps, so that nothing else waits for it.
 */
import { setImmediate } from "node:timers/promises";
import { type Kysely, sql } from "kysely";
import type { UsageStore } from "../ports/usage-store.ts";
import type { Tables } from "./tables.ts";

/** Rows that are removed at once. */
const pageRows = 1000;
/** The note that says from when on single records are kept. */
const sinceKey = "usage records since";

/** See UsageStore.prune. */
export async function pruneUsage(
  db: Kysely<Tables>,
  keep: Parameters<UsageStore["prune"]>[0],
): Promise<boolean> {
  const sinceMs = Math.max(keep.recordsSinceMs, await sinceForCount(db, keep.maxRecords));
  const before = await recordsSince(db);
  // Said first: from now on nobody counts on what is about to go.
  if (sinceMs > before) await putRecordsSince(db, sinceMs);
  for (let step = 0; step < keep.maxSteps; step += 1) {
    const removed = await removeRecords(db, Math.max(sinceMs, before));
    await setImmediate();
    if (removed < pageRows) {
      await db.deleteFrom("usage_hours").where("hour_ms", "<", keep.sumsSinceMs).execute();
      await db.deleteFrom("usage_scopes").where("last_at_ms", "<", keep.sumsSinceMs).execute();
      await db.deleteFrom("instance_runs").where("ended_at_ms", "<", keep.sumsSinceMs).execute();
      return true;
    }
  }
  return false;
}

/** The start of the oldest hour with which at most this many records are kept. */
async function sinceForCount(db: Kysely<Tables>, maxRecords: number): Promise<number> {
  const hours = await db
    .selectFrom("usage_hours")
    .select(["hour_ms", sql<number>`cast(sum(requests) as bigint)`.as("requests")])
    .where("hour_ms", ">=", await recordsSince(db))
    .groupBy("hour_ms")
    .orderBy("hour_ms", "desc")
    .execute();
  let records = 0;
  let sinceMs = hours.at(0)?.hour_ms ?? 0;
  for (const hour of hours) {
    records += hour.requests;
    if (records > maxRecords) return sinceMs;
    sinceMs = hour.hour_ms;
  }
  return 0;
}

async function removeRecords(db: Kysely<Tables>, beforeMs: number): Promise<number> {
  const removed = await db
    .deleteFrom("usage_records")
    .where("id", "in", (from) =>
      from
        .selectFrom("usage_records")
        .select("id")
        .where("started_at_ms", "<", beforeMs)
        .orderBy("started_at_ms")
        .limit(pageRows),
    )
    .returning("id")
    .execute();
  return removed.length;
}

/** Single records from before this time are not kept any more. */
export async function recordsSince(db: Kysely<Tables>): Promise<number> {
  const row = await db.selectFrom("notes").select("value").where("key", "=", sinceKey).executeTakeFirst();
  return Number(JSON.parse(row?.value ?? "0"));
}

async function putRecordsSince(db: Kysely<Tables>, atMs: number): Promise<void> {
  const value = JSON.stringify(String(atMs));
  await db
    .insertInto("notes")
    .values({ key: sinceKey, value })
    .onConflict((conflict) => conflict.column("key").doUpdateSet({ value }))
    .execute();
}
