/**
 * The store over SQL: accounts, tokens, deployments, instances, events and notes in an SQLite file or in PostgreSQL, by
 * the same statements. Owns what is unique, what is bounded and what a deletion wipes. Must not interpret what it keeps:
 * statuses are `core/status`'s. Each method is one statement that matters, so that a crash finds it done or not done.
 */
import { join } from "node:path";
import { type Kysely, sql } from "kysely";
import type { Account, ApiToken } from "../core/account.ts";
import type { Deployment } from "../core/deployment.ts";
import type { DeploymentEvent } from "../core/event.ts";
import type { InstanceRecord } from "../core/instance.ts";
import type { AccessStore } from "../ports/access-store.ts";
import type { Store } from "../ports/store.ts";
import type { UsageStore } from "../ports/usage-store.ts";
import { createAccessStore } from "./access.ts";
import { DeploymentCache, type ListQuery } from "./deployment-cache.ts";
import { StoreError } from "./error.ts";
import { migrate, stateVersion } from "./migrations.ts";
import { openPostgres } from "./postgres.ts";
import * as rows from "./rows.ts";
import { openSqlite } from "./sqlite.ts";
import type { Database, Tables } from "./tables.ts";
import { createUsageStore } from "./usage.ts";

/** Events kept per deployment, the newest. Up to `pruneEvery` more may be in the table. */
export const eventsKept = 500;
const pruneEvery = 50;

/** Rows that one statement names by their ids; SQLite and PostgreSQL take far more. */
const rowsAtOnce = 500;

/** Tries of a write that others keep overtaking; far above the number of writers there are. */
const maxTries = 100;

/**
 * Opens the state, creating or migrating it: `$home/berth.db`, or the PostgreSQL database where a URL is given.
 * @throws StoreError when it must not or cannot be used: damaged, newer than this Berth, not reachable; it is unchanged then
 */
export async function openStore(options: { home: string; databaseUrl: string | null }): Promise<Store> {
  const database = await openDatabase(options);
  try {
    await migrate(database);
  } catch (error) {
    await database.kysely.destroy();
    throw error;
  }
  return new SqlStore(database.kysely);
}

/** The database itself, its tables as they are: for who carries the state elsewhere. */
export async function openDatabase(options: { home: string; databaseUrl: string | null }): Promise<Database> {
  return options.databaseUrl === null
    ? openSqlite(join(options.home, "berth.db"), stateVersion)
    : await openPostgres(options.databaseUrl);
}

class SqlStore implements Store {
  readonly usage: UsageStore;
  readonly access: AccessStore;
  readonly #db: Kysely<Tables>;
  readonly #read = new DeploymentCache();

  constructor(db: Kysely<Tables>) {
    this.#db = db;
    this.usage = createUsageStore(db);
    this.access = createAccessStore(db);
  }

  async addAccount(account: Account): Promise<"added" | "taken"> {
    const added = await this.#db
      .insertInto("accounts")
      .values(rows.writeAccount(account))
      .onConflict((conflict) => conflict.column("name_key").doNothing())
      .returning("name")
      .executeTakeFirst();
    return added === undefined ? "taken" : "added";
  }

  async account(name: string): Promise<Account | null> {
    const row = await this.#db.selectFrom("accounts").selectAll().where("name", "=", name).executeTakeFirst();
    return row === undefined ? null : rows.readAccount(row);
  }

  async accounts(): Promise<Account[]> {
    const found = await this.#db
      .selectFrom("accounts")
      .selectAll()
      .orderBy("created_at_ms")
      .orderBy("name")
      .execute();
    return found.map(rows.readAccount);
  }

  async addToken(token: ApiToken, sealed: string): Promise<"added" | "name-taken"> {
    const added = await this.#db
      .insertInto("tokens")
      .values(rows.writeToken(token, sealed))
      .onConflict((conflict) => conflict.columns(["account", "name"]).doNothing())
      .returning("id")
      .executeTakeFirst();
    return added === undefined ? "name-taken" : "added";
  }

  async tokenByHash(hash: string): Promise<ApiToken | null> {
    const row = await this.#tokenRows().where("hash", "=", hash).executeTakeFirst();
    return row === undefined ? null : rows.readToken(row);
  }

  async tokens(account?: string): Promise<ApiToken[]> {
    const query = this.#tokenRows().orderBy("created_at_ms").orderBy("id");
    const found = await (account === undefined ? query : query.where("account", "=", account)).execute();
    return found.map(rows.readToken);
  }

