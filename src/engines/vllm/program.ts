/**
 * Finds vLLM on this machine: in a virtual environment, or as `vllm` on PATH. Its version is read from the package's folder:
 * asking the program takes many seconds. Runs nothing.
 */
import { open, readdir, readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findProgram } from "../find-program.ts";
import type { Found } from "../llama-server/program.ts";

export type VllmProgram = {
  /** The `vllm` command, absolute. */
  readonly path: string;
  /** "0.33.0" */
  readonly version: string;
  /** The build for processors, which uses no GPU. */
  readonly isForCpu: boolean;
  /** Folders that hold it and its Python. */
  readonly folders: readonly string[];
};

/** @param places virtual environments; then `vllm` on PATH is looked for */
export async function findVllm(
  places: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Found<VllmProgram>> {
  const programs = [...places.map((place) => join(place, "bin/vllm")), "vllm"];
  const path = await findProgram(programs, environment);
  if (path === null) return { state: "absent" };
  try {
    const python = await interpreterOf(path);
    const environmentFolder = dirname(dirname(python));
    const version = await installedVersion(environmentFolder);
    if (version === null) {
      return { state: "broken", path, why: "the Python that runs it does not have the package vllm" };
    }
    const base = dirname(dirname(await realpath(python)));
    const folders = [environmentFolder, base];
    return { state: "found", program: { path, ...version, folders } };
  } catch (error) {
    return { state: "broken", path, why: (error as Error).message.slice(0, 200) };
  }
}

/** The Python that the command's first line names. */
async function interpreterOf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
    const named = /^#!(\/\S+python[\d.]*)\s*$/m.exec(buffer.toString("utf8", 0, bytesRead))?.[1];
    // Long paths are started through a shell; then the Python beside it is the one.
    return named ?? join(dirname(path), "python");
  } finally {
    await file.close();
  }
}

async function installedVersion(folder: string): Promise<Pick<VllmProgram, "version" | "isForCpu"> | null> {
  const libraries = (await readdir(join(folder, "lib"))).filter((name) => /^python3\.\d+$/.test(name));
  for (const library of libraries) {
    const packages = join(folder, "lib", library, "site-packages");
    const version = readPackages(await readdir(packages).catch(() => []));
    if (version === null) continue;
    const text = await readFile(join(packages, version.folder, "METADATA"), "utf8").catch(() => "");
    const exact = /^Version: (\S{1,60})$/m.exec(text)?.[1] ?? version.version;
    return { version: exact, isForCpu: version.isForCpu || exact.includes("cpu") };
  }
  return null;
}

/** The package among the names in a folder of packages. Pure. */
export function readPackages(
  names: readonly string[],
): { folder: string; version: string; isForCpu: boolean } | null {
  for (const name of names) {
    const [, build, version] = /^vllm(_cpu\w*)?-([\w.+]+)\.dist-info$/.exec(name) ?? [];
    if (version !== undefined) {
      return { folder: name, version, isForCpu: build !== undefined || version.includes("cpu") };
    }
  }
  return null;
}
