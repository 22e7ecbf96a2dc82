/**
 * Several processes of Berth's gateway under the real supervisor, all on the measured core, since it is processor time that
 * is compared. Owns how requests were spread over them. Must not know what is measured.
 */
import { startGatewayGroup } from "../../test/harness/gateway-group.ts";
import { type Cores, cpuOfProcess, type Measured, residentOfProcess } from "./processes.ts";

export type Several = Measured & {
  /** Requests that each process has answered, as the metrics page tells. */
  answered(): Promise<number[]>;
  end(): Promise<void>;
};

export async function startSeveral(home: string, { measured }: Cores, count: number): Promise<Several> {
  const { port, pids, end } = await startGatewayGroup(home, count, {
    logLevel: "warn",
    via: ["taskset", "-c", measured],
  });
  const sum = (read: (pid: number) => number) => pids().reduce((total, pid) => total + read(pid), 0);
  return {
    name: `berth x ${count}`,
    port,
    cpuS: () => sum(cpuOfProcess) / 1e9,
    residentBytes: () => sum(residentOfProcess),
    async answered() {
      const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const counts = Array.from({ length: count }, () => 0);
      for (const [, process = "", value] of page.matchAll(
        /^berth_requests_total\{.*process="(\d+)"\} (\d+)$/gm,
      )) {
        const at = Number(process) - 1;
        counts[at] = (counts[at] ?? 0) + Number(value);
      }
      return counts;
    },
    end,
  };
}
