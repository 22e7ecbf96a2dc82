/**
 * The other database: PostgreSQL by URL, for state that must outlive a machine. Owns the connection pool, its limits and
 * how numbers arrive. Must not know what is stored. `pg` is loaded only when this is used.
 */
import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import { StoreError } from "./error.ts";
import type { Database, Tables } from "./tables.ts";

/** Most connections at once. Statements are short; more would only queue inside PostgreSQL. */
const maxConnections = 8;
const connectTimeoutMs = 10_000;
const statementTimeoutMs = 15_000;
const lockTimeoutMs = 10_000;

/** Any fixed number: two starters that ask for the same advisory lock take turns. This one is "berth" in ASCII. */
const migrationLock = 0x62_65_72_74_68;

/** PostgreSQL's type number of int8, https://www.postgresql.org/docs/current/catalog-pg-type.html */
const int8 = 20;

/**
 * Connects to the database; tables land in the first schema of its search path.
 * @param databaseUrl postgres:// URL
 * @throws StoreError when the server does not answer or refuses; the message holds no password
 */
export async function openPostgres(databaseUrl: string): Promise<Database> {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    application_name: "berth",
    max: maxConnections,
    keepAlive: true,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    // The server ends a slow statement; this is for a server that no longer answers at all.
    query_timeout: 2 * statementTimeoutMs,
    types: {
      getTypeParser: (type: number, format?: "text" | "binary") =>
        type === int8 ? readInt8 : pg.types.getTypeParser(type, format),
    },
  });
  // An idle connection that breaks is dropped from the pool; the next statement opens another or reports the reason.
  pool.on("error", () => undefined);
  const where = describeDatabase(databaseUrl);
  try {
    const { rows } = await pool.query("show server_encoding");
    if (rows[0]?.server_encoding !== "UTF8") {
      throw new StoreError(
        `${where} is not encoded in UTF8. Create one with: createdb --encoding=UTF8 berth`,
      );
    }
  } catch (error) {
    await pool.end();
    if (error instanceof StoreError) throw error;
    throw new StoreError(`${where} cannot be used: ${reasonOf(error)}. Check DATABASE_URL and the server.`, {
      cause: error,
    });
  }
  const dialect = new PostgresDialect({
    pool,
    // A write is durable when its promise resolves, whatever the server's default is.
    onCreateConnection: async (connection) => {
      await connection.executeQuery(
        CompiledQuery.raw(
          "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
        ),
      );
    },
  });
  return {
    kysely: new Kysely<Tables>({ dialect }),
    where,
    beginExclusive: ["begin", `select pg_advisory_xact_lock(${migrationLock})`],
  };
}

function readInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new RangeError(`PostgreSQL sent ${text}, which no number can hold.`);
  return value;
}

function describeDatabase(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  const host = url.searchParams.get("host") ?? url.hostname;
  const name = decodeURIComponent(url.pathname.slice(1));
  return `The PostgreSQL database ${name === "" ? "(default)" : name} at ${host}:${url.port === "" ? 5432 : url.port}`;
}

/** A name with several addresses fails as an AggregateError without a message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}
