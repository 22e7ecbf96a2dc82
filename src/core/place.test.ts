/** Placement: which GPUs, which node, why not; and that over any course of events no GPU is given twice and none leaks. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GpuType } from "./deployment.ts";
import type { GpuOutage, NodeCapacity, NodeGpu } from "./instance.ts";
import { type PlaceInput, placeInstance } from "./place.ts";

const gb = 1e9;
const gpu = (id: string, more: Partial<NodeGpu> = {}): NodeGpu => ({
  ...{
    id,
    type: "H100-80GB",
    name: "NVIDIA H100 80GB HBM3",
    memoryBytes: 85 * gb,
    usable: true,
    reason: null,
  },
  ...more,
});
const away = (outage: GpuOutage, reason: string): Partial<NodeGpu> => ({ usable: false, reason, outage });
const node = (name: string, gpus: readonly NodeGpu[], memoryGb = 64): NodeCapacity => ({
  ...{ node: name, cpuCores: 8, memoryBytes: memoryGb * gb, gpus },
});
/** Eight GPUs in two halves, each next to a memory of its own; NVLink within the given sets. */
function eight(prefix: string, linked: readonly (readonly number[])[] = [], type = "H100-80GB"): NodeGpu[] {
  return Array.from({ length: 8 }, (_, index) => {
    const peers = linked.find((set) => set.includes(index)) ?? [];
    return gpu(`${prefix}${index}`, {
      ...{ type, numaNode: index < 4 ? 0 : 1 },
      ...(linked.length === 0
        ? {}
        : { nvlinks: peers.filter((peer) => peer !== index).map((p) => `${prefix}${p}`) }),
    });
  });
}

function ask(
  nodes: readonly NodeCapacity[],
  numGpus: number,
  taken: readonly string[] = [],
  more: Partial<PlaceInput> & { readonly gpu?: GpuType } = {},
) {
  const { gpu: type = "H100-80GB", ...rest } = more;
  const input: PlaceInput = {
    ...{ config: { gpu: type, numGpus }, nodes, occupiedGpus: new Set(taken), engineRunsOn: "gpu" },
    ...rest,
  };
  return placeInstance(input);
}
const gpusOf = (outcome: ReturnType<typeof placeInstance>) =>
  outcome.kind === "placed" ? outcome.placement.gpus : outcome;

describe("which GPUs of a machine", () => {
  it("takes neighbours over NVLink before all else", () => {
    const pairs = node(
      "a",
      eight("g", [
        [0, 4],
        [1, 5],
        [2, 6],
        [3, 7],
      ]),
    );
    expect(gpusOf(ask([pairs], 2))).toEqual(["g0", "g4"]);
    expect(gpusOf(ask([pairs], 2, ["g0"]))).toEqual(["g1", "g5"]);
    expect(ask([pairs], 2)).toMatchObject({ reason: "2 of 8 free H100-80GB on a, joined by NVLink" });
  });

  it("without NVLink stays next to one memory, and says where it cannot", () => {
    const halves = node("a", eight("g"));
    expect(gpusOf(ask([halves], 4, ["g1"]))).toEqual(["g4", "g5", "g6", "g7"]);
    expect(ask([halves], 4, ["g1", "g5"])).toMatchObject({
      reason: "4 of 6 free H100-80GB on a, across 2 NUMA nodes",
    });
  });

  it("leaves whole groups for larger asks", () => {
    const halves = node("a", eight("g"));
    expect(gpusOf(ask([halves], 1, ["g4"]))).toEqual(["g5"]);
    expect(gpusOf(ask([halves], 2, ["g0", "g5"]))).toEqual(["g1", "g2"]);
    const fours = node(
      "a",
      eight("g", [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
      ]),
    );
    expect(gpusOf(ask([fours], 1, ["g0", "g1", "g2"]))).toEqual(["g3"]);
  });

  it("prefers those of which others hold the least", () => {
    const gpus = [gpu("a", { foreignBytes: 2 * gb }), gpu("b", { foreignBytes: gb }), gpu("c")];
    expect(gpusOf(ask([node("n", gpus)], 2))).toEqual(["b", "c"]);
    expect(ask([node("n", gpus)], 2)).toMatchObject({ reason: expect.stringMatching(/others hold 1\.0 GB/) });
  });

  it("gives parts of a card one at a time", () => {
    const parts = node(
      "n",
      [1, 2].map((i) => gpu(`MIG-${i}`, { type: "other", isSlice: true })),
    );
    expect(gpusOf(ask([parts], 1, [], { gpu: "other" }))).toEqual(["MIG-1"]);
    expect(ask([parts], 2, [], { gpu: "other" })).toMatchObject({ kind: "never" });
  });

  it("is quick with more free GPUs than it can compare", () => {
    const many = node(
      "n",
      Array.from({ length: 64 }, (_, i) => gpu(`g${i}`, { numaNode: i % 4 })),
    );
    expect(gpusOf(ask([many], 8))).toHaveLength(8);
  });
});

