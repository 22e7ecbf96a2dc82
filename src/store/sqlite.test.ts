/** SQLite passes the store's contract; its file is private, and never written to when it is damaged. */
import { createHash, randomUUID } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { firstRevisions } from "../core/deployment.ts";
import { testBackups } from "./backup-contract.ts";
import { type TestState, testStoreContract } from "./contract.ts";
import { testStoreCrashes } from "./crashes.ts";
import { StoreError } from "./error.ts";
import { sampleDeployment, sampleInstance } from "./samples.ts";
import { openStore } from "./store.ts";

testStoreContract("SQLite", newFolder);
testBackups("SQLite", newFolder);
testStoreCrashes("SQLite", newFolder);

async function newFolder(): Promise<TestState> {
  const home = mkdtempSync(join(tmpdir(), "berth-store-"));
  return {
    options: { home, databaseUrl: null },
    async run(statement) {
      const db = new DatabaseSync(join(home, "berth.db"), { timeout: 5000 });
      try {
        return db.prepare(statement).all();
      } finally {
        db.close();
      }
    },
    async dispose() {
      rmSync(home, { recursive: true });
    },
  };
}

let home: string;
let file: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "berth-sqlite-"));
  file = join(home, "berth.db");
});
afterEach(() => rmSync(home, { recursive: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe("the SQLite file", () => {
  test("and its folder are private from the start", async () => {
    const folder = join(home, "new", "state");
    const store = await openStore({ home: folder, databaseUrl: null });
    onTestFinished(() => store.close());
    await store.putNote("a", "b");
    expect(modeOf(folder)).toBe(0o700);
    for (const name of readdirSync(folder)) expect([name, modeOf(join(folder, name))]).toEqual([name, 0o600]);
  });

  test("is made private when it is not", async () => {
    await fillState();
    chmodSync(file, 0o644);
    await (await openStore({ home, databaseUrl: null })).close();
    expect(modeOf(file)).toBe(0o600);
  });

  test("is a new state when it is empty", async () => {
    writeFileSync(file, "");
    const store = await openStore({ home, databaseUrl: null });
    onTestFinished(() => store.close());
    expect(await store.accounts()).toEqual([]);
    expect(modeOf(file)).toBe(0o600);
  });

  test("opens with the log that a killed process left, also where the log's index is gone", async () => {
    await fillState({ keepLog: true });
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(0);
    rmSync(`${file}-shm`);
    const store = await openStore({ home, databaseUrl: null });
    onTestFinished(() => store.close());
    expect(await store.deployments({ includeDeleted: true })).toHaveLength(30);
  });

  test("opens with a log that a killed process had only begun", async () => {
    await openStore({ home, databaseUrl: null }).then((store) => store.close());
    const header = Buffer.alloc(32);
    header.writeUInt32BE(0x377f0682, 0);
    header.writeUInt32BE(3_007_000, 4);
    header.writeUInt32BE(4096, 8);
    header.write("its salt", 16);
    for (const bytes of [0, 16, 32]) {
      writeFileSync(`${file}-wal`, header.subarray(0, bytes));
      const store = await openStore({ home, databaseUrl: null });
      expect(await store.accounts()).toEqual([]);
      await store.close();
    }
  });

  test("opens again after a first write that was cut off before the state was a state", async () => {
    const db = new DatabaseSync(file);
    db.exec("pragma journal_mode = wal");
    db.close();
    // What SQLite leaves when it dies there: a rollback journal that says the file was empty before.
    const journal = Buffer.alloc(512);
    Buffer.from("d9d505f920a163d7", "hex").copy(journal);
    for (const [index, value] of [0, 1, 0, 512, 4096].entries()) journal.writeUInt32BE(value, 8 + 4 * index);
    writeFileSync(`${file}-journal`, journal);
    const store = await openStore({ home, databaseUrl: null });
    onTestFinished(() => store.close());
    expect(await store.accounts()).toEqual([]);
  });
});

describe("an SQLite file that must not be used is refused with no byte changed:", () => {
  test("garbage", async () => {
    writeFileSync(file, "This is not a database. ".repeat(1000));
    await expectRefusal(/berth\.db is damaged .*restore a backup/);
  });

  test("a garbled header", async () => {
    await fillState();
    overwrite(0, 100);
    await expectRefusal(/damaged .*restore a backup/);
  });

  test("a garbled page", async () => {
    await fillState();
    overwrite(4096, 4096);
    await expectRefusal(/damaged .*restore a backup/);
  });

  test("a file cut short anywhere", async () => {
    await fillState();
    const whole = readFileSync(file);
    const lengths = fc.oneof(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: whole.length - 1 }),
    );
    await fc.assert(
      fc.asyncProperty(lengths, async (length) => {
        writeFileSync(file, whole.subarray(0, length));
        await expectRefusal(/damaged .*restore a backup/);
      }),
      { numRuns: 40 },
    );
  });

  test("a file cut short whose log was not folded in", async () => {
    await fillState();
    await fillState({ keepLog: true });
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(0);
    truncateSync(file, 4096 * 3);
    await expectRefusal(/damaged .*restore a backup/);
  });

  test("the state of a newer Berth, its log folded in or not", async () => {
    await fillState({ keepLog: true, last: "update berth_schema set version = 99" });
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(0);
    await expectRefusal(/newer Berth .state version 99/);
    foldLog();
    await expectRefusal(/newer Berth .state version 99/);
  });

  test("the database of another program", async () => {
    const db = new DatabaseSync(file);
    db.exec("create table songs (title text)");
    db.close();
    await expectRefusal(/another program/);
  });

  test("a folder in its place", async () => {
    mkdirSync(file);
    await expect(openStore({ home, databaseUrl: null })).rejects.toThrow(/is not a file/);
  });

  test("a state folder that cannot be made", async () => {
    writeFileSync(join(home, "taken"), "");
    await expect(openStore({ home: join(home, "taken", "state"), databaseUrl: null })).rejects.toThrow(
      /cannot be made .*BERTH_HOME/,
    );
  });
});

/**
 * Fills a state with enough rows for several pages. `keepLog` leaves the files as a killed process would: the
 * write-ahead log beside the database. `last` is one more statement.
 */
async function fillState(how: { keepLog?: boolean; last?: string } = {}): Promise<void> {
  const store = await openStore({ home, databaseUrl: null });
  await store.addAccount({ name: "ann", isAdmin: false, createdAtMs: 1 });
  for (let number = 1; number <= 30; number += 1) {
    await store.addDeployment(sampleDeployment({ id: randomUUID() }), null);
  }
  if (how.last !== undefined) {
    const db = new DatabaseSync(file, { timeout: 5000 });
    db.exec(how.last);
    db.close();
  }
  const names = readdirSync(home);
  const kept = names.map((name) => ({ path: join(home, name), bytes: readFileSync(join(home, name)) }));
  await store.close();
  if (how.keepLog !== true) return;
  for (const { path, bytes } of kept) writeFileSync(path, bytes, { mode: 0o600 });
}

/** Opens and closes the file as SQLite's own tool would, which folds the log into it. */
function foldLog(): void {
  const db = new DatabaseSync(file);
  db.exec("pragma wal_checkpoint(truncate)");
  db.close();
  expect(readdirSync(home)).toEqual(["berth.db"]);
}

function overwrite(offset: number, length: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0x07, offset, offset + length);
  writeFileSync(file, bytes);
}

