/**
 * How an engine is told which GPUs are its own, by id, so that it sees no others whatever their order. Pure. One without GPUs
 * is told that there are none: libraries take the first they find.
 */
import type { Placement } from "../../core/instance.ts";

export function deviceEnvironment({ gpus }: Placement): Readonly<Record<string, string>> {
  return { CUDA_DEVICE_ORDER: "PCI_BUS_ID", CUDA_VISIBLE_DEVICES: gpus.join(",") };
}
