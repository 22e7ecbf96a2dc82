import { expect, test } from "vitest";
import type { InstanceRecord, NodeCapacity } from "../core/instance.ts";
import { listConfigurations, recommend } from "./gpu-availability.ts";

const gb = 2 ** 30;
const gpu = (id: string, type: string, usable = true) => ({
  id,
  type,
  name: type,
  memoryBytes: 12 * gb,
  usable,
  reason: null,
});
const node = (name: string, gpus: NodeCapacity["gpus"]): NodeCapacity => ({
  node: name,
  cpuCores: 4,
  memoryBytes: 15.6 * gb,
  gpus,
});
const holding = (...gpus: string[]): InstanceRecord => ({
  id: "i",
  deploymentId: "d",
  intent: "run",
  createdAtMs: 0,
  drainSinceMs: null,
  revision: 1,
  warmedAtMs: null,
  observed: {
    id: "i",
    deploymentId: "d",
    state: "running",
    endpoint: { kind: "unix", path: "/s" },
    slots: 1,
    contextTokens: 1,
    loadProgress: null,
    note: null,
    placement: { node: "a", gpus },
    startedAtMs: 0,
    readyAtMs: 0,
    failure: null,
  },
});
const list = (nodes: NodeCapacity[], instances: InstanceRecord[] = []) => {
  const found = listConfigurations(nodes, instances);
  const recommended = recommend(found, null);
  return found.map(
    ({ name, available }) => `${name}${available ? "" : " taken"}${recommended.has(name) ? " *" : ""}`,
  );
};

test("a machine without GPUs offers its CPU", () => {
  expect(list([node("a", [])])).toEqual(["1xother-16GB *"]);
});

test("an instance takes its GPUs from one node", () => {
  const nodes = [node("a", [gpu("1", "L4-24GB"), gpu("2", "L4-24GB")]), node("b", [gpu("3", "L4-24GB")])];
  expect(list(nodes)).toEqual(["1xL4-24GB *", "2xL4-24GB", "1xother-16GB"]);
  expect(list(nodes, [holding("1")])).toEqual(["1xL4-24GB *", "2xL4-24GB taken", "1xother-16GB"]);
  expect(list(nodes, [holding("1", "2", "3")])).toEqual([
    "1xL4-24GB taken",
    "2xL4-24GB taken",
    "1xother-16GB *",
  ]);
});

test("a GPU of no listed type is other; one that cannot be used is not offered", () => {
  expect(list([node("a", [gpu("1", "other")])])).toEqual(["1xother-12GB *"]);
  expect(list([node("a", [gpu("1", "H100-80GB", false)])])).toEqual(["1xother-16GB *"]);
});

test("no node has reported yet", () => {
  expect(list([])).toEqual([]);
});