describe("which machine", () => {
  const three = [node("a", eight("a")), node("b", eight("b")), node("c", eight("c"))];
  it("takes the fullest one that has room, so that large asks still find some", () => {
    expect(gpusOf(ask(three, 2, ["b0", "b1", "b2", "b3", "c0"]))).toEqual(["b4", "b5"]);
    expect(gpusOf(ask(three, 8, ["a0", "b0"]))).toHaveLength(8);
  });
  it("takes the one that has the weights where there is nothing to choose", () => {
    expect(ask(three, 2, [], { cachedOn: new Set(["c"]) })).toMatchObject({
      placement: { node: "c" },
      reason: "2 of 8 free H100-80GB on c, where the weights are",
    });
    expect(ask(three, 2, ["b0"], { cachedOn: new Set(["c"]) })).toMatchObject({ placement: { node: "b" } });
  });
  it("never takes GPUs of two machines", () => {
    const taken = ["a0", "b0", "c0"];
    expect(ask(three, 8, taken)).toEqual({
      kind: "not-now",
      reason: "3 of 24 H100-80GB are taken, no machine has 8 free together",
    });
  });
});

describe("why not", () => {
  it("waits for what is taken or used by others, and names both", () => {
    const gpus = [gpu("a"), gpu("b", away("busy", "process 7 (python) uses it"))];
    expect(ask([node("n", gpus)], 2)).toEqual({
      kind: "not-now",
      reason:
        "0 of 2 H100-80GB are taken, 1 cannot be used now (b: process 7 (python) uses it), no machine has 2 free together",
    });
    expect(ask([node("n", [gpu("a")])], 1, ["a"])).toEqual({
      kind: "not-now",
      reason: "every H100-80GB is taken",
    });
  });
  it("does not wait for a GPU that is gone", () => {
    const outcome = ask([node("n", [gpu("a"), gpu("b", away("lost", "it has fallen off the bus"))])], 2);
    expect(outcome).toMatchObject({
      kind: "never",
      failure: { message: expect.stringMatching(/1 x H100-80GB and .*1 more cannot be used: it has fallen/) },
    });
  });
  it("does not let a GPU stand idle under an engine for the CPU", () => {
    expect(ask([node("n", [gpu("a")])], 1, [], { engineRunsOn: "cpu" })).toMatchObject({
      kind: "never",
      failure: {
        code: "hardware_missing",
        next: 'Deploy again with gpu "other", or install an engine for GPUs.',
      },
    });
  });
  it("does not take the CPU for a GPU that is away", () => {
    const gpus = [gpu("a", { type: "other", ...away("busy", "used") })];
    expect(ask([node("n", gpus)], 1, [], { gpu: "other" })).toMatchObject({ kind: "not-now" });
  });
  it("counts what the account holds, so also the second instance of an update", () => {
    const quota = { account: "ann", held: 2, limit: 3 };
    expect(ask([node("n", eight("g"))], 1, [], { quota })).toMatchObject({ kind: "placed" });
    expect(ask([node("n", eight("g"))], 2, [], { quota })).toEqual({
      kind: "not-now",
      reason: "the account ann has 2 of the 3 H100-80GB it may have",
    });
  });
});

describe("on the CPU", () => {
  const cpu = (nodes: readonly NodeCapacity[], more: Partial<PlaceInput> = {}) =>
    ask(nodes, 1, [], { gpu: "other", engineRunsOn: "cpu", ...more });
  const use = (instances: number, weightsGb: number) => ({ instances, weightsBytes: weightsGb * gb });

  it("spreads over cores, then goes where the weights are, then where memory is", () => {
    const nodes = [node("a", []), node("b", [], 128), node("c", [])];
    expect(cpu(nodes)).toMatchObject({ placement: { node: "b", gpus: [] } });
    expect(cpu(nodes, { cachedOn: new Set(["c"]) })).toMatchObject({ placement: { node: "c" } });
    expect(cpu(nodes, { cpuUse: new Map([["b", use(1, 1)]]) })).toMatchObject({ placement: { node: "a" } });
  });
  it("waits where others leave too little memory, and leaves to fit what an empty machine can hold", () => {
    const cpuUse = new Map([["a", use(1, 40)]]);
    expect(cpu([node("a", [])], { cpuUse, weightsBytes: 30 * gb })).toEqual({
      kind: "not-now",
      reason: "its weights take 30.0 GB, and other instances leave no machine that much memory",
    });
    expect(cpu([node("a", [])], { cpuUse, weightsBytes: 20 * gb })).toMatchObject({ kind: "placed" });
    expect(cpu([node("a", [])], { weightsBytes: 300 * gb })).toMatchObject({ kind: "placed" });
  });
});

