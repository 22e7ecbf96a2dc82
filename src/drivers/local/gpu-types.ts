/** Which of the API's GPU types a card is, from the name that NVIDIA's driver reports. Pure. */
import type { GpuType } from "../../core/deployment.ts";

/** Names as in `nvidia-smi --query-gpu=name`; bytes as the type's name promises. */
const listed: readonly { readonly pattern: RegExp; readonly type: GpuType; readonly gigabytes: number }[] = [
  { pattern: /\bL4\b/, type: "L4-24GB", gigabytes: 24 },
  { pattern: /\bL40S\b/, type: "L40S-48GB", gigabytes: 48 },
  { pattern: /\bA100\b/, type: "A100-80GB", gigabytes: 80 },
  { pattern: /\bH100\b/, type: "H100-80GB", gigabytes: 80 },
  { pattern: /\bH200\b/, type: "H200-141GB", gigabytes: 141 },
  { pattern: /\bB200\b/, type: "B200-180GB", gigabytes: 180 },
  { pattern: /\bB300\b/, type: "B300-270GB", gigabytes: 270 },
  { pattern: /\bRTX PRO 6000\b/, type: "RTXPRO6000-96GB", gigabytes: 96 },
];

/** Cards report a few percent less than their name says (error correction, the driver's own share). */
const tolerance = 0.95;

/** A listed type whose memory is less than its name says (a 40 GB A100, a slice of a card) is `other`. */
export function gpuTypeOf(name: string, memoryBytes: number): GpuType {
  const match = listed.find(({ pattern }) => pattern.test(name));
  return match !== undefined && memoryBytes >= match.gigabytes * 1e9 * tolerance ? match.type : "other";
}