async function expectRefusal(message: RegExp): Promise<void> {
  const before = describeFiles();
  const opening = openStore({ home, databaseUrl: null });
  await expect(opening).rejects.toThrow(StoreError);
  await expect(opening).rejects.toThrow(message);
  await expect(opening).rejects.toThrow(file);
  expect(describeFiles()).toEqual(before);
}

/** Every file of the folder with its content's hash and its time of change. */
function describeFiles(): string[] {
  return readdirSync(home).map((name) => {
    const path = join(home, name);
    const hash = createHash("sha256").update(readFileSync(path)).digest("hex");
    return `${name} ${hash} ${statSync(path, { bigint: true }).mtimeNs}`;
  });
}

describe("a state of the first version", () => {
  /** As the first version wrote it: arguments were part of the configuration, instances had no revision. */
  const firstVersion = `
    create table berth_schema (version bigint not null);
    insert into berth_schema values (1);
    create table accounts (name text not null primary key, name_key text not null unique,
      is_admin bigint not null, created_at_ms bigint not null);
    insert into accounts values ('ann', 'ann', 1, 10);
    create table tokens (id text not null primary key, account text not null references accounts (name),
      name text not null, hash text not null unique, fragment text not null, created_at_ms bigint not null,
      sealed text not null, unique (account, name));
    create table deployments (id text not null primary key, account text not null references accounts (name),
      name text not null, live_name text unique, is_public bigint not null, config text not null,
      settings text not null, desired text not null, created_at_ms bigint not null,
      updated_at_ms bigint not null, resolved text not null, weights_ready_at_ms bigint, failure text not null,
      has_run bigint not null, tries text not null, sealed_hf_token text, version bigint not null);
    insert into deployments values ('d1', 'ann', 'ann/d1', 'ann/d1', 0,
      '{"gpu":"other","numGpus":1,"maxBatchSize":4,"weights":{"repo":"owner/model:Q4_K_M","revision":null},"baseModel":null,"extraArgs":["--ctx-size","512"]}',
      '{"minInstances":0,"maxInstances":1,"inactiveShutdownS":null}', 'run', 10, 10, 'null', null, 'null', 0,
      '{"count":0,"lastAtMs":null,"lastFailure":null}', 'sealed', 1);
    create table instances (id text not null primary key, deployment_id text not null references deployments (id),
      intent text not null, created_at_ms bigint not null, drain_since_ms bigint, observed text not null);
    create index instances_by_deployment on instances (deployment_id);
    insert into instances values ('i1', 'd1', 'run', 10, null, 'null');
    create table events (deployment_id text not null references deployments (id), seq bigint not null,
      at_ms bigint not null, code text not null, details text not null, primary key (deployment_id, seq));
    create table notes (key text not null primary key, value text not null);`;

  test("opens with everything that was in it", async () => {
    const { options, dispose } = await newFolder();
    onTestFinished(dispose);
    const db = new DatabaseSync(join(options.home, "berth.db"));
    db.exec(firstVersion);
    db.close();
    const store = await openStore(options);
    onTestFinished(() => store.close());
    const args = { standardArgs: {}, extraArgs: ["--ctx-size", "512"] };
    expect(await store.deployment("d1")).toEqual(sampleDeployment({ revisions: firstRevisions(args) }));
    expect(await store.sealedHfToken("d1")).toBe("sealed");
    expect(await store.instances("d1")).toEqual([sampleInstance()]);
  });
});
