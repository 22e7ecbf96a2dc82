/**
 * What control costs with many deployments: a restart under 10,000, their list, its memory, an idle hour's share of a
 * core, and a pass of decisions over 1,000 that run and have all changed. `npm run bench:control`; the exit status says
 * whether every bar holds. The Berth it measures is a real one on a home of its own.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Berth, startBerth, until } from "../../test/harness/berth.ts";
import { decideForAll } from "./decide.ts";
import { fillState } from "./state.ts";

const env = { BERTH_STARTER: "off" };
const rows: { figure: string; value: string; bar: string; holds: boolean }[] = [];

function note(figure: string, value: number, unit: string, bar: number): void {
  rows.push({
    ...{ figure, value: `${value.toFixed(value < 10 ? 2 : 0)} ${unit}` },
    ...{ bar: `<= ${bar} ${unit}`, holds: value <= bar },
  });
  process.stderr.write(`${figure}: ${value.toFixed(2)} ${unit}\n`);
}

async function withHome(run: (home: string) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "berth-bench-"));
  try {
    const first = await startBerth({ env, home });
    await first.end();
    await run(home);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Processor seconds that a process has used. */
function processorS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentMB(pid: number, field: "VmRSS" | "VmHWM"): number {
  const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? 0) / 1000;
}

function control(berth: Berth): number {
  const [pid] = berth.pids("control");
  if (pid === undefined) throw new Error("control is not there");
  return pid;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

async function measureMany(home: string): Promise<void> {
  fillState(home, "first", { stopped: 5_000, asleep: 4_000, failed: 1_000 });
  const berth = await startBerth({ env, home });
  try {
    const killed = control(berth);
    process.kill(killed, "SIGKILL");
    const sinceMs = performance.now();
    await until("control to serve again", async () => {
      const { status } = await berth.call("GET", "/deploy/bench00000000000").catch(() => ({ status: 0 }));
      return status === 200 && control(berth) !== killed;
    });
    note("restart to serving, 10,000 deployments", (performance.now() - sinceMs) / 1000, "s", 3);
    const took: number[] = [];
    for (let index = 0; index < 110; index += 1) {
      const before = performance.now();
      const response = await fetch(`${berth.url}/deploy/list`, {
        headers: { authorization: "Bearer test-token-0123456789abcdef" },
      });
      const bytes = (await response.arrayBuffer()).byteLength;
      if (response.status !== 200 || bytes < 5_000_000) throw new Error(`the list has ${bytes} bytes`);
      if (index >= 10) took.push(performance.now() - before);
    }
    note("GET /deploy/list, 10,000 deployments, p99 of 100", percentile(took, 0.99), "ms", 150);
    process.stderr.write(`  (median ${percentile(took, 0.5).toFixed(0)} ms)\n`);
    await berth.call("PUT", "/deploy/bench00000000001", { settings: { min_instances: 0, max_instances: 3 } });
    note("memory of control, 10,000 deployments, highest", residentMB(control(berth), "VmHWM"), "MB", 400);
    const change: number[] = [];
    for (let index = 0; index < 20; index += 1) {
      const before = performance.now();
      const body = { settings: { min_instances: 0, max_instances: 1 + (index % 3) } };
      const { status } = await berth.call("PUT", `/deploy/bench${String(index).padStart(11, "0")}`, body);
      if (status !== 200) throw new Error(`a change was answered with ${status}`);
      change.push(performance.now() - before);
    }
    note("a change until the gateway goes by it, p50 of 20", percentile(change, 0.5), "ms", 500);
  } finally {
    await berth.end();
  }
}

async function measureIdle(home: string): Promise<void> {
  fillState(home, "first", { stopped: 1_000, asleep: 0, failed: 0 });
  const berth = await startBerth({ env, home });
  try {
    await sleep(5_000);
    const pids = [control(berth), ...berth.pids("gateway"), berth.process.pid ?? 0];
    const used = () => pids.reduce((sum, pid) => sum + processorS(pid), 0);
    const before = used();
    const sinceMs = performance.now();
    await sleep(120_000);
    const share = (100 * (used() - before)) / ((performance.now() - sinceMs) / 1000);
    note("share of a core, idle with 1,000 stopped deployments", share, "%", 1);
  } finally {
    await berth.end();
  }
}

note(
  "deciding for 1,000 running deployments, all changed, median of 20 passes",
  decideForAll(1_000, 20),
  "ms",
  50,
);
await withHome(measureMany);
if (!process.argv.includes("--short")) await withHome(measureIdle);
process.stdout.write("| figure | bar | measured |\n|---|---|---|\n");
for (const { figure, value, bar, holds } of rows)
  process.stdout.write(`| ${figure} | ${bar} | ${value}${holds ? "" : " (missed)"} |\n`);
process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1;
