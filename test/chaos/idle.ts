/**
 * Many connections that are kept and say nothing, as a command of its own because it takes a minute and open files:
 *
 *   npm run chaos:idle [-- connections, default 100000]
 *
 * Each has asked something once, and stays. Prints what the gateway takes for them. Exits with 1 when one was refused or
 * lost, or when a question on any of them, or on a new one, is not answered. Needs a limit of open files above the number
 * (`ulimit -n`); where it is lower, it is raised, which takes root.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { openFilesLimit } from "../../src/supervisor/open-files.ts";
import { startBerth, token } from "../harness/berth.ts";

/** An address and port of the other end name a connection: each client address has its own ports. */
const perAddress = 20_000;
const openingAtOnce = 100;
const askedAtTheEnd = 500;

/** Resolves with the status of the answer; 0 when the connection ended instead. */
async function ask(socket: Socket): Promise<number> {
  if (socket.destroyed) return 0; // it never stood, and its end has been told
  socket.write("GET /healthz HTTP/1.1\r\nhost: idle\r\n\r\n");
  return await new Promise((resolve) => {
    const end = () => resolve(0);
    socket.once("close", end);
    socket.once("data", (data) => {
      socket.off("close", end);
      resolve(Number(String(data).slice(9, 12)));
    });
  });
}

async function open(port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress });
  socket.on("error", () => undefined); // "close" follows
  await Promise.race([once(socket, "connect"), once(socket, "close")]);
  return socket;
}

/** A process of clients: opens its share, says so, asks on some of them when told to, and says what came. */
async function runClients(port: number, address: string, count: number): Promise<void> {
  const sockets: Socket[] = [];
  let wrong = 0;
  let begun = 0;
  const worker = async () => {
    while (begun < count) {
      begun += 1;
      const socket = await open(port, address);
      sockets.push(socket);
      if ((await ask(socket)) !== 200) wrong += 1;
    }
  };
  await Promise.all(Array.from({ length: openingAtOnce }, worker));
  console.log(JSON.stringify({ wrong }));
  await once(process.stdin, "data");
  const lost = sockets.filter((socket) => socket.destroyed || socket.readyState !== "open").length;
  const step = Math.max(1, Math.floor(count / askedAtTheEnd));
  const asked = sockets.filter((_, at) => at % step === 0);
  const statuses = await Promise.all(asked.map(ask));
  console.log(JSON.stringify({ lost, wrong: statuses.filter((status) => status !== 200).length }));
  process.exit(0);
}

function residentMB(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1000;
}

async function runAll(connections: number): Promise<number> {
  const berth = await startBerth({
    env: { BERTH_STARTER: "off", BERTH_CONNECTIONS: String(connections + 1000), BERTH_LOG_LEVEL: "warn" },
  });
  const children: ChildProcess[] = [];
  try {
    const [gateway = 0] = berth.pids("gateway");
    const beforeMB = residentMB(gateway);
    const startedAtMs = performance.now();
    const port = new URL(berth.url).port;
    const lines: AsyncIterator<string>[] = [];
    for (let from = 0; from < connections; from += perAddress) {
      const count = Math.min(perAddress, connections - from);
      const args = [import.meta.filename, "clients", port, `127.0.0.${2 + from / perAddress}`, `${count}`];
      const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
      children.push(child);
      lines.push(createInterface(child.stdout)[Symbol.asyncIterator]());
    }
    const hear = async () =>
      await Promise.all(
        lines.map(async (line) => {
          const { wrong, lost = 0 } = JSON.parse((await line.next()).value as string) as Record<
            string,
            number
          >;
          return (wrong ?? 0) + lost;
        }),
      );
    const opened = await hear();
    const openS = (performance.now() - startedAtMs) / 1000;
    const afterMB = residentMB(gateway);
    const askedAtMs = performance.now();
    const fresh = await berth.call("GET", "/v1/models", undefined, token);
    const freshMs = performance.now() - askedAtMs;
    for (const child of children) child.stdin?.write("ask\n");
    const asked = await hear();
    const wrong = [...opened, ...asked].reduce((sum, one) => sum + one, 0) + (fresh.status === 200 ? 0 : 1);
    const perKB = ((afterMB - beforeMB) * 1000) / connections;
    console.log(`${connections} connections in ${openS.toFixed(1)} s, ${wrong} wrong or lost`);
    console.log(
      `gateway: ${beforeMB.toFixed(0)} MB, then ${afterMB.toFixed(0)} MB: ${perKB.toFixed(1)} kB for each`,
    );
    console.log(`a new client was answered in ${freshMs.toFixed(0)} ms`);
    return wrong === 0 ? 0 : 1;
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await berth.end();
  }
}

const [first = "100000", ...rest] = process.argv.slice(2);
if (first === "clients") {
  const [port, address = "", count] = rest;
  await runClients(Number(port), address, Number(count));
} else {
  const connections = Number(first);
  if (!Number.isSafeInteger(connections) || connections < 1) {
    console.error("Give a number of connections above 0.");
    process.exit(2);
  }
  // An eighth of its files is not for clients.
  const files = Math.ceil((connections + 1000) * 1.2);
  if (openFilesLimit() >= files) process.exitCode = await runAll(connections);
  else {
    const again = [`--nofile=${files}`, process.execPath, import.meta.filename, String(connections)];
    const child = spawn("prlimit", again, { stdio: "inherit" });
    const [code] = (await once(child, "exit")) as [number | null];
    process.exitCode = code ?? 1;
  }
}
