/** Puts the stand-in for a container runtime into a folder as a program, with a world that a test can change under it. */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { listContainers, type Published, readWorld, type World, writeWorld } from "./state.ts";

const berthFolder = join(import.meta.dirname, "../..");

/** An image whose `vllm` is the stand-in of that command. */
export const vllmInImage: Published = {
  layers: 3,
  programs: { vllm: [process.execPath, join(berthFolder, "tools/fake-vllm/vllm.ts")] },
  folders: [berthFolder, dirname(process.execPath)],
};

export type InstalledRuntime = {
  /** Path of the program. */
  readonly program: string;
  world(): World;
  /** Changes what is named. */
  become(change: Partial<World>): void;
  /** Names of all containers, or of those of one deployment. */
  containers(deploymentId?: string): string[];
  /** Numbers of processes that fetch an image. */
  pulling(): number[];
};

/** @param folder empty; its path must be short enough for sockets in it */
export function installFakeDocker(folder: string, world: Partial<World> = {}): InstalledRuntime {
  const state = join(folder, "state");
  for (const kept of ["containers", "pulling"]) mkdirSync(join(state, kept), { recursive: true });
  const kind = world.kind ?? "docker";
  const program = join(folder, kind);
  const script = join(import.meta.dirname, "docker.ts");
  // Each call is a process of its own: what it has compiled halves its time.
  const cache = join(berthFolder, "node_modules/.cache/berth-tests");
  writeFileSync(
    program,
    `#!/bin/sh\nexport NODE_COMPILE_CACHE="${cache}"\nexec "${process.execPath}" "${script}" "${state}" "$@"\n`,
  );
  chmodSync(program, 0o755);
  writeWorld(state, {
    ...{ kind, daemon: "up", users: "same", hasToolkit: true, registry: {}, images: [], pulls: [] },
    ...world,
  });
  return {
    program,
    world: () => readWorld(state),
    become: (change) => writeWorld(state, { ...readWorld(state), ...change }),
    containers: (deploymentId) =>
      listContainers(state)
        .filter(({ labels }) => deploymentId === undefined || labels["io.berth.deployment"] === deploymentId)
        .map(({ name }) => name),
    pulling: () =>
      readdirSync(join(state, "pulling"))
        .map(Number)
        .filter((pid) => existsSync(`/proc/${pid}`)),
  };
}
