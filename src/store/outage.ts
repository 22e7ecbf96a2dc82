/**
 * Tells a database that cannot do its work now from a defect: its server is away, its disk is full, somebody else holds
 * it. Such a statement has changed nothing and may succeed later. Pure; knows the codes of both databases.
 */
import { sqliteCode, sqliteErrorCode } from "./inspect.ts";

const sqliteOutages: Readonly<Record<number, string>> = {
  [sqliteCode.busy]: "another process has held its lock for too long",
  [sqliteCode.readOnly]: "it cannot be written",
  [sqliteCode.ioError]: "its disk refused a read or a write",
  [sqliteCode.full]: "its disk is full",
};

/** SQLSTATE by its beginning, https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest is first. */
const postgresOutages: readonly (readonly [string, string])[] = [
  ["25006", "it is read-only"],
  ["53100", "its disk is full"],
  ["53300", "its server has no connection left"],
  ["55P03", "another process has held a lock for too long"],
  ["57014", "a statement took too long"],
  ["08", "the connection broke"],
  ["28", "its server refused the login"],
  ["53", "its server lacks resources"],
  ["57P", "its server is stopping or starting"],
  ["58", "its server's disk refused a read or a write"],
];

const networkCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
]);

/** What `pg` says without a code when a connection is lost, cannot be had in time, or stays silent. */
const lostConnection = /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout)/;

/** Why the database cannot do its work now, as the end of a sentence without paths and addresses; null for a defect. */
export function outageOf(error: unknown): string | null {
  if (error instanceof AggregateError) return outageOf(error.errors[0]);
  if (!(error instanceof Error)) return null;
  const sqlite = sqliteOutages[sqliteErrorCode(error.cause) ?? sqliteErrorCode(error) ?? 0];
  if (sqlite !== undefined) return sqlite;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if ("syscall" in error && networkCodes.has(code)) return "its server does not answer";
  if (lostConnection.test(error.message)) return "the connection broke";
  if (!/^[0-9A-Z]{5}$/.test(code)) return null;
  return postgresOutages.find(([beginning]) => code.startsWith(beginning))?.[1] ?? null;
}
