/**
 * What every store must do, as one suite over a source of fresh states: SQLite and PostgreSQL pass the same tests. Owns
 * the port's promises; what only one database does is tested beside that database.
 */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Store } from "../ports/store.ts";
import { testAccess } from "./access-contract.ts";
import { StoreError } from "./error.ts";
import { stateVersion } from "./migrations.ts";
import {
  anyDeployment,
  anyEvent,
  anyInstance,
  anyText,
  sampleDeployment,
  sampleEvent,
  sampleInstance,
  sampleToken,
} from "./samples.ts";
import { eventsKept, openStore } from "./store.ts";
import { testUsage } from "./usage-contract.ts";

/** A state of its own for one test. */
export type TestState = {
  readonly options: { readonly home: string; readonly databaseUrl: string | null };
  /** Runs a statement behind the store's back; returns the rows. */
  run(statement: string): Promise<readonly Record<string, unknown>[]>;
  /** Removes everything. */
  dispose(): Promise<void>;
};

/** Defines the suite. `newState` makes an empty state. */
export function testStoreContract(kind: string, newState: () => Promise<TestState>): void {
  describe(`store contract, ${kind}`, () => {
    let state: TestState;
    let store: Store;

    beforeEach(async () => {
      state = await newState();
      store = await openStore(state.options);
      await store.addAccount({ name: "ann", isAdmin: true, createdAtMs: 1 });
    });
    afterEach(async () => {
      await store.close();
      await state.dispose();
    });

    testAccountsAndTokens(() => store);
    testDeployments(() => store);
    testChanges(
      () => store,
      () => state,
    );
    testInstancesEventsNotes(() => store);
    testRoundTrips(() => store);
    testUsage(() => store);
    testAccess(() => store);
    testOpening(
      () => store,
      () => state,
    );
  });
}

function testAccountsAndTokens(store: () => Store): void {
  test("an account's name is taken whatever its case, and found by its exact name", async () => {
    const bob = { name: "Bob", isAdmin: false, createdAtMs: 2 };
    expect(await store().addAccount(bob)).toBe("added");
    expect(await store().addAccount({ ...bob, isAdmin: true })).toBe("taken");
    expect(await store().addAccount({ ...bob, name: "bOB" })).toBe("taken");
    expect(await store().account("Bob")).toEqual(bob);
    expect(await store().account("bob")).toBeNull();
    expect((await store().accounts()).map((account) => account.name)).toEqual(["ann", "Bob"]);
  });

  test("tokens are found by hash, listed oldest first, unique by name within an account", async () => {
    await store().addAccount({ name: "bob", isAdmin: false, createdAtMs: 2 });
    const second = sampleToken({ id: "t2", createdAtMs: 20 });
    const first = sampleToken({ id: "t1", createdAtMs: 10, name: "it's\u0000\ud800 mine" });
    const foreign = sampleToken({ id: "t3", account: "bob", name: second.name, createdAtMs: 15 });
    for (const token of [second, first, foreign])
      expect(await store().addToken(token, "sealed")).toBe("added");

    expect(await store().addToken(sampleToken({ id: "t4", name: second.name }), "sealed")).toBe("name-taken");
    expect(await store().tokenByHash(first.hash)).toEqual(first);
    expect(await store().tokenByHash("no such hash")).toBeNull();
    expect(await store().tokens()).toEqual([first, foreign, second]);
    expect(await store().tokens("ann")).toEqual([first, second]);
  });

  test("a token is removed by its own account only, and once", async () => {
    await store().addToken(sampleToken(), "sealed");
    expect(await store().removeToken("bob", "t1")).toBe(false);
    expect(await store().removeToken("ann", "t1")).toBe(true);
    expect(await store().removeToken("ann", "t1")).toBe(false);
    expect(await store().tokenByHash(sampleToken().hash)).toBeNull();
  });

  test("a token of an account that does not exist is a defect", async () => {
    await expect(store().addToken(sampleToken({ account: "nobody" }), "sealed")).rejects.toThrow();
  });
}

