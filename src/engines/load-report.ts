/**
 * What engines print of the memory that they took once they had loaded a model, as values. Pure; owns the words of the
 * releases it knows. A line it does not know says nothing.
 */
import type { MeasuredMemory } from "../core/fit-measured.ts";

const gib = 2 ** 30;
const mib = 2 ** 20;

/** vLLM, of the fullest GPU: its workers print the same lines. Null where it said nothing of its weights. */
export function readVllmLoadReport(lines: readonly string[]): MeasuredMemory | null {
  const text = lines.join("\n");
  const weights = numbers(text, /(?:Model loading|Loading model weights) took ([\d.]+) Gi?B/g);
  if (weights.length === 0) return null;
  const outside = numbers(text, /non_torch_memory takes (-?[\d.]+)GiB/g);
  const peak = numbers(text, /PyTorch activation peak memory takes (-?[\d.]+)GiB/g);
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

/** llama.cpp prints a line a device and buffer; what the CPU keeps beside GPUs does not count. */
export function readLlamaLoadReport(lines: readonly string[]): MeasuredMemory | null {
  const buffers = lines.flatMap((line) => {
    const found =
      /:\s+(\S+) (model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB/.exec(line) ??
      /llm_load_tensors:\s+(\S+) ()buffer size\s*=\s*([\d.]+) MiB/.exec(line);
    if (found === null) return [];
    const [, device = "", kind = "", amount = ""] = found;
    return [{ device: device.replace(/_Mapped$/, ""), kind: kind || "model", bytes: Number(amount) * mib }];
  });
  const devices = Map.groupBy(buffers, ({ device }) => device);
  const onGpus = [...devices.keys()].filter((device) => /^(CUDA|ROCm|Vulkan|Metal|SYCL)\d*$/.test(device));
  const counted = onGpus.length > 0 ? onGpus : [...devices.keys()];
  const sums = counted.map((device) => {
    const of = (...kinds: readonly string[]) =>
      (devices.get(device) ?? [])
        .filter(({ kind }) => kinds.includes(kind))
        .reduce((sum, { bytes }) => sum + bytes, 0);
    return { weights: of("model"), work: of("compute", "output"), cache: of("KV", "RS") };
  });
  const weightBytes = total(
    sums.map(({ weights }) => weights),
    onGpus.length > 0,
  );
  if (weightBytes === 0) return null;
  return {
    weightBytes: positive(weightBytes),
    workBytes: positive(
      total(
        sums.map(({ work }) => work),
        onGpus.length > 0,
      ),
    ),
    cacheBytes: positive(
      total(
        sums.map(({ cache }) => cache),
        onGpus.length > 0,
      ),
    ),
    cacheTokens: null,
  };
}

/** GPUs are counted one by one, so that the fullest matters; the CPU's several buffers are one memory. */
function total(amounts: readonly number[], isByDevice: boolean): number {
  return isByDevice ? largest(amounts) : amounts.reduce((sum, amount) => sum + amount, 0);
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
