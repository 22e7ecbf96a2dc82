/**
 * Many connections that are kept and say nothing, as a command of its own because it takes a minute, memory and open files:
 *
 *   npm run chaos:idle [-- --connections 100000 --processes 7]
 *
 * Each has asked something once, and stays. Prints how the processes of the gateway share them, what they take of memory, how
 * long others wait meanwhile, and what is left when all have gone. Exits with 1 when one was refused or lost, when a
 * question on any of them, a new client or a stream is not answered, or when a descriptor is left. No process needs more open
 * files than `ulimit -n` allows: there are several on both sides, each of the clients with addresses of its own, since an
 * address has some 28,000 ports.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { openFilesLimit } from "../../src/supervisor/open-files.ts";
import { type Berth, startBerth, token, until } from "../harness/berth.ts";
import { startStream } from "../harness/streams.ts";
import type { Told } from "./idle-clients.ts";

const perClients = 15_000;
const clientsFile = new URL("idle-clients.ts", import.meta.url).pathname;
const askedBeside = 20;
const progressMs = 15_000;
/** Longest that anything here takes on a machine that is slow. */
const stepLimitMs = 300_000;

/** A process of clients, of which each step is told in one line. */
class Clients {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(port: string, network: string, count: number) {
    this.#child = spawn(process.execPath, [clientsFile, port, network, String(count)]);
    this.#child.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async told(): Promise<Told> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("a process of clients has ended");
    return JSON.parse(value) as Told;
  }

  async askAgain(): Promise<Told> {
    this.#child.stdin.write("ask\n");
    return await this.told();
  }

