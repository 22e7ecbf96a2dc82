/**
 * What real vLLM prints when it ends. Most was recorded from version 0.32.0, whole (`failing.ts`, `record.ts`). The rest is put together
 * around a line that people reported, with the place where they did: the lines of a start, the error as one of its processes logs
 * it, and the news of it that the others print after that, which say nothing.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { failures, recordedFolder } from "./failing.ts";

export type Recording = {
  /** Where it was reported. */
  readonly source: string;
  readonly lines: readonly string[];
};

const start = [
  "(APIServer pid=31) INFO 08-14 16:03:01 [api_server.py:1896] vLLM API server version 0.32.0",
  "(APIServer pid=31) INFO 08-14 16:03:09 [model.py:547] Resolved architecture: LlamaForCausalLM",
  "(EngineCore pid=104) INFO 08-14 16:03:20 [core.py:77] Initializing a V1 LLM engine (v0.32.0) with config: model='/weights'",
];
const loading = [
  ...start,
  "(EngineCore pid=104) INFO 08-14 16:03:24 [gpu_model_runner.py:2602] Starting to load model /weights...",
];

/** The last words of every failed start since version 0.8: they only say that something else went wrong. */
const news = [
  "(APIServer pid=31) Traceback (most recent call last):",
  '(APIServer pid=31)   File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/utils.py", line 785, in wait_for_engine_startup',
  '(APIServer pid=31)     raise RuntimeError("Engine core initialization failed. "',
  "(APIServer pid=31) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
];

const inCore = (error: string) => [
  "(EngineCore pid=104) ERROR 08-14 16:03:31 [core.py:1131] EngineCore failed to start.",
  "(EngineCore pid=104) ERROR 08-14 16:03:31 [core.py:1131] Traceback (most recent call last):",
  '(EngineCore pid=104) ERROR 08-14 16:03:31 [core.py:1131]   File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py", line 1122, in run_engine_core',
  `(EngineCore pid=104) ERROR 08-14 16:03:31 [core.py:1131] ${error}`,
  ...news,
];

/** What needs GPUs, or an older version, to be seen: lines as people reported them, with what stands around such. */
export const reported = {
  "cuda-oom": {
    source: "noonghunna/club-3090#16",
    lines: [
      ...loading,
      ...inCore(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB. GPU 0 has a total capacity of 23.56 GiB of which 21.75 MiB is free. Including non-PyTorch memory, this process has 23.50 GiB memory in use.",
      ),
    ],
  },
  "driver-oom": {
    source: "noonghunna/club-3090#60",
    lines: [...loading, ...inCore("RuntimeError: CUDA driver error: out of memory")],
  },
  "no-template": {
    source: "vllm-project/vllm#7978",
    lines: [
      ...start,
      "(APIServer pid=31) ValueError: As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the tokenizer does not define one.",
    ],
  },
  "old-driver": {
    source: "modelscope/FunASR#2973",
    lines: [
      ...start,
      ...inCore(
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
      ),
    ],
  },
  nccl: {
    source: "vllm-project/vllm#7800",
    lines: [
      ...start,
      "(Worker_TP1 pid=232) ERROR 08-14 16:03:25 [multiproc_executor.py:226] RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
      ...inCore(
        "Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.",
      ),
    ],
  },
} as const satisfies Readonly<Record<string, Recording>>;

/** Whole, from the folder of recordings. */
export const recorded: Readonly<Record<keyof typeof failures, readonly string[]>> = Object.fromEntries(
  Object.keys(failures).map((name) => [name, readRecording(name)]),
) as Record<keyof typeof failures, readonly string[]>;

function readRecording(name: string): readonly string[] {
  return readFileSync(join(recordedFolder, `${name}.txt`), "utf8")
    .trimEnd()
    .split("\n");
}

/** The lines of one of either kind; null where there is none of that name. */
export function linesOf(name: string): readonly string[] | null {
  const all = new Map<string, readonly string[]>([
    ...Object.entries(reported).map(([key, { lines }]) => [key, lines] as const),
    ...Object.entries(recorded),
  ]);
  return all.get(name) ?? null;
}

/** Of an engine that dies while it serves. */
export const illegalAccess: Recording = {
  source: "vllm-project/vllm#28028",
  lines: [
    "(EngineCore pid=104) ERROR 11-03 23:14:02 [core.py:1131] EngineCore encountered a fatal error.",
    "(EngineCore pid=104) ERROR 11-03 23:14:02 [core.py:1131] RuntimeError: CUDA error: an illegal memory access was encountered",
    "(EngineCore pid=104) ERROR 11-03 23:14:02 [core.py:1131] CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.",
    "(APIServer pid=31) ERROR 11-03 23:14:02 [async_llm.py:699] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
  ],
};

/** Of one that loads and says no more. */
export const loadingLines: readonly string[] = loading;
