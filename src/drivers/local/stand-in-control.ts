/**
 * A control process for one test: holds a driver, starts an instance and stops itself at a given point of the start,
 * where the test kills it. `record`: just before the process starts; `spawn`: the process runs and its pid is not
 * written down; `started`: all is. Usage: node stand-in-control.ts <home> <instance id> <point>.
 */
import { execFileSync } from "node:child_process";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { createLocalDriver } from "./driver.ts";
import { standInEngine, standInSpec, systemClock } from "./stand-in.ts";

const [home = "", id = "", stopAt = ""] = process.argv.slice(2);
let isReached = false;

/** The driver reads the environment between the first record and the process. */
const environment = new Proxy(process.env, {
  get(target, name: string) {
    if (!isReached) {
      isReached = true;
      if (stopAt === "record") stopHere();
      // Writing the second record waits for a reader that never comes.
      if (stopAt === "spawn") execFileSync("mkfifo", [join(home, "instances", id, "record.json.next")]);
    }
    return target[name];
  },
});

function stopHere(): void {
  writeSync(1, "here\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const driver = createLocalDriver({
  home,
  socketDirectory: join(home, "s"),
  engines: new Map([["stand-in", standInEngine]]),
  clock: systemClock,
  readyTimeoutMs: 20_000,
  environment,
  isolates: false,
  programs: [],
  log: () => undefined,
});
await driver.start(standInSpec(id));
stopHere();
