/**
 * Several processes of Berth's gateway under the real supervisor, all on the measured core, since it is processor time that
 * is compared. Owns their start and end, and how requests were spread over them. Must not know what is measured.
 */

import { join } from "node:path";
import { gatewayFlags } from "../../src/roles/node-flags.ts";
import { holdPort } from "../../src/supervisor/address.ts";
import { supervise } from "../../src/supervisor/supervise.ts";
import { systemClock } from "../../src/telemetry/clock.ts";
import { type Cores, cpuOfProcess, type Measured, residentOfProcess } from "./processes.ts";

export type Several = Measured & {
  /** Requests that each process has answered, as the metrics page tells. */
  answered(): Promise<number[]>;
  end(): Promise<void>;
};

export async function startSeveral(home: string, { measured }: Cores, count: number): Promise<Several> {
  const held = await holdPort("127.0.0.1", 0);
  const pids = new Map<string, number>();
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const main = join(import.meta.dirname, "../../src/main.ts");
  const supervisor = supervise({
    roles: Array.from({ length: count }, (_, seat) => ({
      name: `gateway ${seat + 1}`,
      command: "taskset",
      args: ["-c", measured, process.execPath, ...gatewayFlags, main, "gateway", "shared"],
      env: {
        ...process.env,
        ...{ BERTH_HOME: home, BERTH_PORT: String(held.port), BERTH_LOG_LEVEL: "warn" },
        BERTH_GATEWAY_PROCESSES: String(count),
      },
      ...{ isRenewable: true, seat, sharedFd: held.fd },
    })),
    clock: systemClock,
    stopGraceMs: 5000,
    onStopping: () => held.release(),
    onReady(role, { pid }) {
      pids.set(role, Number(pid));
      if (pids.size === count) resolve();
    },
    log: () => undefined,
  });
  await ready;
  const sum = (read: (pid: number) => number) =>
    [...pids.values()].reduce((total, pid) => total + read(pid), 0);
  return {
    name: `berth x ${count}`,
    port: held.port,
    cpuS: () => sum(cpuOfProcess) / 1e9,
    residentBytes: () => sum(residentOfProcess),
    async answered() {
      const page = await (await fetch(`http://127.0.0.1:${held.port}/metrics`)).text();
      const counts = Array.from({ length: count }, () => 0);
      for (const [, process = "", value] of page.matchAll(
        /^berth_requests_total\{.*process="(\d+)"\} (\d+)$/gm,
      )) {
        const at = Number(process) - 1;
        counts[at] = (counts[at] ?? 0) + Number(value);
      }
      return counts;
    },
    async end() {
      supervisor.stop();
      await supervisor.done;
    },
  };
}
