/**
 * Finds llama.cpp's server on this machine and asks it what it is: its version, its arguments and its GPUs. Runs the program
 * with `--version`, `--help` and `--list-devices`, nothing else. What is found is read in pure functions.
 */
import { execFile } from "node:child_process";
import { open, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { findProgram } from "../find-program.ts";

export type LlamaServerProgram = {
  /** Absolute, links resolved. */
  readonly path: string;
  /** As it says it: "0.4.0-dev (build 1, commit 80fb11a)", "5432 (abcdef12)". */
  readonly version: string;
  /** Long names of its arguments, without dashes in front. */
  readonly flags: ReadonlySet<string>;
  /** GPUs as it names them, empty for a build that has none. */
  readonly devices: readonly string[];
};

export type Found<Program> =
  | { readonly state: "found"; readonly program: Program }
  | { readonly state: "absent" }
  /** It is there and does not run. */
  | { readonly state: "broken"; readonly path: string; readonly why: string };

const askTimeoutMs = 20_000;

/** @param places tried in this order: absolute paths, or a name to be looked for on PATH */
export async function findLlamaServer(
  places: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Found<LlamaServerProgram>> {
  const found = await findProgram(places, environment);
  if (found === null) return { state: "absent" };
  const path = await realpath(found);
  try {
    const [version, help, devices] = [
      await ask(path, "--version", environment),
      await ask(path, "--help", environment),
      await ask(path, "--list-devices", environment),
    ];
    const flags = readHelp(help);
    const text = readVersion(version);
    if (text === null || !flags.has("parallel")) {
      return { state: "broken", path, why: "it does not say that it is llama.cpp's server" };
    }
    return { state: "found", program: { path, version: text, flags, devices: readDevices(devices) } };
  } catch (error) {
    const isForeign = await isForOtherProcessor(path);
    const why = isForeign ? "it was built for another kind of processor" : describe(error);
    return { state: "broken", path, why };
  }
}

/** The folder of its libraries, which lie beside it. */
export function programFolder({ path }: Pick<LlamaServerProgram, "path">): string {
  return dirname(path);
}

export function readVersion(output: string): string | null {
  return /^version: (.{1,80})$/m.exec(output)?.[1]?.trim() ?? null;
}

export function readHelp(output: string): ReadonlySet<string> {
  // Only what begins a line, or follows another name there: the texts of arguments name others.
  const heads = output.split("\n").map((line) => /^(?:-{1,2}[\w-]+(?:,\s+|\s|$))+/.exec(line)?.[0] ?? "");
  return new Set(
    heads.flatMap((head) => [...head.matchAll(/--([a-z][\w-]*)/g)].map(([, name = ""]) => name)),
  );
}

export function readDevices(output: string): readonly string[] {
  const [, list = ""] = output.split("Available devices:");
  return [...list.matchAll(/^\s+((?:CUDA|ROCm|Vulkan|SYCL|MTL|Metal)\w*: .{1,120})$/gm)].map(
    ([, name = ""]) => name.trim(),
  );
}

function ask(path: string, flag: string, environment: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const { PATH, HOME, LANG, LD_LIBRARY_PATH } = environment;
    execFile(
      path,
      [flag],
      { timeout: askTimeoutMs, maxBuffer: 2 ** 22, env: { PATH, HOME, LANG, LD_LIBRARY_PATH } },
      (error, stdout, stderr) => {
        // Old versions end `--help` and `--version` with another code than 0.
        if (error !== null && stdout === "" && !stderr.includes("version:")) reject(error);
        else resolve(`${stdout}\n${stderr}`);
      },
    );
  });
}

/** Numbers of processors in ELF files. */
const processors: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** By its header: what starts programs takes one that the kernel refuses for a script, whose errors say nothing. */
async function isForOtherProcessor(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(20), 0, 20, 0);
    const isElf = bytesRead === 20 && buffer.toString("latin1", 0, 4) === "\x7fELF";
    return isElf && buffer.readUInt16LE(18) !== processors[process.arch];
  } finally {
    await file.close();
  }
}

function describe(error: unknown): string {
  const {
    stderr = "",
    code,
    signal,
    message,
  } = error as {
    readonly stderr?: string;
    readonly code?: unknown;
    readonly signal?: unknown;
    readonly message: string;
  };
  const said = `${stderr}\n${message}`;
  const library = /version [`']?((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)'? not found/.exec(said)?.[1];
  if (library !== undefined) return `it needs ${library}, a newer library than this system has`;
  const missing = /error while loading shared libraries: ([\w.+-]{1,80}): cannot open/.exec(said)?.[1];
  if (missing !== undefined) return `it needs the library ${missing}, which this system does not have`;
  if (signal === "SIGILL") return "it has instructions that this machine's processor has not";
  const line = said.split("\n").find((one) => /error while loading/.test(one));
  return (line ?? `it ended with ${String(code ?? signal ?? message.split("\n")[0])}`).slice(0, 200);
}