/** Deployments that come, fail, move and go; GPUs that are lost, used by others, and come back. */
class Machines {
  readonly held = new Map<number, readonly string[]>();
  readonly outages = new Map<string, GpuOutage>();
  private ids = 0;
  private readonly nodes: readonly NodeCapacity[];
  constructor(nodes: readonly NodeCapacity[]) {
    this.nodes = nodes;
  }

  seen(): NodeCapacity[] {
    return this.nodes.map((each) => ({
      ...each,
      gpus: each.gpus.map((one) => {
        const outage = this.outages.get(one.id);
        return outage === undefined ? one : { ...one, ...away(outage, outage) };
      }),
    }));
  }

  start(numGpus: number): number | null {
    const taken = [...this.held.values()].flat();
    const nodes = this.seen();
    const outcome = ask(nodes, numGpus, taken);
    const free = nodes.map((each) => each.gpus.filter((one) => one.usable && !taken.includes(one.id)));
    const isPossible = free.some((gpus) => gpus.length >= numGpus);
    expect(outcome.kind === "placed").toBe(isPossible);
    if (outcome.kind !== "placed") return null;
    const { gpus, node: on } = outcome.placement;
    const home = free[nodes.findIndex((each) => each.node === on)]?.map(({ id }) => id) ?? [];
    expect(new Set(gpus).size).toBe(numGpus);
    expect(gpus.every((id) => home.includes(id))).toBe(true);
    this.ids += 1;
    this.held.set(this.ids, gpus);
    return this.ids;
  }

  /** A second one first, as an update has it; the old one goes if that found room, else it gives up its place. */
  move(id: number): void {
    const numGpus = this.held.get(id)?.length ?? 1;
    if (this.start(numGpus) === null) {
      this.held.delete(id);
      this.start(numGpus);
    } else this.held.delete(id);
  }

  checkNoGpuTwice(): void {
    const all = [...this.held.values()].flat();
    expect(new Set(all).size).toBe(all.length);
  }
}

type Step = { readonly do: "come" | "fail" | "move" | "go" | "outage" | "return"; readonly pick: number };
const steps = (length: number) =>
  fc.array(
    fc.record({
      do: fc.constantFrom<Step["do"]>("come", "come", "come", "fail", "move", "go", "go", "outage", "return"),
      pick: fc.nat(1 << 20),
    }),
    { minLength: length, maxLength: length },
  );

function run(machines: Machines, ids: readonly string[], course: readonly Step[]): void {
  for (const step of course) {
    const live = [...machines.held.keys()];
    const one = live[step.pick % Math.max(1, live.length)];
    const id = ids[step.pick % ids.length] ?? "";
    if (step.do === "come") machines.start([1, 2, 4, 8][step.pick % 4] ?? 1);
    else if (step.do === "outage") machines.outages.set(id, step.pick % 2 === 0 ? "lost" : "busy");
    else if (step.do === "return") machines.outages.clear();
    else if (one !== undefined && step.do === "move") machines.move(one);
    else if (one !== undefined) {
      const numGpus = machines.held.get(one)?.length ?? 1;
      machines.held.delete(one);
      if (step.do === "fail") machines.start(numGpus);
    }
    machines.checkNoGpuTwice();
  }
  machines.held.clear();
  machines.outages.clear();
  expect(machines.start(8)).not.toBeNull();
}

describe("over 10,000 steps", () => {
  it.each([
    ["one machine with NVLink between all", [node("a", eight("a", [[0, 1, 2, 3, 4, 5, 6, 7]]))]],
    [
      "one machine with pairs",
      [
        node(
          "a",
          eight("a", [
            [0, 1],
            [2, 3],
            [4, 5],
            [6, 7],
          ]),
        ),
      ],
    ],
    [
      "three machines",
      [
        node("a", eight("a")),
        node(
          "b",
          eight("b", [
            [0, 1, 2, 3],
            [4, 5, 6, 7],
          ]),
        ),
        node("c", eight("c")),
      ],
    ],
  ])("%s: no GPU twice, none leaks, and what can be placed is", (_name, nodes) => {
    const ids = nodes.flatMap((each) => each.gpus.map(({ id }) => id));
    fc.assert(
      fc.property(steps(500), (course) => run(new Machines(nodes), ids, course)),
      { numRuns: 21 },
    );
  });

  it("keeps an order that a seed fixes", () => {
    const nodes = [node("a", eight("a"))];
    const course = fc.sample(steps(200), { numRuns: 1, seed: 6 })[0] ?? [];
    const placements = () => {
      const machines = new Machines(nodes);
      for (const step of course) if (step.do === "come") machines.start([1, 2, 4, 8][step.pick % 4] ?? 1);
      return [...machines.held];
    };
    expect(placements()).toEqual(placements());
  });
});