function testDeployments(store: () => Store): void {
  test("a name is taken whatever its case until its deployment is deleted", async () => {
    const first = sampleDeployment({ id: "d1", name: "ann/Model" });
    const again = sampleDeployment({ id: "d2", name: "ann/mODEL" });
    expect(await store().addDeployment(first, null)).toBe("added");
    expect(await store().addDeployment(again, null)).toBe("name-taken");
    expect(await store().deployment("d2")).toBeNull();
    await store().changeDeployment("d1", (current) => ({ ...current, desired: "delete" }));
    expect(await store().addDeployment(again, null)).toBe("added");
    expect(await store().deployment("d1")).toMatchObject({ name: "ann/Model", desired: "delete" });
  });

  test("of several that want one name at the same time, one gets it", async () => {
    const wanted = ["d1", "d2", "d3", "d4", "d5"].map((id) => sampleDeployment({ id, name: "ann/one" }));
    const outcomes = await Promise.all(wanted.map((deployment) => store().addDeployment(deployment, null)));
    expect(outcomes.filter((outcome) => outcome === "added")).toHaveLength(1);
    expect(await store().deployments({ includeDeleted: true })).toHaveLength(1);
  });

  test("lists are newest first, of one account or all, deleted ones only when asked for", async () => {
    await store().addAccount({ name: "bob", isAdmin: false, createdAtMs: 2 });
    const [old, gone, young, foreign] = [
      sampleDeployment({ id: "old", createdAtMs: 10 }),
      sampleDeployment({ id: "gone", createdAtMs: 20, desired: "delete" }),
      sampleDeployment({ id: "young", createdAtMs: 30, desired: "stop" }),
      sampleDeployment({ id: "foreign", createdAtMs: 25, account: "bob" }),
    ];
    for (const deployment of [gone, young, old, foreign]) await store().addDeployment(deployment, null);
    expect(await store().deployments({ includeDeleted: false })).toEqual([young, foreign, old]);
    expect(await store().deployments({ includeDeleted: true })).toEqual([young, foreign, gone, old]);
    expect(await store().deployments({ account: "ann", includeDeleted: true })).toEqual([young, gone, old]);
    expect(await store().deployments({ account: "nobody", includeDeleted: true })).toEqual([]);
  });

  test("a list that was read before is what was written since, deletions and new ones among it", async () => {
    const [one, two, three] = ["1", "2", "3"].map((id) => sampleDeployment({ id, createdAtMs: Number(id) }));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three were made");
    for (const deployment of [one, two]) await store().addDeployment(deployment, null);
    const list = async () =>
      (await store().deployments({ account: "ann", includeDeleted: false })).map(({ id }) => id);
    expect(await list()).toEqual(["2", "1"]);
    // One goes and one comes: as many rows as before.
    await store().changeDeployment("1", (current) => ({ ...current, desired: "delete" }));
    await store().addDeployment(three, null);
    expect(await list()).toEqual(["3", "2"]);
    await store().changeDeployment("2", (current) => ({ ...current, hasRun: true }));
    expect(await store().deployments({ includeDeleted: true })).toMatchObject([
      ...[{ id: "3" }, { id: "2", hasRun: true }, { id: "1", desired: "delete" }],
    ]);
  });

  test("the same id twice, or an owner that does not exist, is a defect", async () => {
    await store().addDeployment(sampleDeployment(), null);
    await expect(store().addDeployment(sampleDeployment({ name: "ann/other" }), null)).rejects.toThrow();
    await expect(
      store().addDeployment(sampleDeployment({ id: "d2", account: "nobody" }), null),
    ).rejects.toThrow();
  });

  test("what could not be read back is not written", async () => {
    const broken = sampleDeployment({ createdAtMs: Number.NaN });
    await expect(store().addDeployment(broken, null)).rejects.toThrow(/"d1" of the table deployments/);
    expect(await store().deployments({ includeDeleted: true })).toEqual([]);
  });

  test("the sealed Hugging Face token outlives changes and is wiped by the deletion", async () => {
    await store().addDeployment(sampleDeployment({ id: "d1" }), "sealed");
    await store().addDeployment(sampleDeployment({ id: "d2" }), null);
    await store().changeDeployment("d1", (current) => ({ ...current, desired: "stop" }));
    expect(await store().sealedHfToken("d1")).toBe("sealed");
    expect(await store().sealedHfToken("d2")).toBeNull();
    expect(await store().sealedHfToken("d3")).toBeNull();
    await store().changeDeployment("d1", (current) => ({ ...current, desired: "delete" }));
    expect(await store().sealedHfToken("d1")).toBeNull();
  });
}

