/**
 * Which programs of engines this machine has, by the settings, by where `berth engines install` puts them, and on PATH. Knows
 * the places; runs nothing itself.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { type Found, findLlamaServer, type LlamaServerProgram } from "./llama-server/program.ts";
import { findVllm, type VllmProgram } from "./vllm/program.ts";

export type EnginePlaces = {
  readonly BERTH_HOME: string;
  readonly BERTH_LLAMA_SERVER?: string | undefined;
  readonly BERTH_VLLM?: string | undefined;
};

export type MachineEngines = {
  readonly llamaServer: Found<LlamaServerProgram>;
  readonly vllm: Found<VllmProgram>;
};

/** Where installed engines are, each in a folder of its name. */
export function engineFolder(home: string, engine: "llama-server" | "vllm"): string {
  return join(home, "engines", engine);
}

export async function findEngines(
  places: EnginePlaces,
  environment: NodeJS.ProcessEnv,
): Promise<MachineEngines> {
  const { BERTH_HOME: home, BERTH_LLAMA_SERVER: server, BERTH_VLLM: vllm } = places;
  const own = join(engineFolder(home, "llama-server"), "bin/llama-server");
  return {
    llamaServer:
      server === "off"
        ? { state: "absent" }
        : await findLlamaServer(
            server === undefined ? [own, "llama-server"] : [absolute(server)],
            environment,
          ),
    vllm:
      vllm === "off"
        ? { state: "absent" }
        : await findVllm(
            [vllm === undefined ? engineFolder(home, "vllm") : absolute(vllm)],
            // A place that was named is the only one.
            vllm === undefined ? environment : {},
          ),
  };
}

function absolute(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}
