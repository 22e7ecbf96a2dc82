/**
 * The default database: one SQLite file through Node's own node:sqlite. Owns the file's creation, rights and durability
 * settings and the small adapter between node:sqlite and kysely. Must not know what is stored.
 */
import { chmodSync, closeSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { Kysely, type SqliteDatabase, SqliteDialect, type SqliteStatement } from "kysely";
import { StoreError } from "./error.ts";
import { makeFolder, syncFolder } from "./folder.ts";
import { busyTimeoutMs, inspectStateFile, sqliteCode, sqliteErrorCode } from "./inspect.ts";
import type { Database, Tables } from "./tables.ts";

/**
 * Opens the file, mode 0600, in a folder that is made with mode 0700 where there is none.
 * @throws StoreError when the file must not be used (damaged, newer, another program's); it is unchanged then
 */
export function openSqlite(file: string, knownVersion: number): Database {
  makeFolder(dirname(file));
  if (inspectStateFile(file, knownVersion) === "absent") createEmpty(file);
  keepPrivate(file);
  const db = new DatabaseSync(file, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
  try {
    db.exec("pragma journal_mode = wal; pragma synchronous = full; pragma secure_delete = on;");
  } catch (error) {
    db.close();
    throw explainRefusal(file, error);
  }
  return {
    kysely: new Kysely<Tables>({ dialect: new SqliteDialect({ database: adapt(db, file) }) }),
    where: `The database ${file}`,
    beginExclusive: ["begin immediate"],
  };
}

/** SQLite treats an empty file as a new database; made here, it has its rights from the first moment. */
function createEmpty(file: string): void {
  closeSync(openSync(file, "a", 0o600));
  syncFolder(dirname(file));
}

function keepPrivate(file: string): void {
  if ((statSync(file).mode & 0o077) === 0) return;
  try {
    chmodSync(file, 0o600);
  } catch (error) {
    throw new StoreError(
      `${file} can be read by other users and its rights cannot be changed. Run: chmod 600 ${file}`,
      { cause: error },
    );
  }
}

/** Statements that are kept; Berth has fewer, apart from lists of ids of different lengths. */
const maxPrepared = 200;

/** node:sqlite in the shape that kysely's SQLite dialect expects. Statements are prepared once: that takes longer than most run. */
function adapt(db: DatabaseSync, file: string): SqliteDatabase {
  const prepared = new Map<string, SqliteStatement>();
  return {
    close: () => db.close(),
    prepare(sql) {
      const known = prepared.get(sql);
      if (known !== undefined) return known;
      const statement = adaptStatement(db, sql, file);
      prepared.set(sql, statement);
      const [oldest] = prepared.keys();
      if (prepared.size > maxPrepared && oldest !== undefined) prepared.delete(oldest);
      return statement;
    },
  };
}

function adaptStatement(db: DatabaseSync, sql: string, file: string): SqliteStatement {
  const values = (parameters: readonly unknown[]) => parameters as readonly SQLInputValue[];
  const statement = explained(file, () => db.prepare(sql));
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => explained(file, () => statement.all(...values(parameters))),
    run: (parameters) => explained(file, () => statement.run(...values(parameters))),
    // Read piece by piece, so that it must not be another reader's too.
    iterate: (parameters) => explained(file, () => db.prepare(sql)).iterate(...values(parameters)),
  };
}

function explained<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw explainRefusal(file, error);
  }
}

/** Says what to do where the disk or another process is at fault; other errors are defects and stay as they are. */
function explainRefusal(file: string, error: unknown): unknown {
  const advice = {
    [sqliteCode.busy]: "another process has held its lock for too long; end it",
    [sqliteCode.readOnly]: "it cannot be written; check the rights of the file and its folder",
    [sqliteCode.ioError]: "the disk refused a read or a write; check it",
    [sqliteCode.corrupt]: "it is damaged; stop Berth and restore a backup",
    [sqliteCode.full]: "the disk is full; free some space",
  }[sqliteErrorCode(error) ?? 0];
  if (advice === undefined || !(error instanceof Error)) return error;
  return new StoreError(`The database ${file} refused a statement (${error.message}): ${advice}.`, {
    cause: error,
  });
}
