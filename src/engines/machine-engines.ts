/**
 * Which programs of engines this machine has, by the settings, by where `berth engines install` puts them, and on PATH. Knows
 * the places; runs nothing itself.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { findProgram } from "./find-program.ts";
import { type Found, findLlamaServer, type LlamaServerProgram } from "./llama-server/program.ts";
import { findVllm, type VllmProgram, vllmImage, vllmOfImage } from "./vllm/program.ts";

export type EnginePlaces = {
  readonly BERTH_HOME: string;
  readonly BERTH_LLAMA_SERVER?: string | undefined;
  readonly BERTH_VLLM?: string | undefined;
  readonly BERTH_VLLM_IMAGE?: string | undefined;
  readonly BERTH_CONTAINER_RUNTIME?: string | undefined;
  readonly BERTH_NVIDIA_SMI?: string | undefined;
};

export type MachineEngines = {
  readonly llamaServer: Found<LlamaServerProgram>;
  readonly vllm: Found<VllmProgram>;
  /** The command that runs container images, absolute; null for none. Whether it works is not known yet. */
  readonly containerRuntime: string | null;
};

/** Where installed engines are, each in a folder of its name. */
export function engineFolder(home: string, engine: "llama-server" | "vllm"): string {
  return join(home, "engines", engine);
}

export async function findEngines(
  places: EnginePlaces,
  environment: NodeJS.ProcessEnv,
): Promise<MachineEngines> {
  const { BERTH_HOME: home, BERTH_LLAMA_SERVER: server } = places;
  const own = join(engineFolder(home, "llama-server"), "bin/llama-server");
  const containerRuntime = await findContainerRuntime(places.BERTH_CONTAINER_RUNTIME, environment);
  return {
    containerRuntime,
    llamaServer:
      server === "off"
        ? { state: "absent" }
        : await findLlamaServer(
            server === undefined ? [own, "llama-server"] : [absolute(server)],
            environment,
          ),
    vllm: await findAnyVllm(places, containerRuntime, environment),
  };
}

/** A program of this machine before an image, which is fetched first and starts later; what the settings name is the only one. */
async function findAnyVllm(
  places: EnginePlaces,
  containerRuntime: string | null,
  environment: NodeJS.ProcessEnv,
): Promise<Found<VllmProgram>> {
  const { BERTH_HOME: home, BERTH_VLLM: named } = places;
  if (named === "off") return { state: "absent" };
  if (named !== undefined && named !== "image") return await findVllm([absolute(named)], {});
  const program: Found<VllmProgram> =
    named === "image" ? { state: "absent" } : await findVllm([engineFolder(home, "vllm")], environment);
  if (program.state === "found" || containerRuntime === null) return program;
  const image = places.BERTH_VLLM_IMAGE;
  if (image !== undefined || named === "image")
    return { state: "found", program: vllmOfImage(image ?? vllmImage) };
  // The usual image is for NVIDIA's GPUs alone: elsewhere it would be fetched for nothing.
  const nvidia = await findProgram([places.BERTH_NVIDIA_SMI ?? "nvidia-smi"], environment);
  return nvidia === null ? program : { state: "found", program: vllmOfImage(vllmImage) };
}

/** Docker before Podman, which on many systems is there under Docker's name too. */
async function findContainerRuntime(
  named: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<string | null> {
  if (named === "off") return null;
  return await findProgram(named === undefined ? ["docker", "podman"] : [absolute(named)], environment);
}

function absolute(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}
