/** PostgreSQL passes the store's contract where a server is given; without one the run says so. */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import pg from "pg";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { testBackups } from "./backup-contract.ts";
import { type TestState, testStoreContract } from "./contract.ts";
import { testStoreCrashes } from "./crashes.ts";
import { StoreError } from "./error.ts";
import { openStore } from "./store.ts";

const serverUrl = process.env.BERTH_TEST_DATABASE_URL;

if (serverUrl === undefined) {
  const notice =
    "PostgreSQL: skipped, set BERTH_TEST_DATABASE_URL to a postgres:// URL to run the store's tests on it";
  console.warn(notice);
  test.skip(notice, () => undefined);
} else {
  const server = new pg.Pool({ connectionString: serverUrl, max: 4 });
  afterAll(() => server.end());
  const newState = () => newSchema(server, serverUrl);
  testStoreContract("PostgreSQL", newState);
  testStoreCrashes("PostgreSQL", newState);
  testBackups("PostgreSQL", newState);
  testForeignTables(newState);
  testLostConnections(newState);
}

/** A schema of its own for each test, chosen through the search path. */
async function newSchema(server: pg.Pool, url: string): Promise<TestState> {
  const schema = `berth_test_${randomBytes(6).toString("hex")}`;
  await server.query(`create schema ${schema}`);
  const databaseUrl = new URL(url);
  databaseUrl.searchParams.set("options", `-c search_path=${schema}`);
  return {
    // The folder is not used: everything is in the database.
    options: { home: tmpdir(), databaseUrl: databaseUrl.href },
    async run(statement) {
      const client = await server.connect();
      try {
        await client.query(`set search_path = ${schema}`);
        return (await client.query<Record<string, unknown>>(statement)).rows;
      } finally {
        client.release(true);
      }
    },
    async dispose() {
      await server.query(`drop schema ${schema} cascade`);
    },
  };
}

function testForeignTables(newState: () => Promise<TestState>): void {
  test("a database with tables of another program is refused and left as it is", async () => {
    const state = await newState();
    onTestFinished(() => state.dispose());
    await state.run("create table accounts (whose text)");
    await expect(openStore(state.options)).rejects.toThrow(/"accounts" already exists.*nothing was changed/);
    const tables = await state.run("select tablename from pg_tables where schemaname = current_schema()");
    expect(tables).toEqual([{ tablename: "accounts" }]);
  });
}

function testLostConnections(newState: () => Promise<TestState>): void {
  test("connections that the server ends are replaced, and nothing is lost", async () => {
    const state = await newState();
    onTestFinished(() => state.dispose());
    const store = await openStore(state.options);
    onTestFinished(() => store.close());
    await store.putNote("a", "b");
    const ended = await state.run(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth' and pid <> pg_backend_pid()",
    );
    expect(ended.length).toBeGreaterThan(0);
    await eventually(async () => expect(await store.note("a")).toBe("b"));
  });
}

describe("a PostgreSQL that does not answer", () => {
  test("is named with its address, without the password", async () => {
    // Port 1 of the loopback address: nothing listens there.
    const opening = openStore({
      home: tmpdir(),
      databaseUrl: "postgres://ann:hidden-word@127.0.0.1:1/berth",
    });
    await expect(opening).rejects.toThrow(StoreError);
    const message = await opening.catch((error: Error) => error.message);
    expect(message).toMatch(/database berth at 127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED.*DATABASE_URL/);
    expect(message).not.toContain("hidden-word");
  });
});
