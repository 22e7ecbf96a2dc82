import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { createEmbeddedEngine } from "../../src/engines/embedded.ts";
import { findLlamaServer } from "../../src/engines/llama-server/program.ts";
import { createLlamaServerEngine } from "../../src/engines/llama-server.ts";
import { findVllm } from "../../src/engines/vllm/program.ts";
import { createVllmEngine } from "../../src/engines/vllm.ts";
import { describeEngine } from "./contract.ts";

const gguf = { patienceMs: 60_000, weightFile: "berth-starter-F16.gguf" };

describeEngine(
  "embedded",
  async () =>
    createEmbeddedEngine({
      nodePath: process.execPath,
      serverPath: join(import.meta.dirname, "../../src/engines/embedded/server.ts"),
      ...{ contextMemoryBytes: 64 * 2 ** 20, threads: 1 },
    }),
  gguf,
);

/** Required where it is said to be there, as in CI; else used where it is. */
const named = process.env.BERTH_TEST_LLAMA_SERVER;
const found = await findLlamaServer(named === undefined ? ["llama-server"] : [named], process.env);
if (named !== undefined && found.state !== "found")
  throw new Error(`BERTH_TEST_LLAMA_SERVER: ${found.state}`);

describe.runIf(found.state === "found")("a real program", () => {
  describeEngine(
    "llama-server",
    async () => {
      if (found.state !== "found") throw new Error("there is no llama-server");
      return createLlamaServerEngine({
        program: found.program,
        contextMemoryBytes: 64 * 2 ** 20,
        threads: 1,
      });
    },
    gguf,
  );
});

/** Only where it is named: vLLM takes minutes to start on processors. */
const environment = process.env.BERTH_TEST_VLLM;
describe.runIf(environment !== undefined)("a real vLLM", () => {
  describeEngine(
    "vllm",
    async () => {
      const vllm = await findVllm([environment ?? ""], {});
      if (vllm.state !== "found") throw new Error(`BERTH_TEST_VLLM: ${vllm.state}`);
      return createVllmEngine({
        ...{
          program: vllm.program,
          runsImages: false,
          allowPickle: false,
          trustedCode: [],
          contextMemoryBytes: 2 ** 30,
        },
        cacheFolder: join(tmpdir(), "berth-contract-cache"),
      });
    },
    { patienceMs: 900_000, weightFile: "model.safetensors" },
  );
});
