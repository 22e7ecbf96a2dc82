/**
 * What engines print of the memory that they took once they had loaded a model, as values. Pure; owns the words of the
 * releases it knows. A line it does not know says nothing.
 */
import { contextBytes, processBytes } from "../core/fit.ts";
import type { MeasuredMemory } from "../core/fit-measured.ts";

const gib = 2 ** 30;
const mib = 2 ** 20;

/** vLLM, of the fullest GPU: its workers print the same lines. Null where it said nothing of its weights. */
export function readVllmLoadReport(lines: readonly string[]): MeasuredMemory | null {
  const text = lines.join("\n");
  const weights = numbers(text, /(?:Model loading|Loading model weights) took ([\d.]+) Gi?B/g);
  if (weights.length === 0) return null;
  const outside = numbers(text, /non_torch_memory takes (-?[\d.]+)GiB/g);
  const peak = numbers(
    text,
    /(?:PyTorch activation peak memory|peak activation memory) takes (-?[\d.]+) ?GiB/g,
  );
  const work = largest(outside) + largest(peak);
  const cache = numbers(text, /(?:Available KV cache memory: |reserved for KV Cache is )(-?[\d.]+) ?GiB/g);
  const tokens = numbers(text.replaceAll(/(\d),(?=\d{3})/g, "$1"), /GPU KV cache size: ([\d.]+) tokens/g);
  return {
    weightBytes: positive(largest(weights) * gib),
    workBytes: positive(work * gib),
    cacheBytes: positive(Math.min(...cache, Number.POSITIVE_INFINITY) * gib),
    cacheTokens: positive(Math.min(...tokens, Number.POSITIVE_INFINITY)),
  };
}

const onGpu = /^(CUDA|ROCm|Vulkan|Metal|SYCL)\d*$/;

/**
 * llama.cpp prints a line a device and buffer. Of GPUs the fullest counts, each by itself, and what the CPU keeps beside them does
 * not; without one, all buffers are one memory. What its process and its driver take, it does not say: that stays an estimate.
 */
export function readLlamaLoadReport(lines: readonly string[]): MeasuredMemory | null {
  const devices = Map.groupBy(lines.flatMap(readBuffer), ({ device }) => device);
  const gpus = [...devices.keys()].filter((device) => onGpu.test(device));
  const counted = gpus.length > 0 ? gpus : [...devices.keys()];
  const sums = counted.map((device) => sumBuffers(devices.get(device) ?? []));
  const total = (amounts: number[]) =>
    gpus.length > 0 ? largest(amounts) : amounts.reduce((sum, amount) => sum + amount, 0);
  const weightBytes = total(sums.map(({ weights }) => weights));
  if (weightBytes === 0) return null;
  const workBytes = total(sums.map(({ work }) => work));
  return {
    weightBytes: positive(weightBytes),
    workBytes: workBytes === 0 ? null : positive(workBytes + (gpus.length > 0 ? contextBytes : processBytes)),
    cacheBytes: positive(total(sums.map(({ cache }) => cache))),
    cacheTokens: null,
  };
}

type LlamaBuffer = { readonly device: string; readonly kind: string; readonly bytes: number };

function readBuffer(line: string): LlamaBuffer[] {
  const found =
    /:\s+(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB/.exec(line) ??
    /llm_load_tensors:\s+(\S+) ()buffer size\s*=\s*([\d.]+) MiB/.exec(line);
  if (found === null) return [];
  const [, device = "", kind = "", amount = ""] = found;
  return [{ device: device.replace(/_Mapped$/, ""), kind: kind || "model", bytes: Number(amount) * mib }];
}

function sumBuffers(buffers: readonly LlamaBuffer[]): { weights: number; work: number; cache: number } {
  const of = (...kinds: readonly string[]) =>
    buffers.filter(({ kind }) => kinds.includes(kind)).reduce((sum, { bytes }) => sum + bytes, 0);
  return { weights: of("model"), work: of("compute", "output"), cache: of("KV", "RS") };
}

function numbers(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((found) => Number(found[1])).filter(Number.isFinite);
}

function largest(values: readonly number[]): number {
  return Math.max(0, ...values);
}

function positive(value: number): number | null {
  return Number.isFinite(value) && value > 0 ? Math.round(value) : null;
}
