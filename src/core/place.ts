/**
 * Where an instance goes: which GPUs of which node, or the CPU. Pure. Tells apart "never here" (a failure that names
 * what there is) from "not now" (a reason; ask again when something was freed).
 */
import type { DeploymentConfig } from "./deployment.ts";
import type { Failure } from "./failure.ts";
import { failure } from "./failure.ts";
import type { NodeCapacity, NodeGpu, Placement } from "./instance.ts";
import { chooseGpus, compareChoices, type GpuChoice } from "./place-gpus.ts";

/** What instances without a GPU hold of a node. */
export type CpuUse = { readonly instances: number; readonly weightsBytes: number };

export type PlaceInput = {
  readonly config: Pick<DeploymentConfig, "gpu" | "numGpus">;
  readonly nodes: readonly NodeCapacity[];
  /** GPUs that instances hold, by id. */
  readonly occupiedGpus: ReadonlySet<string>;
  /** What the engine for this model can use; null while it is not known yet (then only "never here" is certain). */
  readonly engineRunsOn: "cpu" | "gpu" | null;
  /** Bytes of the weights; absent while they are not known. */
  readonly weightsBytes?: number | undefined;
  /** By node, without this deployment's own: its instances on a node share the weights. Absent means none. */
  readonly cpuUse?: ReadonlyMap<string, CpuUse> | undefined;
  /** What the account's instances hold of this type (one each on the CPU), and how much they may. Absent means no limit. */
  readonly quota?: { readonly account: string; readonly held: number; readonly limit: number } | undefined;
  /** Nodes that have the weights on their disk already. */
  readonly cachedOn?: ReadonlySet<string> | undefined;
};

export type PlaceOutcome =
  | { readonly kind: "placed"; readonly placement: Placement; readonly reason: string }
  | { readonly kind: "not-now"; readonly reason: string }
  | { readonly kind: "never"; readonly failure: Failure };

export function placeInstance(input: PlaceInput): PlaceOutcome {
  const { config, nodes } = input;
  const others = nodes.flatMap(({ gpus }) => gpus.filter((gpu) => gpu.type === "other" && mayServe(gpu)));
  const onCpu = config.gpu === "other" && (input.engineRunsOn !== "gpu" || others.length === 0);
  const outcome = onCpu ? placeOnCpu(input) : placeOnGpus(input);
  return outcome.kind === "placed" ? (refuseByQuota(input) ?? outcome) : outcome;
}

function placeOnGpus(input: PlaceInput): PlaceOutcome {
  const { config, nodes } = input;
  const hasRoom = nodes.some((node) => suited(node, config).filter(isExpected).length >= config.numGpus);
  if (!hasRoom) return { kind: "never", failure: missingGpu(config, nodes) };
  if (input.engineRunsOn === "cpu") return { kind: "never", failure: idleGpu(config) };
  const offers = nodes.flatMap((node, index) => offerOf(node, index, input) ?? []);
  const best = offers.reduce<Offer | null>(
    (found, offer) => (found === null || compareOffers(offer, found) < 0 ? offer : found),
    null,
  );
  if (best === null) return { kind: "not-now", reason: whyNotNow(input) };
  return {
    kind: "placed",
    placement: { node: best.node, gpus: best.choice.gpus.map(({ id }) => id) },
    reason: describeOffer(best, config),
  };
}

type Offer = {
  readonly node: string;
  readonly index: number;
  readonly choice: GpuChoice;
  /** GPUs of the type that are free there before this instance. */
  readonly free: number;
  readonly isCached: boolean;
};

function offerOf(node: NodeCapacity, index: number, input: PlaceInput): Offer | null {
  const free = suited(node, input.config).filter((gpu) => gpu.usable && !input.occupiedGpus.has(gpu.id));
  const choice = chooseGpus(free, input.config.numGpus);
  if (choice === null) return null;
  const isCached = input.cachedOn?.has(node.node) === true;
  return { node: node.node, index, choice, free: free.length, isCached };
}

/** Neighbours first; then the tightest fit, so that large asks still find room; then where the weights are. */
function compareOffers(a: Offer, b: Offer): number {
  return (
    a.choice.unlinkedPairs - b.choice.unlinkedPairs ||
    a.choice.numaNodes - b.choice.numaNodes ||
    a.free - b.free ||
    Number(b.isCached) - Number(a.isCached) ||
    compareChoices(a.choice, b.choice) ||
    a.index - b.index
  );
}