function testChanges(store: () => Store, state: () => TestState): void {
  test("a change answers with what is stored; null writes nothing; an unknown id is null", async () => {
    const deployment = sampleDeployment();
    await store().addDeployment(deployment, null);
    const changed = await store().changeDeployment("d1", (current) => ({ ...current, updatedAtMs: 99 }));
    expect(changed).toEqual({ ...deployment, updatedAtMs: 99 });
    expect(await store().deployment("d1")).toEqual(changed);
    expect(await store().changeDeployment("d1", () => null)).toEqual(changed);
    expect(await store().deployment("d1")).toEqual(changed);
    expect(await store().changeDeployment("d2", (current) => current)).toBeNull();
  });

  test("no change is lost between writers, in one process and in two stores", async () => {
    const other = await openStore(state().options);
    onTestFinished(() => other.close());
    await store().addDeployment(sampleDeployment(), null);
    const increment = (through: Store) =>
      through.changeDeployment("d1", (current) => ({
        ...current,
        updatedAtMs: current.updatedAtMs + 1,
      }));
    await Promise.all(Array.from({ length: 20 }, (_, index) => increment(index % 2 === 0 ? store() : other)));
    expect((await store().deployment("d1"))?.updatedAtMs).toBe(sampleDeployment().updatedAtMs + 20);
  });

  test("a change that throws, swaps the deployment or revives a deleted one writes nothing", async () => {
    await store().addDeployment(sampleDeployment({ desired: "delete" }), null);
    const refused = [
      () => {
        throw new Error("no");
      },
      () => sampleDeployment({ id: "d2" }),
      () => sampleDeployment({ desired: "run" }),
    ];
    for (const change of refused) await expect(store().changeDeployment("d1", change)).rejects.toThrow();
    expect(await store().deployments({ includeDeleted: true })).toEqual([
      sampleDeployment({ desired: "delete" }),
    ]);
  });
}

function testInstancesEventsNotes(store: () => Store): void {
  test("instances are put, replaced, listed oldest first and removed", async () => {
    await store().addDeployment(sampleDeployment({ id: "d1" }), null);
    await store().addDeployment(sampleDeployment({ id: "d2" }), null);
    const second = sampleInstance({ id: "i2", createdAtMs: 20 });
    const first = sampleInstance({ id: "i1", createdAtMs: 10 });
    const foreign = sampleInstance({ id: "i3", createdAtMs: 15, deploymentId: "d2" });
    for (const record of [second, first, foreign]) await store().putInstance(record);
    const drained = { ...first, intent: "drain" as const, drainSinceMs: 50 };
    await store().putInstance(drained);
    expect(await store().instances()).toEqual([drained, foreign, second]);
    expect(await store().instances("d1")).toEqual([drained, second]);
    await store().removeInstance("i1");
    await store().removeInstance("i1");
    expect(await store().instances("d1")).toEqual([second]);
  });

  test("events come oldest first, the newest of them, each deployment's own", async () => {
    await store().addDeployment(sampleDeployment({ id: "d1" }), null);
    await store().addDeployment(sampleDeployment({ id: "d2" }), null);
    const events = [3, 1, 2].map((atMs) => sampleEvent({ atMs }));
    for (const event of events) await store().addEvent(event);
    await store().addEvent(sampleEvent({ deploymentId: "d2" }));
    expect(await store().events("d1", 100)).toEqual(events);
    expect(await store().events("d1", 2)).toEqual(events.slice(1));
    expect(await store().events("d1", 0)).toEqual([]);
    expect(await store().events("d3", 100)).toEqual([]);
    await expect(store().addEvent(sampleEvent({ deploymentId: "d3" }))).rejects.toThrow();
  });

  test("a deployment keeps its newest events only", async () => {
    await store().addDeployment(sampleDeployment(), null);
    const added = eventsKept + 60;
    const numbers = Array.from({ length: added }, (_, index) => index);
    for (const atMs of numbers) await store().addEvent(sampleEvent({ atMs }));
    const kept = await store().events("d1", 10 * added);
    expect(kept.map((event) => event.atMs)).toEqual(numbers.slice(-eventsKept));
  });

  test("events that are added at the same time are all kept", async () => {
    await store().addDeployment(sampleDeployment(), null);
    const times = Array.from({ length: 20 }, (_, index) => index);
    await Promise.all(times.map((atMs) => store().addEvent(sampleEvent({ atMs }))));
    const kept = await store().events("d1", 100);
    expect(kept.map((event) => event.atMs).sort((a, b) => a - b)).toEqual(times);
  });

  test("a note is what was put last", async () => {
    expect(await store().note("starter")).toBeNull();
    await store().putNote("starter", "deployed");
    await store().putNote("starter", "deployed twice");
    expect(await store().note("starter")).toBe("deployed twice");
    expect(await store().note("Starter")).toBeNull();
  });
}

