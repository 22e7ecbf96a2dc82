/**
 * A real Berth that has deployed a model with llama.cpp's server, and the way past it: the instance's own socket and secret,
 * as the driver's record has them. The engine has a core to itself, as a GPU would be; Berth and the clients share the
 * rest. Owns the Berth and ends it. Knows nothing of what is measured.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { startBerth, token, untilStatus } from "../../test/harness/berth.ts";
import type { Target } from "./load.ts";

export type ThroughBerth = AsyncDisposable & { readonly through: Target; readonly direct: Target };

/** @param core on which all threads of the engine run, and from now on nothing else of this process and its children */
export async function startThroughBerth(
  model: string,
  slots: number,
  core: string,
  llamaServerPath = "llama-server",
): Promise<ThroughBerth> {
  const cores = Array.from({ length: availableParallelism() }, (_, index) => String(index));
  const others = cores.filter((one) => one !== core);
  if (others.length > 0) setCores(process.pid, others.join());
  const berth = await startBerth({
    env: {
      ...{ BERTH_STARTER: "off", BERTH_LLAMA_SERVER: llamaServerPath, BERTH_CPU_THREADS: "1" },
      ...{ BERTH_LOCAL_ROOTS: dirname(model), BERTH_CPU_CONTEXT_MB: "2048", PATH: process.env.PATH ?? "" },
    },
  });
  try {
    const { body } = await berth.call("POST", "/deploy/llm", {
      ...{ model_name: "bench", gpu: "other", max_batch_size: slots, hf: { repo: `file://${model}` } },
      standard_args: { max_context_size: 1024 },
    });
    await untilStatus(berth, body.deploy_id, "running");
    for (const pid of berth.pids("engine")) setCores(pid, core);
    const { hostname: host, port } = new URL(berth.url);
    return {
      through: { host, port, secret: token, model: "bench" },
      direct: findInstance(join(berth.home, "instances")),
      [Symbol.asyncDispose]: () => berth.end(),
    };
  } catch (error) {
    await berth.end();
    throw error;
  }
}

function setCores(pid: number, cores: string): void {
  execFileSync("taskset", ["-a", "-c", "-p", cores, String(pid)]);
}

/** The one instance there is, as a client of its socket. */
function findInstance(folder: string): Target {
  const [id = ""] = readdirSync(folder);
  const record = JSON.parse(readFileSync(join(folder, id, "record.json"), "utf8")) as {
    engine: string;
    endpoint: { path: string };
    secret: string;
  };
  if (record.engine !== "llama-server") throw new Error(`the model was given to ${record.engine}`);
  return { socketPath: record.endpoint.path, secret: record.secret, model: "bench" };
}
