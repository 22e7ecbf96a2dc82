/** A supervisor for a test that kills it. Prints its roles' pids. Usage: node stand-in-supervisor.ts <file>. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { supervise } from "./supervise.ts";

const [file = ""] = process.argv.slice(2);
const script = join(import.meta.dirname, "stand-in-role.ts");
const { done } = supervise({
  roles: ["control", "gateway"].map((name) => ({
    name,
    command: process.execPath,
    args: [script, name, file],
    env: process.env,
  })),
  clock: {
    now: Date.now,
    sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  },
  stopGraceMs: 10_000,
  onReady: (role, { pid }) => console.log(`${role} ${pid}`),
  log: () => undefined,
});
process.exitCode = await done;