function testRoundTrips(store: () => Store): void {
  test("every deployment reads back as it was written", async () => {
    await store().addDeployment(sampleDeployment(), null);
    await fc.assert(
      fc.asyncProperty(anyDeployment("d1"), async (deployment) => {
        await store().changeDeployment("d1", () => deployment);
        expect(await store().deployment("d1")).toEqual(deployment);
      }),
      { numRuns: 60 },
    );
  });

  test("every instance, event, token name and note reads back as it was written", async () => {
    await store().addDeployment(sampleDeployment(), null);
    await fc.assert(
      fc.asyncProperty(anyInstance, anyEvent, anyText, async (record, event, text) => {
        await store().putInstance(record);
        await store().addEvent(event);
        await store().putNote("any", text);
        await store().addToken(sampleToken({ name: text }), "sealed");
        expect(await store().instances("d1")).toEqual([record]);
        expect(await store().events("d1", 1)).toEqual([event]);
        expect(await store().note("any")).toBe(text);
        expect((await store().tokens("ann")).map((token) => token.name)).toEqual([text]);
        await store().removeToken("ann", "t1");
        await store().removeInstance(record.id);
      }),
      { numRuns: 60 },
    );
  });
}

function testOpening(store: () => Store, state: () => TestState): void {
  test("what was stored is there after closing and opening again", async () => {
    await store().addDeployment(sampleDeployment(), "sealed");
    await store().close();
    const again = await openStore(state().options);
    onTestFinished(() => again.close());
    expect(await again.deployment("d1")).toEqual(sampleDeployment());
    expect(await again.sealedHfToken("d1")).toBe("sealed");
  });

  test("a state of a newer Berth is refused with both versions and left as it is", async () => {
    await store().addDeployment(sampleDeployment(), null);
    await state().run(`update berth_schema set version = ${stateVersion + 1}`);
    await store().close();
    const before = await state().run("select * from deployments");
    const opening = openStore(state().options);
    await expect(opening).rejects.toThrow(StoreError);
    await expect(opening).rejects.toThrow(
      new RegExp(
        `newer Berth .state version ${stateVersion + 1}, .* ${stateVersion}.; it was left untouched`,
      ),
    );
    expect(await state().run("select * from deployments")).toEqual(before);
    const [kept] = await state().run("select version from berth_schema");
    expect(Number(kept?.version)).toBe(stateVersion + 1);
  });

  test("a broken row is named by table and id", async () => {
    await store().addDeployment(sampleDeployment(), null);
    await state().run(`update deployments set settings = '{"minInstances": "two"}' where id = 'd1'`);
    const message = /"d1" of the table deployments .*settings.minInstances.* backup/;
    await expect(store().deployment("d1")).rejects.toThrow(message);
    await expect(store().deployments({ includeDeleted: false })).rejects.toThrow(message);
    await state().run("update deployments set settings = 'no JSON' where id = 'd1'");
    await expect(store().deployment("d1")).rejects.toThrow(/settings is not JSON/);
  });
}