function describeOffer(
  { node, choice, free, isCached }: Offer,
  { gpu, numGpus }: PlaceInput["config"],
): string {
  const parts = [`${numGpus} of ${free} free ${gpu} on ${node}`];
  if (numGpus > 1 && choice.unlinkedPairs === 0) parts.push("joined by NVLink");
  else if (numGpus > 1 && choice.numaNodes > 1) parts.push(`across ${choice.numaNodes} NUMA nodes`);
  if (isCached) parts.push("where the weights are");
  if (choice.foreignBytes > 0) parts.push(`of which others hold ${toGb(choice.foreignBytes)} GB`);
  return parts.join(", ");
}

function whyNotNow({ config, nodes, occupiedGpus }: PlaceInput): string {
  const all = nodes.flatMap((node) => suited(node, config).filter(isExpected));
  const taken = all.filter((gpu) => gpu.usable && occupiedGpus.has(gpu.id)).length;
  const away = all.filter((gpu) => !gpu.usable);
  if (taken === all.length) return `every ${config.gpu} is taken`;
  const free = all.length - taken - away.length;
  const parts = [`${taken} of ${all.length} ${config.gpu} are taken`];
  const first = away[0];
  if (first !== undefined) parts.push(`${away.length} cannot be used now (${first.id}: ${first.reason})`);
  if (free > 0) parts.push(`no machine has ${config.numGpus} free together`);
  return parts.join(", ");
}

function placeOnCpu(input: PlaceInput): PlaceOutcome {
  if (input.nodes.length === 0) return { kind: "not-now", reason: "no node has reported yet" };
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
  const needBytes = input.weightsBytes ?? 0;
  const useOf = (node: NodeCapacity) => input.cpuUse?.get(node.node) ?? { instances: 0, weightsBytes: 0 };
  const freeBytes = (node: NodeCapacity) => node.memoryBytes - useOf(node).weightsBytes;
  // A node that holds nothing takes anything: whether that can be loaded is a question of fit, not of room.
  const roomy = input.nodes.filter((node) => useOf(node).instances === 0 || freeBytes(node) >= needBytes);
  const [node] = [...roomy].sort(
    (a, b) =>
      useOf(a).instances / a.cpuCores - useOf(b).instances / b.cpuCores ||
      Number(input.cachedOn?.has(b.node) === true) - Number(input.cachedOn?.has(a.node) === true) ||
      freeBytes(b) - freeBytes(a),
  );
  if (node === undefined) {
    const reason = `its weights take ${toGb(needBytes)} GB, and other instances leave no machine that much memory`;
    return { kind: "not-now", reason };
  }
  return { kind: "placed", placement: { node: node.node, gpus: [] }, reason: `the CPU of ${node.node}` };
}

/** Counts what is held, so also the further instance of an update. */
function refuseByQuota({ quota, config }: PlaceInput): PlaceOutcome | null {
  if (quota === undefined || quota.held + config.numGpus <= quota.limit) return null;
  return {
    kind: "not-now",
    reason: `the account ${quota.account} has ${quota.held} of the ${quota.limit} ${config.gpu} it may have`,
  };
}

/** GPUs of the type that can serve such an instance: an engine takes one part of a card at most. */
function suited({ gpus }: NodeCapacity, { gpu: type, numGpus }: PlaceInput["config"]): NodeGpu[] {
  return gpus.filter((gpu) => gpu.type === type && (numGpus === 1 || gpu.isSlice !== true));
}

/** Usable, now or after an outage. */
function mayServe(gpu: NodeGpu): boolean {
  return gpu.usable || gpu.outage !== undefined;
}

/** Usable now, or as soon as somebody else is done with it. */
function isExpected(gpu: NodeGpu): boolean {
  return gpu.usable || gpu.outage === "busy";
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

function idleGpu({ gpu }: PlaceInput["config"]): Failure {
  return failure(
    "hardware_missing",
    `The engine that loads this repository here runs on the CPU, so that the ${gpu} would stand idle.`,
    'Deploy again with gpu "other", or install an engine for GPUs.',
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

function toGb(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}
