/**
 * What every store must survive, as one suite over a source of fresh states: real processes that write (`writer.ts`), killed
 * without warning, and several that start at the same moment.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { TestState } from "./contract.ts";
import { sampleDeployment, sampleEvent } from "./samples.ts";
import { openStore } from "./store.ts";

const writerFile = fileURLToPath(new URL("./writer.ts", import.meta.url));

/** Defines the suite. `newState` makes an empty state. */
export function testStoreCrashes(kind: string, newState: () => Promise<TestState>): void {
  describe(`store crashes, ${kind}`, () => {
    let state: TestState;
    beforeEach(async () => {
      state = await newState();
    });
    afterEach(() => state.dispose());

    test("kill -9 in the middle of writes loses nothing that was acknowledged", async () => {
      const acknowledged: string[] = [];
      for (const [round, ackCount] of [1, 4, 9, 16, 25].entries()) {
        const { ids, signal } = await killWriter(state, `round${round}-`, ackCount, 0);
        expect(signal).toBe("SIGKILL");
        acknowledged.push(...ids);
      }
      expect(acknowledged.length).toBeGreaterThanOrEqual(1 + 4 + 9 + 16 + 25);
      const store = await openStore(state.options);
      onTestFinished(() => store.close());
      for (const id of acknowledged) {
        expect(await store.deployment(id)).toEqual(sampleDeployment({ id, hasRun: true }));
        expect(await store.events(id, 10)).toEqual([sampleEvent({ deploymentId: id })]);
      }
      // Also those that were cut off half-way must read well.
      const all = await store.deployments({ includeDeleted: true });
      expect(all.length).toBeGreaterThanOrEqual(acknowledged.length);
    });

    test("kill -9 while a new state is made leaves one that opens", async () => {
      // The delays only spread the blows over the making of the tables; each outcome must be right.
      for (const delayMs of [0, 2, 5, 10, 20, 40]) await killWriter(state, "early", 0, delayMs);
      const store = await openStore(state.options);
      await store.close();
    });

    test("several that start at the same moment on a new state all come up", async () => {
      const writers = ["a", "b", "c"].map((prefix) => startWriter(state, prefix, 3));
      const exits = await Promise.all(writers.map((writer) => once(writer, "exit")));
      expect(exits).toEqual([
        [0, null],
        [0, null],
        [0, null],
      ]);
      const store = await openStore(state.options);
      onTestFinished(() => store.close());
      expect(await store.deployments({ includeDeleted: false })).toHaveLength(9);
    });
  });
}

function startWriter(state: TestState, prefix: string, count: number) {
  const { home, databaseUrl } = state.options;
  const { DATABASE_URL: _, ...env } = process.env;
  const writer = spawn(process.execPath, [writerFile, home, prefix, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: databaseUrl === null ? env : { ...env, DATABASE_URL: databaseUrl },
  });
  onTestFinished(() => {
    writer.kill("SIGKILL");
  });
  return writer;
}

/** Kills a writer `delayMs` after it acknowledged `ackCount` ids; returns all the ids that it came to acknowledge. */
async function killWriter(
  state: TestState,
  prefix: string,
  ackCount: number,
  delayMs: number,
): Promise<{ ids: string[]; signal: string | null }> {
  const writer = startWriter(state, prefix, 100_000);
  const exit = once(writer, "exit");
  const lines: string[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    lines.push(line);
    // The first line says "opening".
    if (lines.length !== ackCount + 1) continue;
    await delay(delayMs);
    writer.kill("SIGKILL");
  }
  const [, signal] = await exit;
  return { ids: lines.slice(1), signal };
}
