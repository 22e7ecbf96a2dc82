/** The lines are from public reports: vllm-project/vllm issues 13061, 8031 and 28228, ollama/ollama issue 16480. */
import { expect, test } from "vitest";
import { readLlamaLoadReport, readVllmLoadReport } from "./load-report.ts";

const gib = 2 ** 30;
const mib = 2 ** 20;

test("vLLM with a profile in words", () => {
  const lines = [
    "(VllmWorkerProcess pid=1786) INFO 02-11 07:40:45 model_runner.py:1115] Loading model weights took 13.9476 GB",
    "INFO 02-11 07:40:45 model_runner.py:1115] Loading model weights took 13.9476 GB",
    "INFO 02-11 07:40:47 worker.py:267] model weights take 13.95GiB; non_torch_memory takes 0.25GiB; PyTorch activation peak memory takes 0.19GiB; the rest of the memory reserved for KV Cache is 8.69GiB.",
  ];
  expect(readVllmLoadReport(lines)).toEqual({
    weightBytes: Math.round(13.9476 * gib),
    workBytes: Math.round(0.44 * gib),
    cacheBytes: Math.round(8.69 * gib),
    cacheTokens: null,
  });
});

test("vLLM of later releases", () => {
  const lines = [
    "(Worker_TP0 pid=26347) INFO 11-06 10:51:09 [gpu_model_runner.py:2930] Model loading took 14.2488 GiB memory and 20.1 seconds",
    "(Worker_TP0 pid=26347) INFO 11-06 10:51:48 [gpu_worker.py:349] Available KV cache memory: 2.30 GiB",
    "(EngineCore_DP0 pid=26283) INFO 11-06 10:51:48 [kv_cache_utils.py:1229] GPU KV cache size: 75,840 tokens",
  ];
  expect(readVllmLoadReport(lines)).toEqual({
    weightBytes: Math.round(14.2488 * gib),
    workBytes: null,
    cacheBytes: Math.round(2.3 * gib),
    cacheTokens: 75_840,
  });
  expect(readVllmLoadReport(["INFO nothing of the kind"])).toBeNull();
  const peak = "INFO [gpu_worker.py:1] peak activation memory takes 1.25 GiB";
  expect(readVllmLoadReport([...lines, peak])?.workBytes).toBe(1.25 * gib);
});

test("llama.cpp on a GPU, with a part left to the CPU", () => {
  const lines = [
    "load_tensors:   CPU_Mapped model buffer size =   586.82 MiB",
    "load_tensors:        ROCm0 model buffer size = 59851.68 MiB",
    "llama_context:  ROCm_Host  output buffer size =     1.53 MiB",
    "llama_kv_cache:      ROCm0 KV buffer size =  9216.00 MiB",
    "llama_kv_cache: size = 9216.00 MiB (131072 cells,  18 layers,  2/2 seqs), K (f16): 4608.00 MiB, V (f16): 4608.00 MiB",
    "llama_kv_cache:      ROCm0 KV buffer size =    90.00 MiB",
    "llama_context:      ROCm0 compute buffer size =   820.02 MiB",
  ];
  expect(readLlamaLoadReport(lines)).toEqual({
    weightBytes: Math.round(59851.68 * mib),
    workBytes: Math.round((820.02 + 600) * mib),
    cacheBytes: 9306 * mib,
    cacheTokens: null,
  });
});

test("llama.cpp's server of 2026, which prints them when it is asked for more than the usual", () => {
  const lines = [
    "0.00.191.839 I load_tensors:   CPU_Mapped model buffer size =     4.25 MiB",
    "0.00.220.298 I llama_context:        CPU  output buffer size =     0.01 MiB",
    "0.00.220.374 I llama_kv_cache:        CPU KV buffer size =     7.50 MiB",
    "0.00.306.718 I sched_reserve:        CPU compute buffer size =     5.14 MiB",
  ];
  expect(readLlamaLoadReport(lines)).toEqual({
    weightBytes: 4.25 * mib,
    workBytes: Math.round(205.15 * mib),
    cacheBytes: 7.5 * mib,
    cacheTokens: null,
  });
});

test("llama.cpp on the CPU counts all its buffers", () => {
  const lines = [
    "load_tensors:   CPU_Mapped model buffer size =   200.00 MiB",
    "load_tensors:   CPU_REPACK model buffer size =   100.00 MiB",
    "llama_kv_cache:        CPU KV buffer size =   180.00 MiB",
    "llama_context:        CPU compute buffer size =   105.00 MiB",
  ];
  expect(readLlamaLoadReport(lines)).toEqual({
    weightBytes: 300 * mib,
    workBytes: 305 * mib,
    cacheBytes: 180 * mib,
    cacheTokens: null,
  });
  expect(readLlamaLoadReport([])).toBeNull();
});
