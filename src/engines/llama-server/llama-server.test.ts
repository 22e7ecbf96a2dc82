import { describe, expect, test } from "vitest";
import type { EngineArgs } from "../../core/deployment.ts";
import type { LaunchSpec } from "../../ports/engine.ts";
import { createLlamaServerEngine } from "../llama-server.ts";
import { explainLlamaServerExit } from "./failures.ts";
import { type LlamaServerProgram, readDevices, readHelp, readVersion } from "./program.ts";

const help = `----- common params -----

-h,    --help, --usage                  print usage and exit
-t,    --threads N                      number of CPU threads to use during generation (default: -1)
-c,    --ctx-size N                     size of the prompt context (default: 0, see --keep)
-np,   --parallel N                     number of server slots
-fa,   --flash-attn [on|off|auto]       set Flash Attention use
-kvu,  --kv-unified, -no-kvu, --no-kv-unified
                                        use single unified KV buffer (env: --not-a-flag)
--jinja, --no-jinja                     whether to use jinja template engine for chat
--metrics                               enable prometheus compatible metrics endpoint
--ui,  --webui, --no-ui, --no-webui     whether to enable the Web UI (default: enabled)
-fit,  --fit [on|off]                   whether to adjust unset arguments to fit in device memory
-b,    --batch-size N                   logical maximum batch size (default: 2048)
--cache-prompt, --no-cache-prompt       whether to enable prompt caching (default: enabled)
-dev,  --device <dev1,dev2,..>          comma-separated list of devices`;

const program: LlamaServerProgram = {
  path: "/opt/llama/bin/llama-server",
  version: "0.4.0",
  flags: readHelp(help),
  devices: [],
};
const open = (changed: Partial<LlamaServerProgram> = {}) =>
  createLlamaServerEngine({ program: { ...program, ...changed }, contextMemoryBytes: 2 ** 30, threads: 3 });

function launch(engineArgs: Partial<EngineArgs>, more: Partial<LaunchSpec> = {}, of = open()) {
  return of.launch({
    ...{ instanceId: "i", snapshotPath: "/w", entryFile: "m.gguf", servedNames: ["ann/m", "m"] },
    ...{ maxBatchSize: 4, endpoint: { kind: "unix", path: "/run/s.sock" }, secret: "hush" },
    placement: { node: "here", gpus: [] },
    engineArgs: { standardArgs: {}, extraArgs: [], ...engineArgs },
    ...more,
  });
}
const follows = (args: readonly string[], flag: string) => args[args.indexOf(flag) + 1];

describe("what the program says of itself", () => {
  test("its arguments, without those that their texts name", () => {
    expect(program.flags).toContain("kv-unified");
    expect(program.flags).toContain("no-webui");
    expect(program.flags).not.toContain("keep");
    expect(program.flags).not.toContain("not-a-flag");
  });

  test("its version, old and new", () => {
    expect(readVersion("version: 5432 (abcdef12)\nbuilt with gcc")).toBe("5432 (abcdef12)");
    expect(readVersion("version: 0.4.0-dev (build 1, commit 80fb11a)")).toBe(
      "0.4.0-dev (build 1, commit 80fb11a)",
    );
    expect(readVersion("usage: other")).toBeNull();
  });

  test("its GPUs", () => {
    expect(readDevices("Available devices:\n  (none)\n")).toEqual([]);
    const output = "Available devices:\n  CUDA0: NVIDIA A100 (40442 MiB, 40000 MiB free)\n";
    expect(readDevices(output)).toEqual(["CUDA0: NVIDIA A100 (40442 MiB, 40000 MiB free)"]);
  });
});

