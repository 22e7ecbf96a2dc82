import { expect, test } from "vitest";
import { type DoubtInput, doubtInstances, doubtPauseMs } from "./doubt.ts";
import type { InstanceRecord } from "./instance.ts";

const instance = (id: string, state: "starting" | "running") =>
  ({ id, intent: "run", observed: { state } }) as InstanceRecord;

const input: DoubtInput = {
  now: 100_000,
  live: [instance("a", "running"), instance("b", "running"), instance("c", "starting")],
  suspects: ["a", "c", "gone"],
  asking: new Set(),
  answeredAtMs: new Map(),
};

test("only what says it is well and fails is asked, once at a time", () => {
  expect(doubtInstances(input)).toEqual({ ask: ["a"], againAtMs: null });
  expect(doubtInstances({ ...input, asking: new Set(["a"]) })).toEqual({ ask: [], againAtMs: null });
  expect(doubtInstances({ ...input, suspects: [] })).toEqual({ ask: [], againAtMs: null });
});

test("what has answered is left alone for a while, and then asked again", () => {
  const answered = { ...input, answeredAtMs: new Map([["a", 90_000]]) };
  expect(doubtInstances(answered)).toEqual({ ask: [], againAtMs: 90_000 + doubtPauseMs });
  expect(doubtInstances({ ...answered, now: 90_000 + doubtPauseMs })).toEqual({
    ask: ["a"],
    againAtMs: null,
  });
});
