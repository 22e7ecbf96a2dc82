/**
 * What the hub's measurements share: the stand-in hub as a process, a fresh home, one pull in a process of its own, and
 * medians. Measures nothing itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { join } from "node:path";

export const mib = 1024 * 1024;
export const repo = "bench/model";

export type Stand = {
  readonly url: string;
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
  /** Body bytes sent so far, and requests for bodies. */
  counts(): Promise<{ readonly sentBytes: number; readonly bodies: number }>;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startStand(files: number, fileMib: number, bytesPerS = 0): Promise<Stand> {
  const script = new URL("./server.ts", import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    [script, "--files", `${files}`, "--file-mib", `${fileMib}`, "--bytes-per-s", `${bytesPerS}`],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.once("exit", () => reject(new Error("the stand-in hub ended before it listened")));
  child.stdout.on("data", (text) => {
    const found = /http:\S+/.exec(String(text))?.[0];
    if (found !== undefined) resolve(found);
  });
  const url = await promise;
  const ask = async () =>
    (await (await fetch(`${url}/_bench`)).json()) as {
      sentBytes: number;
      bodies: number;
      files: Stand["files"];
    };
  return { url, files: (await ask()).files, counts: ask, [Symbol.asyncDispose]: () => endChild(child) };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** A folder that is gone afterwards; `where` is a folder of a disk or of a memory file system. */
export async function withFolder<T>(where: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(where, "berth-bench-hub-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A process that pulls the repository as control does; ends with 0 when all of it is there and right. */
export function startPull(url: string, home: string, options: readonly string[] = []): ChildProcess {
  const script = new URL("./pull.ts", import.meta.url).pathname;
  return spawn(process.execPath, [script, url, home, ...options], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Runs a command to its end; milliseconds it took. Throws when it fails. */
export async function timeCommand(command: string, args: readonly string[]): Promise<number> {
  const startedAtMs = performance.now();
  await expectSuccess(spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] }), command);
  return performance.now() - startedAtMs;
}

export async function expectSuccess(child: ChildProcess, name: string): Promise<void> {
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${name} failed (${code})`);
}

/** Milliseconds from before its first request until the last file has its name, as the pulling process itself says. */
export async function timePull(
  url: string,
  home: string,
  options: readonly string[] = [],
): Promise<PullReport> {
  const child = startPull(url, home, options);
  let text = "";
  child.stdout?.on("data", (part) => {
    text += String(part);
  });
  await expectSuccess(child, "the pull");
  return JSON.parse(text) as PullReport;
}

export type PullReport = {
  readonly tookMs: number;
  /** Stalls of the event loop meanwhile, milliseconds. */
  readonly stallP50Ms: number;
  readonly stallP99Ms: number;
  readonly stallMaxMs: number;
};

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
