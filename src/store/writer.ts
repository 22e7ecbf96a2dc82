/**
 * A program that the store's tests kill: `node writer.ts HOME PREFIX COUNT`, with the URL in DATABASE_URL for PostgreSQL.
 * Opens the state, then adds, changes and annotates deployments PREFIX1, PREFIX2, … and prints each id when all of it is
 * acknowledged. It says "opening" before it touches anything, and ends by itself after COUNT deployments.
 */
import { writeSync } from "node:fs";
import { sampleDeployment, sampleEvent } from "./samples.ts";
import { openStore } from "./store.ts";

const [home = "", prefix = "", count = "0"] = process.argv.slice(2);

/** Straight to the pipe: a line counts as said once it is there, whatever kills this process next. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

say("opening");
const store = await openStore({ home, databaseUrl: process.env.DATABASE_URL ?? null });
await store.addAccount({ name: "ann", isAdmin: false, createdAtMs: 1 });
for (let number = 1; number <= Number(count); number += 1) {
  const id = `${prefix}${number}`;
  await store.addDeployment(sampleDeployment({ id }), null);
  await store.changeDeployment(id, (current) => ({ ...current, hasRun: true }));
  await store.addEvent(sampleEvent({ deploymentId: id }));
  say(id);
}
await store.close();
