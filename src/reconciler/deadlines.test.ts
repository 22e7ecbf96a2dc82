/** A driver that hangs, fails or answers late: what depends on it fails by name, in time, and goes on by itself. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Deployment, nothingSeen } from "../core/deployment.ts";
import type { ObservedInstance } from "../core/instance.ts";
import type { Clock } from "../ports/clock.ts";
import type { Driver } from "../ports/driver.ts";
import type { Hub } from "../ports/hub.ts";
import type { Store } from "../ports/store.ts";
import { openStore } from "../store/store.ts";
import { withDeadlines } from "./deadlines.ts";
import { createReconciler } from "./reconciler.ts";

/** Sleeps end at once; time passes by them alone. */
function fastClock(): Clock {
  let now = 1_000;
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        setImmediate(() => {
          if (signal?.aborted === true) return reject(signal.reason);
          if (ms < 60_000) now += ms;
          // The sweep and what else is far away stays away.
          if (ms < 60_000) resolve();
        });
        signal?.addEventListener("abort", () => reject(signal.reason));
      }),
  };
}

const quiet = {
  fetchImage: async () => null,
  isolation: async () => ({ isIsolated: true }) as never,
  watch: () => () => undefined,
  watchCapacity: () => () => undefined,
  readLogs: async () => [],
};

const stopped: Deployment = {
  ...{ id: "d1", account: "ann", name: "ann/m", isPublic: false, desired: "stop" },
  config: {
    ...{ gpu: "other", numGpus: 1, maxBatchSize: 4, baseModel: null, containerImage: null },
    weights: { repo: "o/n", revision: null },
  },
  settings: { minInstances: 1, maxInstances: 1, inactiveShutdownS: null },
  ...{ createdAtMs: 0, updatedAtMs: 0 },
  ...nothingSeen,
  revisions: {
    wanted: { id: 1, args: { standardArgs: {}, extraArgs: [] } },
    ...{ fallback: null, updateError: null, retired: [] },
    tries: { count: 0, lastAtMs: null, lastFailure: null },
  },
};

const seen: ObservedInstance = {
  ...{ id: "i1", deploymentId: "d1", state: "starting", secret: "s", slots: 0, contextTokens: 0 },
  endpoint: { kind: "unix", path: "/s" },
  placement: { node: "n", gpus: [] },
  ...{ loadProgress: null, note: null, startedAtMs: 0, readyAtMs: null, failure: null },
};

async function withStore(): Promise<Store> {
  const home = mkdtempSync(join(tmpdir(), "berth-driver-"));
  const store = await openStore({ home, databaseUrl: null });
  onTestFinished(async () => {
    await store.close();
    rmSync(home, { recursive: true });
  });
  await store.addAccount({ name: "ann", isAdmin: true, createdAtMs: 0 });
  await store.addDeployment(stopped, null);
  return store;
}

function reconcilerOver(store: Store, driver: Driver, logged: string[]) {
  return createReconciler({
    ...{ store, driver, hub: {} as Hub, clock: fastClock(), engines: new Map() },
    engineMemory: "auto",
    limits: {
      loadTries: 3,
      drainMs: 1,
      inactiveShutdownMs: 1,
      stopGraceMs: 1,
      firstTokenMs: 1000,
      sweepMs: 60_000,
    },
    newInstanceId: () => "i2",
    hfToken: async () => null,
    log: (_level, message, fields) => logged.push(`${message} ${String(fields?.error ?? "")}`),
  });
}

test("a driver that hangs fails by name instead of hanging whoever asks", async () => {
  const never = () => new Promise<never>(() => undefined);
  const driver = withDeadlines(
    { ...quiet, capacity: never, observe: never, start: never, remove: never },
    { now: () => 0, sleep: async () => undefined },
  );
  await expect(driver.observe()).rejects.toThrow("the driver did not say what runs within 15 s");
  await expect(driver.start({} as never)).rejects.toThrow("did not start an instance");
  await expect(driver.remove("i1", 5_000)).rejects.toThrow("did not end an instance within 35 s");
});

test("an instance that the driver fails to end is tried until it is gone, and its record stays so long", async () => {
  const store = await withStore();
  await store.putInstance({
    ...{ id: "i1", deploymentId: "d1", intent: "run", createdAtMs: 0, drainSinceMs: null },
    ...{ revision: 1, warmedAtMs: null, observed: null },
  });
  let running = [seen];
  const recordsAtTry: number[] = [];
  const logged: string[] = [];
  const driver: Driver = {
    ...quiet,
    capacity: async () => [],
    observe: async () => running,
    start: async () => undefined,
    async remove() {
      recordsAtTry.push((await store.instances("d1")).length);
      if (recordsAtTry.length < 4) throw new Error("no");
      running = [];
    },
  };
  const reconciler = reconcilerOver(store, driver, logged);
  await reconciler.start();
  while ((await store.instances("d1")).length > 0) await new Promise((resolve) => setImmediate(resolve));
  await reconciler.stop();
  expect(recordsAtTry).toEqual([1, 1, 1, 1]);
  expect(logged.filter((line) => line.startsWith("an instance could not be ended"))).toHaveLength(3);
  const codes = (await store.events("d1", 100)).map(({ code }) => code);
  expect(codes).not.toContain("internal");
});

test("a driver that fails to say what runs is asked again, and what it shows twice is ended once", async () => {
  const store = await withStore();
  let asked = 0;
  const removed: string[] = [];
  const driver: Driver = {
    ...quiet,
    capacity: async () => [],
    async observe() {
      asked += 1;
      if (asked > 1 && asked < 6) throw new Error("not now");
      return removed.length > 0 ? [] : [seen, seen];
    },
    start: async () => undefined,
    async remove(id) {
      removed.push(id);
    },
  };
  const reconciler = reconcilerOver(store, driver, []);
  await reconciler.start().catch(() => undefined);
  reconciler.poke("d1");
  while (removed.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await reconciler.stop();
  expect(removed).toEqual(["i1"]);
});
