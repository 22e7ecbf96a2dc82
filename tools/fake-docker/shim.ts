/**
 * What holds a container while its client may come and go: started apart from it, starts the container's process when the client has
 * attached, tells the client what that prints and how it ends, and removes the container when it is over. Where it is root the
 * process sees the image's folders and its mounts alone, in namespaces of its own, as its own user.
 *
 * `node shim.ts <state> <name>`
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { mountTable, shutIn, systemFolders } from "../../src/drivers/local/confine.ts";
import { type Container, containerFolder, readContainer } from "./state.ts";

const [state = "", name = ""] = process.argv.slice(2);
const folder = containerFolder(state, name);
const container = readContainer(state, name);
if (container === null) process.exit(1);

const clients = new Set<Socket>();
const tell = (message: object) => {
  for (const client of clients) client.write(`${JSON.stringify(message)}\n`);
};

const server = createServer((client) => {
  clients.add(client);
  client.on("error", () => clients.delete(client));
  client.on("close", () => clients.delete(client));
  client.on("data", (chunk) => {
    for (const signal of chunk.toString().trim().split("\n")) send(signal as NodeJS.Signals);
  });
  if (clients.size === 1) start(container);
});
server.listen(join(folder, "attach.sock"));

let pid: number | null = null;
// Removed before anyone attached: nobody ever will.
const alone = setInterval(() => {
  if (!existsSync(folder)) process.exit(0);
}, 500);

function send(signal: NodeJS.Signals): void {
  if (pid !== null) process.kill(pid, signal);
}

function start(of: Container): void {
  clearInterval(alone);
  const { command, args } = confined(of);
  const child = spawn(command, args, {
    ...{ env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...of.env }, detached: true },
    stdio: ["ignore", "pipe", "pipe"],
    ...(process.getuid?.() === 0 ? {} : { cwd: of.workdir }),
  });
  pid = child.pid ?? null;
  writeFileSync(join(folder, "running.next"), JSON.stringify({ pid }));
  renameSync(join(folder, "running.next"), join(folder, "running.json"));
  child.stdout.on("data", (chunk: Buffer) => tell({ stdout: chunk.toString("base64") }));
  child.stderr.on("data", (chunk: Buffer) => tell({ stderr: chunk.toString("base64") }));
  child.once("close", (code, signal) => {
    tell({ exit: code ?? 128 + (constants.signals[signal ?? "SIGKILL"] ?? 9) });
    rmSync(folder, { recursive: true, force: true });
    for (const client of clients) client.end();
    server.close();
  });
}

function confined({ command: [program = "", ...args], mounts, user, workdir, folders }: Container): {
  command: string;
  args: string[];
} {
  if (process.getuid?.() !== 0) return { command: program, args };
  const [root, temporary, table] = [join(folder, "root"), join(folder, "tmp"), join(folder, "mounts")];
  for (const made of [root, temporary]) mkdirSync(made, { mode: 0o777 });
  const files = mounts.filter(({ source, at }) => source !== at);
  const own = mounts.filter(({ source, at }) => source === at);
  const view = {
    ...{ root, hidden: "/run/berth-image", temporary, folder: workdir, hasOwnUser: true },
    reads: [
      ...[...systemFolders, ...folders].filter((one) => existsSync(one)),
      ...own.filter(({ isReadOnly }) => isReadOnly).map(({ at }) => at),
    ],
    covers: files.map(({ source, at }) => ({ source, at })),
    writes: own.filter(({ isReadOnly }) => !isReadOnly).map(({ at }) => at),
  };
  writeFileSync(table, mountTable(view));
  const shut = shutIn({ command: program, args }, { table, view, user: user.uid, hasNetwork: false });
  // Of the network there is a loopback interface, as with the real ones' `--network none`; where there is no ip(8), not even that.
  const [at, loopback] = [shut.args.indexOf("--"), 'ip link set lo up 2>/dev/null || :; exec "$@"'];
  return {
    command: shut.command,
    args: [...shut.args.slice(0, at + 1), "/bin/sh", "-c", loopback, "container", ...shut.args.slice(at + 1)],
  };
}
