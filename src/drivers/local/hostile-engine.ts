/**
 * A program that is started as an engine and tries what an engine must not be able to do, for the test of isolation. Tells on
 * its output what it could do, a line each, and then stays.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";

type Attempts = {
  readonly reads: readonly string[];
  readonly lists: readonly string[];
  readonly writes: readonly string[];
  readonly ports: readonly number[];
};

const [attemptsPath = ""] = process.argv.slice(2);
const attempts = JSON.parse(readFileSync(attemptsPath, "utf8")) as Attempts;
const tell = (line: string) => process.stdout.write(`${line}\n`);

function attempt(what: string, act: () => unknown): void {
  try {
    tell(`could ${what}: ${JSON.stringify(act())}`);
  } catch (error) {
    tell(`could not ${what}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

for (const path of attempts.reads) attempt(`read ${path}`, () => readFileSync(path, "utf8"));
for (const path of attempts.lists) attempt(`list ${path}`, () => readdirSync(path));
for (const path of attempts.writes) attempt(`write ${path}`, () => writeFileSync(path, "x"));
const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
tell(`sees processes: ${processes.map((pid) => pid === String(process.pid)).join()}`);
tell(`has networks: ${Object.keys(networkInterfaces()).join()}`);
tell(`has powers: ${/^CapEff:\s+(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}`);
tell(`is user: ${readFileSync("/proc/self/status", "utf8").match(/^Uid:\s+(\d+)/m)?.[1]}`);
for (const port of attempts.ports) {
  await new Promise<void>((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => tell(`could connect to ${port}`));
    socket.on("error", (error) => tell(`could not connect: ${(error as NodeJS.ErrnoException).code}`));
    socket.on("close", () => resolve());
    socket.on("connect", () => socket.destroy());
  });
}
tell("done");
process.on("SIGTERM", () => process.exit(0));
setInterval(() => undefined, 1000);
