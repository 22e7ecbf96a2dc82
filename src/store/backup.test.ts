/** What was backed up comes back as it was, whole or not at all, and only where it can be used. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readBackup, writeBackup } from "./backup.ts";
import { sampleDeployment, sampleEvent, sampleInstance } from "./samples.ts";
import { openDatabase, openStore } from "./store.ts";
import { sampleRecord } from "./usage-contract.ts";

function newHome() {
  const home = mkdtempSync(join(tmpdir(), "berth-backup-"));
  onTestFinished(() => rmSync(home, { recursive: true }));
  return { home, databaseUrl: null };
}

async function* each(lines: readonly string[]) {
  yield* lines;
}

/** A state with something of everything, and its lines; the store is still open and writes on. */
async function backedUp() {
  const options = newHome();
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

test("a state comes back as it was at one moment", async () => {
  const { store, lines } = await backedUp();
  const options = newHome();
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
  const { lines } = await backedUp();
  const [head = "", ...rest] = lines;
  let opened = 0;
  const restore = (some: readonly string[], key: string | null) =>
    readBackup(
      () => each(some),
      key,
      async () => {
        opened += 1;
        return await openDatabase(newHome());
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
  const used = newHome();
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
