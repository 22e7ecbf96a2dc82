/**
 * Where an instance goes: which GPUs of which node, or the CPU. Pure. Tells apart "never here" (a failure that names
 * what there is) from "not now" (a reason; ask again when something was freed).
 */
import type { DeploymentConfig } from "./deployment.ts";
import type { Failure } from "./failure.ts";
import { failure } from "./failure.ts";
import type { NodeCapacity, Placement } from "./instance.ts";

export type PlaceInput = {
  readonly config: Pick<DeploymentConfig, "gpu" | "numGpus">;
  readonly nodes: readonly NodeCapacity[];
  /** GPUs that instances hold, by id. */
  readonly occupiedGpus: ReadonlySet<string>;
  /** What the engine for this model can use; null while it is not known yet (then only "never here" is certain). */
  readonly engineRunsOn: "cpu" | "gpu" | null;
};

export type PlaceOutcome =
  | { readonly kind: "placed"; readonly placement: Placement; readonly reason: string }
  | { readonly kind: "not-now"; readonly reason: string }
  | { readonly kind: "never"; readonly failure: Failure };

export function placeInstance(input: PlaceInput): PlaceOutcome {
  const { config, nodes } = input;
  const onCpu =
    config.gpu === "other" && (input.engineRunsOn !== "gpu" || gpusOf(nodes, "other").length === 0);
  if (onCpu) return placeOnCpu(input);

  const fits = nodes.find((node) => gpusOf([node], config.gpu).length >= config.numGpus);
  if (fits === undefined) return { kind: "never", failure: missingGpu(config, nodes) };
  for (const node of nodes) {
    const free = gpusOf([node], config.gpu).filter((gpu) => !input.occupiedGpus.has(gpu.id));
    if (free.length < config.numGpus) continue;
    const gpus = free.slice(0, config.numGpus).map((gpu) => gpu.id);
    return {
      kind: "placed",
      placement: { node: node.node, gpus },
      reason: `${gpus.length} free ${config.gpu} on ${node.node}`,
    };
  }
  return { kind: "not-now", reason: `every ${config.gpu} is taken` };
}

function placeOnCpu(input: PlaceInput): PlaceOutcome {
  const node = input.nodes[0];
  if (node === undefined) return { kind: "not-now", reason: "no node has reported yet" };
  if (input.config.numGpus > 1) {
    return {
      kind: "never",
      failure: failure(
        "hardware_missing",
        `Here gpu "other" is the CPU, of which an instance takes one, and num_gpus is ${input.config.numGpus}.`,
        "Deploy again with num_gpus 1.",
      ),
    };
  }
  return { kind: "placed", placement: { node: node.node, gpus: [] }, reason: `the CPU of ${node.node}` };
}

function gpusOf(nodes: readonly NodeCapacity[], type: string) {
  return nodes.flatMap((node) => node.gpus.filter((gpu) => gpu.usable && gpu.type === type));
}

function missingGpu(config: PlaceInput["config"], nodes: readonly NodeCapacity[]): Failure {
  const wanted = `${config.numGpus} x ${config.gpu}`;
  const unusable = nodes.flatMap((node) => node.gpus.filter((gpu) => !gpu.usable));
  const why =
    unusable.length === 0
      ? ""
      : ` (${unusable.length} more cannot be used: ${unusable[0]?.reason ?? "unknown"})`;
  return failure(
    "hardware_missing",
    `No machine here has ${wanted}; there is ${describeHardware(nodes)}${why}.`,
    'Deploy again with a gpu that GET /deploy/llm/gpu_availability lists; "other" is the CPU where no other GPU is.',
  );
}

/** For example "2 x L4-24GB and the CPU (4 cores, 16 GB)". */
export function describeHardware(nodes: readonly NodeCapacity[]): string {
  const counts = new Map<string, number>();
  for (const gpu of nodes.flatMap((node) => node.gpus)) {
    if (gpu.usable) counts.set(gpu.type, (counts.get(gpu.type) ?? 0) + 1);
  }
  const parts = [...counts].map(([type, count]) => `${count} x ${type}`);
  const cores = nodes.reduce((sum, node) => sum + node.cpuCores, 0);
  const memoryGb = Math.round(nodes.reduce((sum, node) => sum + node.memoryBytes, 0) / 2 ** 30);
  parts.push(`the CPU (${cores} cores, ${memoryGb} GB)`);
  return parts.join(" and ");
}
