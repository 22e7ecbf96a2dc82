/**
 * The whole state as lines of JSON, from either database and into either: a head with the versions, a line for each row,
 * an end with their number and hash. Read in one transaction, so it is of one moment though Berth goes on. Secrets are in
 * it only as they are stored: sealed, or as hashes. The key that opens them is not.
 */
import { createHash } from "node:crypto";
import { sql } from "kysely";
import { z } from "zod";
import { newerStateError, StoreError } from "./error.ts";
import { migrate, stateVersion } from "./migrations.ts";
import { json } from "./rows.ts";
import type { Database, Tables } from "./tables.ts";

/** What refers to others comes after them. */
const tables = [
  ...["accounts", "tokens", "account_terms", "limit_requests", "audit", "jwt_scopes", "deployments"],
  ...["instances", "events", "notes", "usage_records", "usage_hours", "usage_scopes", "instance_runs"],
] as const satisfies readonly (keyof Tables)[] as readonly (keyof Tables)[];

/** Rows of one statement; few enough for the parameters that one may have. */
const rowsAtOnce = 200;

const head = z.strictObject({
  format: z.literal("berth-backup-1"),
  state: z.int().min(1),
  /** Id of the key that sealed secrets. */
  key: z.string().nullable(),
  at_ms: z.int(),
});
export type BackupHead = z.output<typeof head>;
const row = z.tuple([z.enum(tables), z.record(z.string(), z.union([z.string(), z.number(), z.null()]))]);
const end = z.strictObject({ rows: z.int().min(0), sha256: z.string() });

/** Gives every line, without its line end. The caller writes them in this order. */
export async function writeBackup(
  database: Database,
  about: { readonly key: string | null; readonly nowMs: number },
  write: (line: string) => Promise<void>,
): Promise<number> {
  const hash = createHash("sha256");
  let rows = 0;
  const put = async (line: string) => {
    hash.update(line).update("\n");
    await write(line);
  };
  await database.kysely
    .transaction()
    .setIsolationLevel("repeatable read")
    .execute(async (at) => {
      const { version } = await at.selectFrom("berth_schema").select("version").executeTakeFirstOrThrow();
      if (version !== stateVersion)
        throw new StoreError(
          `${database.where} has state version ${version}, and this Berth backs up ${stateVersion} alone. Start it once with this Berth, or back it up with its own.`,
        );
      const first: BackupHead = {
        format: "berth-backup-1",
        state: version,
        key: about.key,
        at_ms: about.nowMs,
      };
      await put(JSON.stringify(first));
      for (const table of tables) {
        for (let from = 0, found = rowsAtOnce; found === rowsAtOnce; from += found) {
          // The first columns are what is unique in every table, and order it.
          const page = await sql<Record<string, unknown>>`
            select * from ${sql.table(table)} order by ${sql.raw(orderOf(table))}
            limit ${rowsAtOnce} offset ${from}`.execute(at);
          found = page.rows.length;
          rows += found;
          for (const each of page.rows) await put(JSON.stringify([table, each]));
        }
      }
    });
  await write(JSON.stringify({ rows, sha256: hash.digest("hex") }));
  return rows;
}

function orderOf(table: keyof Tables): string {
  if (table === "events") return "1, 2";
  return table === "usage_hours" ? "1, 5, 4, 2, 3" : "1";
}

/**
 * Fills an empty database with a backup, whole or not at all, and brings it to this version.
 * @param open is called once the backup is known to be whole; the database it gives must be empty
 * @throws StoreError when the backup is damaged, newer, or sealed with another key than `key`
 */
export async function readBackup(
  lines: () => AsyncIterable<string>,
  key: string | null,
  open: () => Promise<Database>,
): Promise<{ readonly head: BackupHead; readonly rows: number }> {
  const first = await checkWhole(lines());
  if (first.state > stateVersion) throw newerStateError("The backup", first.state, stateVersion);
  if (first.key !== null && first.key !== key) {
    throw new StoreError(
      `The secrets in this backup were sealed with the key ${first.key}, but this installation has ${key === null ? "none" : `the key ${key}`}. ` +
        "Put the secret.key (or BERTH_SECRET_KEY) of the Berth that was backed up in place first; nothing was changed.",
    );
  }
  const database = await open();
  try {
    await refuseUsed(database);
    await migrate(database, first.state);
    let rows = 0;
    await database.kysely.transaction().execute(async (at) => {
      for await (const [table, values] of batches(lines())) {
        await at
          .insertInto(table)
          .values(values as never)
          .execute();
        rows += values.length;
      }
    });
    await migrate(database);
    return { head: first, rows };
  } finally {
    await database.kysely.destroy();
  }
}

async function refuseUsed(database: Database): Promise<void> {
  await migrate(database, 1);
  const used = await database.kysely.selectFrom("accounts").select("name").executeTakeFirst();
  if (used !== undefined)
    throw new StoreError(
      `${database.where} holds the state of a Berth already; a restore would mix the two. Move it away, or name another; nothing was changed.`,
    );
}

/** Everything is read before anything is written: half a backup must not become a state. */
async function checkWhole(lines: AsyncIterable<string>): Promise<BackupHead> {
  const hash = createHash("sha256");
  let first: BackupHead | null = null;
  let before: string | null = null;
  let count = 0;
  for await (const line of lines) {
    if (before !== null) hash.update(before).update("\n");
    if (count === 0) first = readLine(head, line, "it does not begin as a backup of Berth does");
    before = line;
    count += 1;
  }
  if (first === null || before === null) throw damaged("it is empty");
  const last = readLine(end, before, "its end is missing");
  if (last.rows !== count - 2 || last.sha256 !== hash.digest("hex")) throw damaged("its hash is another");
  return first;
}

/** Rows of one table each. */
async function* batches(lines: AsyncIterable<string>): AsyncGenerator<[keyof Tables, object[]]> {
  let table: keyof Tables | null = null;
  let values: object[] = [];
  let isHead = true;
  for await (const line of lines) {
    if (isHead || !line.startsWith("[")) {
      isHead = false;
      continue;
    }
    const [of, value] = readLine(row, line, "a row cannot be read");
    if (table !== null && (of !== table || values.length === rowsAtOnce)) {
      yield [table, values];
      values = [];
    }
    table = of;
    // Weights are not in a backup: what is not here, or is not what it was, is fetched again.
    values.push(of === "deployments" ? { ...value, weights_ready_at_ms: null } : value);
  }
  if (table !== null && values.length > 0) yield [table, values];
}

function readLine<T>(schema: z.ZodType<T>, line: string, otherwise: string): T {
  const found = json(schema).safeParse(line);
  if (found.success) return found.data;
  throw damaged(otherwise);
}

function damaged(why: string): StoreError {
  return new StoreError(`The backup is damaged: ${why}. Take another; nothing was changed.`);
}