describe("the command line", () => {
  test("names the model, the socket, the slots and the context of all of them", () => {
    const { command, args, files, reads } = launch({}, { modelContextTokens: 8192 });
    expect(command).toBe(program.path);
    expect(follows(args, "--model")).toBe("/w/m.gguf");
    expect(follows(args, "--host")).toBe("/run/s.sock");
    expect(follows(args, "--parallel")).toBe("4");
    expect(follows(args, "--ctx-size")).toBe("32768");
    expect(follows(args, "--api-key-file")).toBe("{dir}/key");
    expect(args).toContain("--no-ui");
    expect(files).toEqual([{ name: "key", content: "hush\n" }]);
    expect(reads).toEqual(["/opt/llama/bin"]);
  });

  test("knobs become arguments, and an engine's own win", () => {
    const standardArgs = {
      maxContextSize: 512,
      maxConcurrentRequests: 2,
      maxPrefillTokens: 1024,
      enablePrefixCaching: false,
    };
    const plain = launch({ standardArgs }).args;
    expect(follows(plain, "--ctx-size")).toBe("1024");
    expect(follows(plain, "--batch-size")).toBe("1024");
    expect(follows(plain, "--threads")).toBe("3");
    expect(plain).toContain("--no-cache-prompt");
    const own = launch({ standardArgs, extraArgs: ["-c", "256", "--threads=1", "--cache-prompt"] }).args;
    expect(follows(own, "--ctx-size")).toBe("512");
    expect(own.filter((arg) => arg === "--threads" || arg === "--ctx-size")).toHaveLength(2);
    expect(own).not.toContain("--no-cache-prompt");
  });

  test("one that accounts share uses no prompt again, whatever was asked for, or does not start", () => {
    const extraArgs = ["--cache-prompt"];
    expect(launch({ extraArgs }, { isShared: true }).args.at(-1)).toBe("--no-cache-prompt");
    const old = open({ flags: new Set(["parallel", "ctx-size"]) });
    expect(() => launch({}, { isShared: true }, old)).toThrow(
      /cannot be kept from using one account's prompts/,
    );
  });

  test("what fits comes before the model's whole context", () => {
    const { args } = launch({}, { modelContextTokens: 100_000, fittingContextTokens: 2048 });
    expect(follows(args, "--ctx-size")).toBe("8192");
  });

  test("a build for GPUs sees those it was given, or none", () => {
    const gpu = open({ devices: ["CUDA0: x"] });
    expect(gpu.runsOn).toBe("gpu");
    const placed = launch({}, { placement: { node: "here", gpus: ["GPU-1", "GPU-2"] } }, gpu);
    expect(placed.env).toEqual({ CUDA_VISIBLE_DEVICES: "GPU-1,GPU-2" });
    expect(follows(launch({}, {}, gpu).args, "--device")).toBe("none");
  });

  test("an argument that this version has not is refused", () => {
    const reason = "This version of the llama-server engine has no --swa-full.";
    expect(open().refuseArgs({ standardArgs: {}, extraArgs: ["--swa-full"] })).toBe(reason);
  });
});

test("models made for embeddings are left to the engine that serves them", () => {
  const files = [{ path: "a-Q8_0.gguf", bytes: 1 }] as never;
  const choose = (repo: string) => open().chooseFiles({ repo, commit: "c", files }, null).ok;
  expect(choose("ann/nomic-embed-text-GGUF")).toBe(false);
  expect(choose("ann/bge-small-GGUF")).toBe(false);
  expect(choose("ann/Qwen3-0.6B-GGUF")).toBe(true);
});

/** Recorded from 0.4.0 on the model that Berth ships, cut, renamed or asked for too much; older forms from their issues. */
const ends: readonly (readonly [string, string, RegExp])[] = [
  [
    "0.00.075.206 E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'\n0.00.075.212 E llama_model_load: error loading model: llama_model_loader: failed to load model from /w/bad.gguf",
    "engine_refused_model",
    /the file is no GGUF file\./,
  ],
  [
    "0.00.023.729 E gguf_init_from_reader: failed to read key-value pairs\n0.00.023.737 E llama_model_load: error loading model: llama_model_loader: failed to load model from cut.gguf",
    "engine_refused_model",
    /cut off or damaged\./,
  ],
  [
    "0.00.040.575 E llama_model_load: error loading model: unknown model architecture: 'zzama'",
    "engine_refused_model",
    /does not know the architecture zzama\./,
  ],
  [
    "0.01.547.290 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    "out_of_memory",
    /made room for the context\./,
  ],
  [
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
    "out_of_memory",
    /on a GPU\./,
  ],
  [
    "0.00.573.309 E llama_init_from_model: quantized V cache requires flash_attn to be enabled\n0.00.573.321 E cmn  common_init_: failed to create context with model 'm.gguf'",
    "bad_engine_args",
    /asked for together: quantized V cache requires flash_attn to be enabled\./,
  ],
  ["error: invalid argument: --foo", "bad_engine_args", /has no argument --foo\./],
  [
    "0.00.019.545 E srv         start: couldn't bind HTTP server socket, hostname: /x/s.sock, port: 8080",
    "engine_crashed",
    /could not listen/,
  ],
  [
    "llama-server: error while loading shared libraries: libcudart.so.12: cannot open shared object file",
    "engine_crashed",
    /libcudart\.so\.12/,
  ],
  [
    "something nobody knows",
    "engine_crashed",
    /ended with code 1; its last words were: something nobody knows\./,
  ],
];

test.each(ends)("%j", (output, code, message) => {
  const told = explainLlamaServerExit({ code: 1, signal: null }, output.split("\n"));
  expect(told).toMatchObject({ code, message: expect.stringMatching(message) });
  expect(told.message).not.toContain("/w/");
});

test("a kill is told as want of memory", () => {
  expect(explainLlamaServerExit({ code: null, signal: "SIGKILL" }, [])).toMatchObject({
    code: "out_of_memory",
  });
});
