/** A folder with drivers and processes in it for one test, and ways to look at them; everything ends with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { until } from "../../../test/harness/until.ts";
import type { ObservedInstance } from "../../core/instance.ts";
import type { Engine } from "../../ports/engine.ts";
import type { LocalLimits } from "./context.ts";
import { createLocalDriver, type LocalDriver } from "./driver.ts";
import { processTable } from "./process.ts";
import { standInEngine, systemClock } from "./stand-in.ts";

const berthFolder = join(import.meta.dirname, "../../..");

export type StandInHome = {
  readonly home: string;
  /** Another control's driver on this home; close the one before. */
  openDriver(
    limits?: Partial<LocalLimits>,
    more?: {
      readyTimeoutMs?: number;
      socketDirectory?: string;
      isolates?: boolean;
      containerRuntime?: string;
      engines?: ReadonlyMap<string, Engine>;
      nvidiaSmi?: string;
      gpuPollMs?: number;
    },
  ): LocalDriver;
  /** A process that has nothing to do with the driver. */
  startOther(program: readonly string[]): ChildProcess;
  /** The engine's process as it is written down. */
  pidOf(id: string): number;
  /** Living processes that carry the instance's mark, of this home: tests run side by side. */
  markedPids(id: string): Promise<number[]>;
  end(): Promise<void>;
};

export async function openStandInHome(): Promise<StandInHome> {
  const home = await mkdtemp(join(tmpdir(), "berth-driver-"));
  const drivers: LocalDriver[] = [];
  const others: ChildProcess[] = [];
  const openDriver: StandInHome["openDriver"] = (limits = {}, more = {}) => {
    const driver = createLocalDriver({
      home,
      socketDirectory: join(home, "s"),
      engines: new Map([["stand-in", standInEngine]]),
      clock: systemClock,
      readyTimeoutMs: 20_000,
      isolates: false,
      programs: [berthFolder, dirname(process.execPath)],
      environment: { ...process.env, HF_TOKEN: "hf_environmentSecret" },
      limits: { lookIntervalMs: 50, probeIntervalMs: 100, endGraceMs: 200, ...limits },
      log: () => undefined,
      ...more,
    });
    drivers.push(driver);
    return driver;
  };
  return {
    home,
    openDriver,
    startOther(program) {
      const child = spawn(process.execPath, program, { stdio: ["ignore", "pipe", "ignore"] });
      others.push(child);
      return child;
    },
    pidOf: (id) => JSON.parse(readFileSync(join(home, "instances", id, "record.json"), "utf8")).process.pid,
    async markedPids(id) {
      const marked = await processTable(process.platform).findMarked();
      const own = marked.filter(
        ({ instanceId, folder }) => instanceId === id && folder === join(home, "instances", id),
      );
      return own.map(({ identity }) => identity.pid);
    },
    async end() {
      for (const other of others) other.kill("SIGKILL");
      for (const driver of drivers) await driver.close();
      const last = openDriver();
      for (const instance of await last.observe()) await last.remove(instance.id, 0);
      await last.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

export async function reach(
  driver: LocalDriver,
  id: string,
  state: ObservedInstance["state"],
): Promise<ObservedInstance> {
  return await until(`${id} is ${state}`, async () =>
    (await driver.observe()).find((instance) => instance.id === id && instance.state === state),
  );
}
