/**
 * Makes the recordings of this folder anew: starts real vLLM as Berth would, on the model that Berth ships with one thing wrong each
 * time, and keeps the last lines that it prints until it ends. Run by hand with a virtual environment that holds vLLM's build for
 * processors; takes about a minute a recording:
 *
 *     node bin/node.js tools/fake-vllm/record.ts <environment> [name …]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findVllm } from "../../src/engines/vllm/program.ts";
import { createVllmEngine } from "../../src/engines/vllm.ts";
import type { Launch } from "../../src/ports/engine.ts";
import { type Fault, failures, recordedFolder } from "./failing.ts";

/** As many as Berth looks for an engine's last words in. */
const keptLines = 400;
const patienceMs = 900_000;

const [environment = "", ...names] = process.argv.slice(2);
const found = await findVllm([environment], {});
if (found.state !== "found") throw new Error(`There is no vLLM in "${environment}".`);
const { program } = found;
const work = await mkdtemp(join(tmpdir(), "berth-record-"));

for (const [name, fault] of Object.entries(failures)) {
  if (names.length > 0 && !names.includes(name)) continue;
  const text = await record(name, fault);
  await writeFile(join(recordedFolder, `${name}.txt`), text);
  process.stderr.write(`${name}: ${text.split("\n").length} lines\n`);
}
await rm(work, { recursive: true });

async function record(name: string, fault: Fault): Promise<string> {
  const folder = join(work, name);
  const [weights, own, log] = [join(folder, "weights"), join(folder, "instance"), join(folder, "log")];
  await mkdir(own, { recursive: true });
  await cp(join(import.meta.dirname, "../../starter/model"), weights, {
    recursive: true,
    filter: (path) => !path.endsWith(".gguf"),
  });
  await fault.spoil?.(weights);
  const socket = join(folder, "s.sock");
  const engine = createVllmEngine({
    ...{ program, runsImages: false, allowPickle: false, trustedCode: [], cacheFolder: null },
    contextMemoryBytes: (fault.contextGibibytes ?? 1) * 2 ** 30,
  });
  const launch = engine.launch({
    ...{
      instanceId: "recorded",
      snapshotPath: weights,
      entryFile: "config.json",
      servedNames: ["ann/model"],
    },
    ...{ maxBatchSize: 2, secret: "0".repeat(64), endpoint: { kind: "unix", path: socket } },
    placement: { node: "here", gpus: [] },
    // Without it, most of the time goes into compiling.
    engineArgs: { standardArgs: {}, extraArgs: ["--enforce-eager"] },
  });
  const busy = fault.isSocketTaken === true ? createServer().listen(socket) : null;
  for (const file of launch.files) await writeFile(join(own, file.name), file.content);
  await start({ ...launch, args: [...launch.args, ...(fault.args ?? [])] }, fault, own, log);
  busy?.close();
  const places = { [weights]: "/weights", [own]: "/instance", [folder]: "/run", [environment]: "/venv" };
  return tidy(await readFile(log, "utf8"), places);
}

async function start(launch: Launch, fault: Fault, own: string, log: string): Promise<void> {
  const inside = (text: string) => text.replaceAll("{dir}", own);
  const env = Object.fromEntries(Object.entries(launch.env).map(([key, value]) => [key, inside(value)]));
  const output = createWriteStream(log);
  await once(output, "open");
  const limit = fault.dataBytes === undefined ? [] : ["prlimit", `--data=${fault.dataBytes}`];
  const [command = "", ...args] = [...limit, launch.command, ...launch.args.map(inside)];
  const child = spawn(command, args, {
    ...{ cwd: own, detached: true, env: { PATH: process.env.PATH, HOME: own, LANG: "C.UTF-8", ...env } },
    stdio: ["ignore", output, output],
  });
  const exited = once(child, "exit", { signal: AbortSignal.timeout(patienceMs) });
  if (fault.kills !== undefined) await killChild(child, fault.kills, log);
  await exited;
  output.close();
}

/** Once it serves, ends one of the processes that it has started. */
async function killChild(child: ChildProcess, name: string, log: string): Promise<void> {
  while (!(await readFile(log, "utf8")).includes("Application startup complete")) {
    if (child.exitCode !== null) throw new Error("It has ended by itself.");
    await sleep(500);
  }
  for (const pid of (await readdir("/proc")).filter((one) => /^\d+$/.test(one))) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const [, comm = "", group = ""] = /^\d+ \((.*)\) \S+ \d+ (\d+)/.exec(stat) ?? [];
    if (comm.startsWith(name) && Number(group) === child.pid) process.kill(Number(pid), "SIGKILL");
  }
}

/** The last lines, as a program printed them to a file, without the places of this machine. */
function tidy(text: string, places: Readonly<Record<string, string>>): string {
  const moved = Object.entries(places).reduce((rest, [from, to]) => rest.replaceAll(from, to), text);
  const lines = moved
    .replace(/\/\S*?\/(?=lib\/python3[.]\d+\/(?!site-packages))/g, "/usr/")
    .split("\n")
    // What a terminal would write over, as progress does.
    .map((line) => (line.split("\r").at(-1) ?? "").trimEnd());
  return `${lines
    .filter((line) => line !== "")
    .slice(-keptLines)
    .join("\n")}\n`;
}
