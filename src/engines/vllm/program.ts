/**
 * Finds vLLM on this machine: in a virtual environment, or as `vllm` on PATH; else it is in a container image, where something runs
 * those. Its version is read from the package's folder, or the image's tag: asking the program takes many seconds. Runs nothing.
 */
import { open, readdir, readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findProgram } from "../find-program.ts";
import { vllmVersion } from "../install.ts";
import type { Found } from "../llama-server/program.ts";

export type VllmProgram = {
  /** The `vllm` command, absolute; in an image, its name there. */
  readonly path: string;
  /** "0.33.0" */
  readonly version: string;
  /** The build for processors, which uses no GPU. */
  readonly isForCpu: boolean;
  /** Folders that hold it and its Python. */
  readonly folders: readonly string[];
  /** The container image that it is in; absent where it is a program of this machine. */
  readonly image?: string;
};

/** The image that vLLM's own project publishes of the release that Berth knows. With its registry, which Podman wants to be told. */
export const vllmImage = `docker.io/vllm/vllm-openai:v${vllmVersion}`;

/** Pure: nothing is asked of the image, which may not be here yet. */
export function vllmOfImage(image: string): VllmProgram {
  const [named = image] = image.split("@");
  const tag = /:([\w.-]+)$/.exec(named)?.[1];
  const version = tag === undefined ? "of unknown version" : tag.replace(/^v(?=\d)/, "");
  // As the project names its images; one of another name is taken for one for GPUs.
  return { path: "vllm", version, isForCpu: /cpu/i.test(named), folders: [], image };
}

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
