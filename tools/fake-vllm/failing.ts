/**
 * Ways in which real vLLM fails on the model that Berth ships, each with one thing wrong. `record.ts` makes recordings of them, which
 * are the files in `recorded/`; the tests and the stand-in read those.
 */
import { readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

export type Fault = {
  /** Makes something wrong with the model, given its folder. */
  readonly spoil?: (weights: string) => Promise<void>;
  /** Arguments behind those that Berth gives. */
  readonly args?: readonly string[];
  /** What it may take for the context; 1 where nothing is said. */
  readonly contextGibibytes?: number;
  /** What it may map to write. */
  readonly dataBytes?: number;
  readonly isSocketTaken?: true;
  /** One of its processes that is killed once it serves. */
  readonly kills?: string;
};

export const recordedFolder = join(import.meta.dirname, "recorded");

const configure = (change: (config: Record<string, unknown>) => void) => async (weights: string) => {
  const path = join(weights, "config.json");
  const config = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  change(config);
  await writeFile(path, JSON.stringify(config, null, 2));
};

export const failures = {
  /** One request's context is more than all that it may take for contexts. */
  "little-cache": {
    spoil: configure((config) => {
      config.max_position_embeddings = 1_000_000;
    }),
  },
  "more-than-the-machine": { contextGibibytes: 4000 },
  "memory-limit": { dataBytes: 2 * 2 ** 30 },
  "unknown-architecture": {
    spoil: configure((config) => {
      config.architectures = ["ZamfirForCausalLM"];
    }),
  },
  "unknown-model-type": {
    spoil: configure((config) => {
      config.model_type = "zamfir";
    }),
  },
  "own-code": {
    spoil: async (weights) => {
      await configure((config) => {
        config.model_type = "zamfir";
        config.auto_map = {
          AutoConfig: "configuration_zamfir.ZamfirConfig",
          AutoModelForCausalLM: "modeling_zamfir.Zamfir",
        };
      })(weights);
      await writeFile(join(weights, "configuration_zamfir.py"), "class ZamfirConfig: pass\n");
      await writeFile(join(weights, "modeling_zamfir.py"), "class Zamfir: pass\n");
    },
  },
  "socket-taken": { isSocketTaken: true },
  "bad-argument": { args: ["--tool-call-parser", "mystral", "--enable-auto-tool-choice"] },
  "no-such-argument": { args: ["--no-such-argument", "1"] },
  "bad-value": { args: ["--dtype", "int3"] },
  "long-context": { args: ["--max-model-len", "4096"] },
  "undivided-heads": { args: ["--tensor-parallel-size", "2"] },
  "wrong-quantization": { args: ["--quantization", "awq"] },
  "cut-off": { spoil: (weights) => truncate(join(weights, "model.safetensors"), 1_000_000) },
  "wrong-shape": {
    spoil: configure((config) => {
      config.intermediate_size = 512;
    }),
  },
  "missing-layer": {
    spoil: configure((config) => {
      config.num_hidden_layers = 3;
    }),
  },
  "no-tokenizer": {
    spoil: async (weights) => {
      for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
        await rm(join(weights, name), { force: true });
      }
    },
  },
  "killed-core": { kills: "VLLM::EngineCor" },
} as const satisfies Readonly<Record<string, Fault>>;