  leave(): void {
    this.#child.stdin.end();
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Memory that the processes have resident, all together. */
function residentMB(pids: readonly number[]): number {
  const each = pids.map((pid) => {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1000;
  });
  return each.reduce((sum, one) => sum + one, 0);
}

/** Theirs are in 127.0.1 and on, the low byte first. What this process has asked itself came from 127.0.0.1. */
function isClients(address: string): boolean {
  return /^[0-9A-F]{2}(?!00)[0-9A-F]{2}007F:/.test(address);
}

/** Of the machine, in the kernel's words: looking through all of them would hold up who opens some. */
function socketsInUse(): string {
  return /^TCP: .*$/m.exec(readFileSync("/proc/net/sockstat", "utf8"))?.[0] ?? "";
}

/** How many descriptors of the clients' connections each process has. */
function acceptedBy(pids: readonly number[], port: string): number[] {
  const own = `:${Number(port).toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = new Set<string>();
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n")) {
    const [, local = "", remote = "", , , , , , , inode] = line.trim().split(/\s+/);
    if (local.endsWith(own) && isClients(remote)) sockets.add(`socket:[${inode}]`);
  }
  return pids.map(
    (pid) => readdirSync(`/proc/${pid}/fd`).filter((fd) => sockets.has(readFd(pid, fd))).length,
  );
}

function readFd(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return ""; // closed meanwhile
  }
}

/** Memory of the kernel that nothing can take back, of both ends of all connections. */
function kernelMB(): number {
  return Number(/^SUnreclaim:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) / 1000;
}

function sumOf(all: readonly Told[]): Told {
  const sum = { open: 0, lost: 0, wrong: 0 };
  for (const one of all) {
    sum.open += one.open;
    sum.lost += one.lost;
    sum.wrong += one.wrong;
  }
  return sum;
}

/** The list of models, over a connection of its own. */
async function listAnew({ url }: Berth): Promise<string> {
  const asked = get(`${url}/v1/models`, { agent: false, headers: { authorization: `Bearer ${token}` } });
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return await text(response);
}

/** How long new clients wait for a list, and one for a stream of the starter; what was answered wrong. */
async function askBeside(berth: Berth, when: string): Promise<number> {
  const times: number[] = [];
  let wrong = 0;
  for (let at = 0; at < askedBeside; at += 1) {
    const startedAtMs = performance.now();
    if (!(await listAnew(berth)).includes("berth/starter")) wrong += 1;
    times.push(performance.now() - startedAtMs);
  }
  times.sort((a, b) => a - b);
  const startedAtMs = performance.now();
  const messages = [{ role: "user", content: "What is 3 + 4?" }];
  const stream = startStream(berth.url, "chat", { model: "berth/starter", messages, temperature: 0 });
  await stream.begun;
  const beginMs = performance.now() - startedAtMs;
  const { text: said, error } = await stream.ended;
  const endMs = performance.now() - startedAtMs;
  if (error !== null || !said.includes("7")) wrong += 1;
  const [median = 0, longest = 0] = [times[Math.floor(times.length / 2)], times.at(-1)];
  const list = `a new client had its list after ${median.toFixed(0)} ms (median), ${longest.toFixed(0)} ms (longest of ${askedBeside})`;
  console.log(
    `${when}: ${list}, a stream its beginning after ${beginMs.toFixed(0)} ms and its end after ${endMs.toFixed(0)} ms`,
  );
  return wrong;
}

function openClients(port: string, connections: number): Clients[] {
  const processes = Math.ceil(connections / perClients);
  return Array.from({ length: processes }, (_, at) => {
    const count = Math.min(perClients, connections - at * perClients);
    return new Clients(port, `127.0.${1 + at}`, count);
  });
}

/** The number of things that are wrong. */
async function hold(berth: Berth, clients: Clients[], connections: number): Promise<number> {
  const pids = berth.pids("gateway");
  const { port } = new URL(berth.url);
  let wrong = await askBeside(berth, "before");
  const [userMB, systemMB] = [residentMB(pids), kernelMB()];
  const startedAtMs = performance.now();
  const seconds = () => ((performance.now() - startedAtMs) / 1000).toFixed(1);
  const watch = setInterval(() => console.log(`${seconds()} s: ${socketsInUse()}`), progressMs);
  clients.push(...openClients(port, connections));
  const opened = sumOf(await Promise.all(clients.map((each) => each.told())));
  clearInterval(watch);
  console.log(
    `${opened.open} connections in ${seconds()} s, ${opened.lost} lost, ${opened.wrong} wrong answers`,
  );
  console.log(`each process of the gateway has: ${acceptedBy(pids, port).join(" ")}`);
  const perKB = (mb: number) => ((mb * 1000) / connections).toFixed(1);
  const heldMB = residentMB(pids);
  const ofKernel = `the kernel, for both ends: ${perKB(kernelMB() - systemMB)} kB`;
  console.log(
    `gateway: ${userMB.toFixed(0)} MB, then ${heldMB.toFixed(0)} MB: ${perKB(heldMB - userMB)} kB for each; ${ofKernel}`,
  );
  wrong += await askBeside(berth, "beside them");
  const asked = sumOf(await Promise.all(clients.map((each) => each.askAgain())));
  console.log(`asked on some again: ${asked.open} stand, ${asked.lost} lost, ${asked.wrong} wrong answers`);
  for (const each of clients) each.leave();
  const areGone = await until(
    "all descriptors to be closed",
    () => acceptedBy(pids, port).every((count) => count === 0),
    60_000,
  ).catch(() => false);
  console.log(
    `all gone: ${residentMB(pids).toFixed(0)} MB, descriptors left: ${acceptedBy(pids, port).join(" ")}`,
  );
  return wrong + asked.lost + asked.wrong + (asked.open === connections ? 0 : 1) + (areGone ? 0 : 1);
}

async function run(connections: number, processes: number): Promise<number> {
  const berth = await startBerth({
    env: { BERTH_GATEWAY_PROCESSES: String(processes), BERTH_LOG_LEVEL: "warn" },
    readyWithinMs: stepLimitMs,
  });
  const clients: Clients[] = [];
  try {
    await until("the starter to run", async () => {
      const { raw } = await berth.call("GET", "/deploy/list");
      return (raw as readonly { status: string }[]).every(({ status }) => status === "running");
    });
    return await hold(berth, clients, connections);
  } finally {
    for (const each of clients) each.kill();
    await berth.end();
  }
}

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "100000" },
    processes: { type: "string", default: "7" },
  },
});
const [connections, processes] = [Number(values.connections), Number(values.processes)];
if (![connections, processes].every((each) => Number.isSafeInteger(each) && each > 0)) {
  console.error("Give numbers above 0 of --connections and --processes.");
  process.exit(2);
}
const files = openFilesLimit();
if (files < perClients + 1000) {
  console.error(
    `Each process here needs ${perClients + 1000} open files, and may have ${files} (ulimit -n).`,
  );
  process.exit(2);
}
const wrong = await run(connections, processes);
console.log(wrong === 0 ? "all is well" : `${wrong} things are wrong`);
process.exit(wrong === 0 ? 0 : 1);