  /** Without the sealed secret, which no list needs. */
  #tokenRows() {
    return this.#db
      .selectFrom("tokens")
      .select(["id", "account", "name", "hash", "fragment", "created_at_ms", "allowed_ips", "rates"]);
  }

  async sealedToken(tokenId: string): Promise<string | null> {
    const row = await this.#db
      .selectFrom("tokens")
      .select("sealed")
      .where("id", "=", tokenId)
      .executeTakeFirst();
    return row?.sealed ?? null;
  }

  async limitToken(
    account: string,
    tokenId: string,
    limits: Partial<Pick<ApiToken, "allowedIps" | "rates">>,
  ): Promise<boolean> {
    const { allowedIps, rates } = limits;
    const limited = await this.#db
      .updateTable("tokens")
      .set({
        ...(allowedIps === undefined ? {} : { allowed_ips: JSON.stringify(allowedIps) }),
        ...(rates === undefined ? {} : { rates: JSON.stringify(rates) }),
      })
      .where("account", "=", account)
      .where("id", "=", tokenId)
      .returning("id")
      .executeTakeFirst();
    return limited !== undefined;
  }

  async removeToken(account: string, tokenId: string): Promise<boolean> {
    const removed = await this.#db
      .deleteFrom("tokens")
      .where("account", "=", account)
      .where("id", "=", tokenId)
      .returning("id")
      .executeTakeFirst();
    return removed !== undefined;
  }

  async addDeployment(deployment: Deployment, sealedHfToken: string | null): Promise<"added" | "name-taken"> {
    const added = await this.#db
      .insertInto("deployments")
      .values(rows.writeDeployment(deployment, sealedHfToken, 1))
      .onConflict((conflict) => conflict.column("live_name").doNothing())
      .returning("id")
      .executeTakeFirst();
    return added === undefined ? "name-taken" : "added";
  }

  async deployment(id: string): Promise<Deployment | null> {
    const row = await this.#deploymentRow(id);
    return row === undefined ? null : this.#read.read(row);
  }

  /** Asks for the sum of versions first: nearly always nothing was written since the last list. */
  async deployments(query: ListQuery): Promise<readonly Deployment[]> {
    const sum = await this.#versionSum(query.account);
    const kept = this.#read.findList(query, sum);
    if (kept !== null) return kept;
    const listed = await this.#readList(query);
    this.#read.keepList(query, sum, listed);
    return listed;
  }

  /** Grows with every write of one of these rows: none is ever removed, and deleted ones count. */
  async #versionSum(account: string | undefined): Promise<string> {
    const all = this.#db.selectFrom("deployments");
    const some = account === undefined ? all : all.where("account", "=", account);
    const { rows: count, versions } = await some
      .select(({ fn }) => [fn.countAll().as("rows"), fn.sum("version").as("versions")])
      .executeTakeFirstOrThrow();
    return `${count} ${versions}`;
  }

  /** Asks for the versions: of thousands, few were written since they were read. */
  async #readList(query: ListQuery): Promise<Deployment[]> {
    let wanted = this.#db.selectFrom("deployments").select(["id", "version"]);
    if (query.account !== undefined) wanted = wanted.where("account", "=", query.account);
    if (!query.includeDeleted) wanted = wanted.where("desired", "!=", "delete");
    const found = await wanted.orderBy("created_at_ms", "desc").orderBy("id", "desc").execute();
    const listed = found.map(({ id, version }) => ({ id, deployment: this.#read.find(id, version) }));
    const fresh = await this.#readRows(listed.filter((one) => one.deployment === null).map(({ id }) => id));
    return listed
      .map(({ id, deployment }) => deployment ?? fresh.get(id))
      .filter((one) => one !== undefined)
      .filter(({ desired }) => query.includeDeleted || desired !== "delete");
  }

  async #readRows(ids: readonly string[]): Promise<Map<string, Deployment>> {
    const read = new Map<string, Deployment>();
    for (let from = 0; from < ids.length; from += rowsAtOnce) {
      const some = ids.slice(from, from + rowsAtOnce);
      const found = await this.#db.selectFrom("deployments").selectAll().where("id", "in", some).execute();
      for (const row of found) read.set(row.id, this.#read.read(row));
      // Thousands of rows take a second to check: whoever waits for something else gets a turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return read;
  }

  async changeDeployment(
    id: string,
    change: (current: Deployment) => Deployment | null,
  ): Promise<Deployment | null> {
    for (let attempt = 1; attempt <= maxTries; attempt += 1) {
      const row = await this.#deploymentRow(id);
      if (row === undefined) return null;
      const current = this.#read.read(row);
      const next = change(current);
      if (next === null) return current;
      if (next.id !== id) throw new TypeError(`A change of deployment ${id} returned deployment ${next.id}.`);
      if (current.desired === "delete" && next.desired !== "delete") {
        throw new TypeError(`Deployment ${id} is deleted for good; a change wanted it back.`);
      }
      const written = await this.#db
        .updateTable("deployments")
        .set(rows.writeDeployment(next, row.sealed_hf_token, row.version + 1))
        .where("id", "=", id)
        .where("version", "=", row.version)
        .returning("id")
        .executeTakeFirst();
      if (written !== undefined) return next;
    }
    throw new StoreError(
      `Deployment ${id} was changed by others ${maxTries} times while it should be written. Try again.`,
    );
  }

  #deploymentRow(id: string) {
    return this.#db.selectFrom("deployments").selectAll().where("id", "=", id).executeTakeFirst();
  }

  async sealedHfToken(id: string): Promise<string | null> {
    const row = await this.#db
      .selectFrom("deployments")
      .select("sealed_hf_token")
      .where("id", "=", id)
      .executeTakeFirst();
    return row?.sealed_hf_token ?? null;
  }

  async putInstance(record: InstanceRecord): Promise<void> {
    const { id, ...rest } = rows.writeInstance(record);
    await this.#db
      .insertInto("instances")
      .values({ id, ...rest })
      .onConflict((conflict) => conflict.column("id").doUpdateSet(rest))
      .execute();
  }

  async instances(deploymentId?: string): Promise<InstanceRecord[]> {
    const query = this.#db.selectFrom("instances").selectAll().orderBy("created_at_ms").orderBy("id");
    const found = await (deploymentId === undefined
      ? query
      : query.where("deployment_id", "=", deploymentId)
    ).execute();
    return found.map(rows.readInstance);
  }

  async removeInstance(id: string): Promise<void> {
    await this.#db.deleteFrom("instances").where("id", "=", id).execute();
  }

  async addEvent(event: DeploymentEvent): Promise<void> {
    const row = rows.writeEvent(event, 1);
    for (let attempt = 1; attempt <= maxTries; attempt += 1) {
      // One statement takes the next number and the row; only PostgreSQL can give two writers the same number, and then
      // one of them finds it taken and tries again.
      const { rows: added } = await sql<{ seq: number }>`
        insert into events (deployment_id, seq, at_ms, code, details)
        select ${row.deployment_id}, coalesce(max(seq), 0) + 1, cast(${row.at_ms} as bigint), ${row.code}, ${row.details}
        from events where deployment_id = ${row.deployment_id}
        on conflict (deployment_id, seq) do nothing
        returning seq`.execute(this.#db);
      const seq = added[0]?.seq;
      if (seq === undefined) continue;
      if (seq % pruneEvery === 0) await this.#pruneEvents(row.deployment_id, seq - eventsKept);
      return;
    }
    throw new StoreError(
      `An event of deployment ${event.deploymentId} found its number taken ${maxTries} times.`,
    );
  }

  async #pruneEvents(deploymentId: string, upToSeq: number): Promise<void> {
    await this.#db
      .deleteFrom("events")
      .where("deployment_id", "=", deploymentId)
      .where("seq", "<=", upToSeq)
      .execute();
  }

  async events(deploymentId: string, limit: number): Promise<DeploymentEvent[]> {
    const newestFirst = await this.#db
      .selectFrom("events")
      .selectAll()
      .where("deployment_id", "=", deploymentId)
      .orderBy("seq", "desc")
      .limit(Math.min(limit, eventsKept))
      .execute();
    return newestFirst.reverse().map(rows.readEvent);
  }

  async note(key: string): Promise<string | null> {
    const row = await this.#db.selectFrom("notes").selectAll().where("key", "=", key).executeTakeFirst();
    return row === undefined ? null : rows.readNote(row);
  }

  async putNote(key: string, value: string): Promise<void> {
    const text = JSON.stringify(value);
    await this.#db
      .insertInto("notes")
      .values({ key, value: text })
      .onConflict((conflict) => conflict.column("key").doUpdateSet({ value: text }))
      .execute();
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }
}
