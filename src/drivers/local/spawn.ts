/**
 * Starting an engine so that it needs nobody: its own session, output into a file, no descriptor and no variable of
 * control's but the listed ones. Writes the launch's private files first. Does not remember or watch the process.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Launch } from "../../ports/engine.ts";
import { folderMark, instanceMark, type ProcessIdentity, type ProcessTable } from "./process.ts";

/** All an engine inherits of control's environment: where programs, libraries, caches and temporary files are, and the locale. */
const inherited = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"] as const;

const fileNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ownFiles = new Set(["record.json", "record.json.next", "exit.json", "exit.json.next"]);

export type SpawnOptions = {
  readonly instanceId: string;
  readonly launch: Launch;
  /** Variables that replace inherited ones. */
  readonly env: Readonly<Record<string, string>>;
  /** The instance's folder, real path. */
  readonly outer: string;
  /** The engine's own folder in it, its working directory. */
  readonly folder: string;
  readonly logPath: string;
  readonly processes: ProcessTable;
  /** The environment to inherit the listed names from. */
  readonly environment: NodeJS.ProcessEnv;
};

export type Exit = { readonly code: number | null; readonly signal: string | null };

export type SpawnedEngine = {
  readonly identity: ProcessIdentity;
  /** Resolves when this process has ended and was reaped; never rejects. */
  readonly exited: Promise<Exit>;
};

/** Throws when a secret would be visible to other users of the machine, or a file would leave the folder. */
export function checkLaunch(launch: Launch, secret: string): void {
  const visible = [launch.command, ...launch.args, ...Object.values(launch.env)];
  if (visible.some((text) => text.includes(secret))) {
    throw new Error("An engine put its secret into its arguments or environment; it belongs into a file.");
  }
  for (const { name } of launch.files) {
    if (!fileNamePattern.test(name) || ownFiles.has(name)) {
      throw new Error(`An engine asked for a file of the name "${name}", which is not possible.`);
    }
  }
}

/** Writes what the engine will read, each file for this user only. */
export async function writeLaunchFiles(launch: Launch, folder: string): Promise<void> {
  for (const { name, content } of launch.files) {
    await writeFile(join(folder, name), content, { mode: 0o600 });
  }
}

/** Resolves when the program was found and runs; throws (with the system's code) when it cannot be started. */
export async function spawnEngine(options: SpawnOptions): Promise<SpawnedEngine> {
  const { launch, folder } = options;
  const log = await open(options.logPath, "a", 0o600);
  const nothing = await open("/dev/null", "r+");
  try {
    const args = launch.args.map((arg) => arg.replaceAll("{dir}", folder));
    const child = spawn(launch.command, args, {
      cwd: folder,
      detached: true,
      shell: false,
      stdio: standardStreams(log.fd, nothing.fd),
      env: engineEnvironment(options),
    });
    // Control may end while the engine goes on.
    child.unref();
    const exited = new Promise<Exit>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    // Read in the same turn: the process cannot have been reaped yet, so the pid is its own.
    const identity = child.pid === undefined ? null : options.processes.identify(child.pid);
    if (child.pid === undefined) await once(child, "spawn"); // Throws the reason.
    if (identity === null) throw new Error(`The process of instance ${options.instanceId} is not listed.`);
    return { identity, exited };
  } finally {
    await log.close();
    await nothing.close();
  }
}

/** Input from nowhere, output into the log, and nothing in the places of descriptors that would leak. */
function standardStreams(log: number, nothing: number): ("ignore" | number)[] {
  const leaks = process.platform === "linux" ? leakingDescriptors() : [];
  const streams: ("ignore" | number)[] = Array.from(
    { length: Math.max(3, ...leaks.map((fd) => fd + 1)) },
    () => "ignore",
  );
  for (const fd of leaks) streams[fd] = nothing;
  streams[1] = log;
  streams[2] = log;
  return streams;
}

/** O_CLOEXEC in the octal flags of proc_pid_fdinfo(5). */
const closeOnExec = 0o2000000;
/** Whoever hands down higher ones than this is not guarded against. */
const highestDescriptor = 1023;

/**
 * Descriptors that whoever started this process left open and that a child would get too, for example the pipe of a
 * build job, which then never ends while an engine runs. Node closes only its own. (On macOS it closes all.)
 */
function leakingDescriptors(): number[] {
  const inheritable = readdirSync("/proc/self/fd").map(Number).filter(isInheritable);
  return inheritable.filter((fd) => fd > 2 && fd <= highestDescriptor);
}

function isInheritable(fd: number): boolean {
  try {
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false; // Closed meanwhile.
    throw error;
  }
}

function engineEnvironment({
  launch,
  environment,
  env: replaced,
  outer,
  folder,
  instanceId,
}: SpawnOptions): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of inherited) {
    const value = environment[name];
    if (value !== undefined) env[name] = value;
  }
  const own = Object.entries(launch.env).map(([name, value]) => [name, value.replaceAll("{dir}", folder)]);
  return { ...env, ...replaced, ...Object.fromEntries(own), [instanceMark]: instanceId, [folderMark]: outer };
}
