/**
 * Looks at an SQLite state file before Berth opens it for writing, so that a damaged file, a file of another program or
 * the state of a newer Berth is refused with not one of its bytes changed. Owns the refusal's words; must not write.
 *
 * Opening read-only is not enough for that: SQLite would rebuild the shared-memory file, and on closing may fold the
 * write-ahead log into the database or delete it. With `readonly_shm` it keeps its index of the log in memory instead,
 * and without a log `immutable` keeps it from looking for one.
 */
import { closeSync, openSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { newerStateError, StoreError } from "./error.ts";

/** SQLite's primary result codes, https://www.sqlite.org/rescode.html */
export const sqliteCode = {
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  notADatabase: 26,
} as const;

/** How long SQLite waits for another process's lock, in milliseconds. */
export const busyTimeoutMs = 5000;

/** https://www.sqlite.org/fileformat.html, "Pages". SQLite itself takes some shorter files for empty databases. */
const smallestPageBytes = 512;

/** https://www.sqlite.org/fileformat.html, "WAL Header Format". */
const logHeaderBytes = 32;

/** Looks at the files this often at most, when other processes change them meanwhile. */
const maxLooks = 10;

/**
 * @returns "usable" for an empty file and for a whole state of a version up to `knownVersion`
 * @throws StoreError when the file must not be opened for writing
 */
export function inspectStateFile(file: string, knownVersion: number): "absent" | "usable" {
  for (let look = 1; ; look += 1) {
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) return "absent";
    if (!stat.isFile())
      throw new StoreError(`${file} is not a file. Move it away, or set another BERTH_HOME.`);
    if (stat.size === 0) return "usable";
    if (stat.size < smallestPageBytes) throw damaged(file, "it is cut short");
    const before = describeFiles(file);
    try {
      checkContent(file, hasLog(file), knownVersion);
      return "usable";
    } catch (error) {
      // Where another process was opening, folding in or closing meanwhile, this saw half of its work: look again.
      if (look < maxLooks && describeFiles(file) !== before) continue;
      throw error instanceof StoreError ? error : explainUnreadable(file, error);
    }
  }
}

/**
 * A log that is no longer than its header holds nothing. SQLite itself cannot read one of just the header without its index
 * ("locking protocol"), and a process that is killed right after it has begun a log leaves just that.
 */
function hasLog(file: string): boolean {
  return (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > logHeaderBytes;
}

/** Changes whenever a process writes, makes or removes one of the database's files. */
function describeFiles(file: string): string {
  const stats = ["", "-wal", "-shm"].map((ending) =>
    statSync(file + ending, { throwIfNoEntry: false, bigint: true }),
  );
  return stats.map((stat) => `${stat?.ino} ${stat?.size} ${stat?.mtimeNs}`).join(", ");
}

function checkContent(file: string, isLogged: boolean, knownVersion: number): void {
  const url = pathToFileURL(file);
  // The log's index file is scratch without content of its own; SQLite insists that one exists, so make an empty one.
  if (isLogged) closeSync(openSync(`${file}-shm`, "a", 0o600));
  url.search = isLogged ? "?mode=ro&readonly_shm=1" : "?immutable=1";
  const db = new DatabaseSync(url, { readOnly: true, timeout: busyTimeoutMs });
  try {
    const [finding] = db.prepare("pragma quick_check(1)").all();
    if (finding?.quick_check !== "ok")
      throw damaged(file, String(finding?.quick_check).replaceAll(/\s+/g, " "));
    // SQLite reads what a cut has taken from the last page as zeros. With a log, the log may still hold that page.
    const size = db
      .prepare("select page_count * page_size as bytes from pragma_page_count, pragma_page_size")
      .get();
    if (!isLogged && Number(size?.bytes) > statSync(file).size) throw damaged(file, "it is cut short");
    const tables = db.prepare("select name from sqlite_master where type = 'table'").all();
    if (tables.length === 0) return;
    if (!tables.some((table) => table.name === "berth_schema")) {
      throw new StoreError(
        `${file} is the database of another program. Move it away, or set another BERTH_HOME.`,
      );
    }
    const version = db.prepare("select version from berth_schema").get()?.version;
    if (typeof version !== "number") throw damaged(file, "it holds no version number");
    if (version > knownVersion) throw newerStateError(file, version, knownVersion);
  } finally {
    db.close();
  }
}

/** The primary result code of an error that node:sqlite threw, null for any other error. */
export function sqliteErrorCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return null;
  return error.errcode & 0xff;
}

function explainUnreadable(file: string, error: unknown): Error {
  const code = sqliteErrorCode(error);
  const reason = error instanceof Error ? error.message : String(error);
  if (code === sqliteCode.corrupt || code === sqliteCode.notADatabase) return damaged(file, reason, error);
  return new StoreError(
    `The database ${file} cannot be read: ${reason}. It was left untouched; check the rights of the file and its folder, and the disk.`,
    { cause: error },
  );
}

function damaged(file: string, reason: string, cause?: unknown): StoreError {
  return new StoreError(
    `The database ${file} is damaged (${reason}); it was left untouched. ` +
      "Move it and its -wal and -shm files away, then restore a backup of it or begin with an empty state.",
    { cause },
  );
}
