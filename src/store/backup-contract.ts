/**
 * What was backed up comes back as it was, whole or not at all, and only where it can be used: as one suite over a source of
 * fresh states that both databases pass.
 */
import { createHash } from "node:crypto";
import { describe, expect, onTestFinished, test } from "vitest";
import { readBackup, writeBackup } from "./backup.ts";
import type { TestState } from "./contract.ts";
import { stateVersion } from "./migrations.ts";
import { sampleDeployment, sampleEvent, sampleInstance } from "./samples.ts";
import { openDatabase, openStore } from "./store.ts";
import { sampleRecord } from "./usage-contract.ts";

type StoreOptions = TestState["options"];

async function* each(lines: readonly string[]) {
  yield* lines;
}

/** A backup with these rows, as that version of the state wrote it. */
function sealed(state: number, rows: readonly unknown[]): string[] {
  const head = { format: "berth-backup-1", state, key: null, at_ms: 1 };
  const lines = [head, ...rows].map((line) => JSON.stringify(line));
  const sha256 = createHash("sha256")
    .update(lines.map((line) => `${line}\n`).join(""))
    .digest("hex");
  return [...lines, JSON.stringify({ rows: rows.length, sha256 })];
}

/** A state with something of everything, and its lines; the store is still open and writes on. */
async function backedUp(options: StoreOptions) {
  const store = await openStore(options);
  onTestFinished(() => store.close());
  await store.addAccount({ name: "ann", isAdmin: true, createdAtMs: 1 });
  for (let index = 0; index < 250; index += 1)
    await store.addDeployment(sampleDeployment({ id: `d${index}`, name: `ann/m${index}` }), "v1.sealed");
  await store.putInstance(sampleInstance({ deploymentId: "d1" }));
  await store.addEvent(sampleEvent({ deploymentId: "d1" }));
  await store.usage.add([sampleRecord({ requestId: "r1" })]);
  const database = await openDatabase(options);
  const lines: string[] = [];
  await writeBackup(database, { key: "k1", nowMs: 5 }, async (line) => {
    lines.push(line);
    // A running Berth writes on: what comes after the beginning is not in it.
    if (lines.length === 3) await store.addAccount({ name: "late", isAdmin: false, createdAtMs: 2 });
  });
  await database.kysely.destroy();
  return { store, lines };
}

export function testBackups(kind: string, newState: () => Promise<TestState>): void {
  const fresh = async () => {
    const state = await newState();
    onTestFinished(() => state.dispose());
    return state.options;
  };

  describe(`backups, ${kind}`, () => {
    test("a state comes back as it was at one moment", async () => {
      const { store, lines } = await backedUp(await fresh());
      const options = await fresh();
      const { rows } = await readBackup(
        () => each(lines),
        "k1",
        () => openDatabase(options),
      );
      expect(rows).toBe(lines.length - 2);
      const restored = await openStore(options);
      onTestFinished(() => restored.close());
      const everything = { includeDeleted: true };
      // But for the weights, which another machine may not have.
      expect(await restored.deployments(everything)).toEqual(
        (await store.deployments(everything)).map((one) => ({ ...one, weightsReadyAtMs: null })),
      );
      expect(await restored.instances()).toEqual(await store.instances());
      expect(await restored.events("d1", 9)).toEqual(await store.events("d1", 9));
      expect(await restored.sealedHfToken("d7")).toBe("v1.sealed");
      expect((await restored.accounts()).map(({ name }) => name)).toEqual(["ann"]);
      expect((await store.accounts()).map(({ name }) => name)).toEqual(["ann", "late"]);
    });

    test("a damaged, newer or foreign backup, or a used state, is refused by name and nothing is changed", async () => {
      const { lines } = await backedUp(await fresh());
      const [head = "", ...rest] = lines;
      let opened = 0;
      const restore = (some: readonly string[], key: string | null) =>
        readBackup(
          () => each(some),
          key,
          async () => {
            opened += 1;
            return await openDatabase(await fresh());
          },
        );
      await expect(restore([], "k1")).rejects.toThrow("damaged: it is empty");
      await expect(restore(["PK"], "k1")).rejects.toThrow("does not begin as a backup");
      await expect(restore(lines.slice(0, -1), "k1")).rejects.toThrow("its end is missing");
      await expect(restore([head, ...rest.slice(1)], "k1")).rejects.toThrow("its hash is another");
      const changed = [head, (rest[0] ?? "").replace("ann", "eve"), ...rest.slice(1)];
      await expect(restore(changed, "k1")).rejects.toThrow("its hash is another");
      await expect(restore(lines, "k2")).rejects.toThrow(
        "sealed with the key k1, but this installation has the key k2",
      );
      await expect(restore(lines, null)).rejects.toThrow("this installation has none");
      expect(opened).toBe(0);
      const used = await fresh();
      await readBackup(
        () => each(lines),
        "k1",
        () => openDatabase(used),
      );
      await expect(
        readBackup(
          () => each(lines),
          "k1",
          () => openDatabase(used),
        ),
      ).rejects.toThrow(/holds the state of a Berth already/);
    });

    test("a backup of an older version is brought to this one; one of a newer version is refused", async () => {
      const restore = async (lines: readonly string[]) => {
        const options = await fresh();
        await readBackup(
          () => each(lines),
          null,
          () => openDatabase(options),
        );
        const store = await openStore(options);
        onTestFinished(() => store.close());
        return store;
      };
      // As the first version wrote it.
      const account = { name: "ann", name_key: "ann", is_admin: 1, created_at_ms: 1 };
      const token = {
        id: "t1",
        account: "ann",
        name: '"t"',
        hash: "h",
        fragment: "f",
        created_at_ms: 1,
        sealed: "v1.s",
      };
      const older = await restore(
        sealed(1, [
          ["accounts", account],
          ["tokens", token],
        ]),
      );
      expect(await older.tokens()).toMatchObject([{ id: "t1", account: "ann", allowedIps: null }]);
      await expect(restore(sealed(stateVersion + 1, [["accounts", account]]))).rejects.toThrow(
        /The backup was written by a newer Berth/,
      );
    });
  });
}
