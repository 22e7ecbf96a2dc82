/** What the stand-in for a container runtime keeps in its folder: how it is, its images, its registry, and its containers. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type Image = {
  /** Programs of the image by the names they have there, each as the command that stands for it on this machine. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Folders of this machine that stand for the image's files. */
  readonly folders: readonly string[];
};

export type Published = Image & {
  readonly layers: number;
  /** What pulling it comes to; absent: it comes. `stuck`: after the first layer nothing comes. */
  readonly fault?: "unreachable" | "forbidden" | "no-space" | "stuck";
};

export type World = {
  readonly kind: "docker" | "podman";
  /** How its service is: `hung` accepts and never answers, `closed` is there for others only. */
  readonly daemon: "up" | "down" | "hung" | "closed";
  readonly users: "same" | "remapped" | "rootless";
  /** GPUs can be given to containers. */
  readonly hasToolkit: boolean;
  readonly registry: Readonly<Record<string, Published>>;
  /** Images that are here. */
  readonly images: readonly string[];
  /** Every image that was asked of the registry, oldest first. */
  readonly pulls: readonly string[];
};

/** A container as `run` was asked for it. */
export type Container = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly workdir: string;
  readonly mounts: readonly { readonly source: string; readonly at: string; readonly isReadOnly: boolean }[];
  readonly folders: readonly string[];
};

const worldFile = (state: string) => join(state, "world.json");

export function readWorld(state: string): World {
  return JSON.parse(readFileSync(worldFile(state), "utf8")) as World;
}

/** Whole, or as it was. Two at the same time are the tests' to avoid. */
export function writeWorld(state: string, world: World): void {
  const next = `${worldFile(state)}.${process.pid}`;
  writeFileSync(next, JSON.stringify(world));
  renameSync(next, worldFile(state));
}

export const containerFolder = (state: string, name: string) => join(state, "containers", name);

export function listContainers(state: string): Container[] {
  return readdirSync(join(state, "containers")).flatMap((name) => readContainer(state, name) ?? []);
}

export function readContainer(state: string, name: string): Container | null {
  return readJson<Container>(join(containerFolder(state, name), "container.json"));
}

/** The number of its process; null while it has none. */
export function readPid(state: string, name: string): number | null {
  return readJson<{ pid: number }>(join(containerFolder(state, name), "running.json"))?.pid ?? null;
}

/** Throws where one of the name is there. */
export function addContainer(state: string, container: Container): void {
  const folder = containerFolder(state, container.name);
  mkdirSync(folder);
  writeFileSync(join(folder, "container.next"), JSON.stringify(container));
  renameSync(join(folder, "container.next"), join(folder, "container.json"));
}

function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return null; // Not there yet, or not any more.
  }
}
