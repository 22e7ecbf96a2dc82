/** The ledger of what is given: from the decision on, until the driver has ended it. */
import { expect, it } from "vitest";
import type { Deployment } from "../core/deployment.ts";
import type { ObservedInstance } from "../core/instance.ts";
import { createRoom } from "./room.ts";

const deployment = (id: string, account: string, gpu: string, numGpus: number, bytes = 0): Deployment =>
  ({
    ...{ id, account, config: { gpu, numGpus } },
    resolved: bytes === 0 ? null : { files: [{ bytes }] },
  }) as unknown as Deployment;
const known = new Map(
  [
    deployment("d1", "ann", "H100-80GB", 2),
    deployment("d2", "bob", "H100-80GB", 1),
    deployment("c1", "ann", "other", 1, 100),
    deployment("c2", "ann", "other", 1, 30),
  ].map((each) => [each.id, each]),
);
const get = (id: string) => known.get(id) ?? deployment(id, "", "other", 1);
const seen = (id: string, deploymentId: string, ...gpus: string[]) =>
  ({ id, deploymentId, placement: { node: "n", gpus } }) as unknown as ObservedInstance;
const open = () => createRoom({ deployment: async (id) => known.get(id) ?? null }, async () => 4);
const taken = async (room: ReturnType<typeof open>) => [...(await room.bounds(get("d1"))).occupiedGpus];

it("gives nothing twice between the decision and the driver's first sight of it", async () => {
  const room = open();
  expect(room.take("i1", "d1", { node: "n", gpus: ["a", "b"] })).toBe(true);
  expect(room.take("i2", "d2", { node: "n", gpus: ["b"] })).toBe(false);
  room.sync([]);
  expect(await taken(room)).toEqual(["a", "b"]);
  expect(room.take("i2", "d2", { node: "n", gpus: ["c"] })).toBe(true);
});

it("lets go of what ended, was seen and is gone, or never came", async () => {
  const room = open();
  room.take("i1", "d1", { node: "n", gpus: ["a"] });
  room.release("i1");
  room.sync([seen("i2", "d2", "b"), seen("orphan", "gone", "c")]);
  expect(await taken(room)).toEqual(["b", "c"]);
  room.sync([seen("i2", "d2", "b")]);
  expect(await taken(room)).toEqual(["b"]);
});

it("counts what an account holds of a type, and the memory of the CPU once for a deployment", async () => {
  const room = open();
  room.sync([seen("i1", "d1", "a", "b"), seen("i2", "d2", "c"), seen("i3", "c1"), seen("i4", "c1")]);
  expect((await room.bounds(get("d1"))).quota).toEqual({ account: "ann", held: 2, limit: 4 });
  const { cpuUse, quota } = await room.bounds(get("c2"));
  expect(quota.held).toBe(2);
  expect(cpuUse.get("n")).toMatchObject({ instances: 2, weightsBytes: 100 });
  expect((await room.bounds(get("c1"))).cpuUse.size).toBe(0);
});
