/** The fake engine behind the engine port, as one that uses GPUs: what a real one does with them is told by its environment. */
import { unknownAbilities } from "../../src/core/abilities.ts";
import { failure } from "../../src/core/failure.ts";
import { callEngine } from "../../src/engines/client.ts";
import { chooseGgufFiles } from "../../src/engines/gguf-files.ts";
import type { Engine } from "../../src/ports/engine.ts";

const program = new URL("../../tools/fake-engine/server.ts", import.meta.url).pathname;

export const fakeGpuEngine: Engine = {
  name: "fake",
  runsOn: "gpu",
  abilities: { ...unknownAbilities, engine: "fake" },
  chooseFiles(listing, quantization) {
    const choice = chooseGgufFiles(listing, quantization);
    return choice.ok ? { ok: true, value: { ...choice.value, task: "text-generation" } } : choice;
  },
  refuseArgs: () => null,
  launch({ endpoint, secret, maxBatchSize }) {
    if (endpoint.kind !== "unix") throw new Error("the fake engine listens on Unix sockets");
    const where = ["--socket", endpoint.path, "--secret-file", "{dir}/secret"];
    return {
      command: process.execPath,
      args: [program, ...where, "--slots", `${maxBatchSize}`],
      env: {},
      files: [{ name: "secret", content: secret }],
    };
  },
  async probe(endpoint, secret, timeoutMs) {
    try {
      const { status } = await callEngine({ endpoint, secret }, "/health", null, timeoutMs);
      if (status === 200) return { state: "ready", slots: 1, contextTokens: 2048, note: null };
      return { state: "loading", progress: null };
    } catch {
      return { state: "silent" };
    }
  },
  warmUp: async () => null,
  explainExit: ({ code, signal }) =>
    failure("engine_crashed", `The fake engine ended with ${signal ?? code}.`, "See the deployment's logs."),
};
