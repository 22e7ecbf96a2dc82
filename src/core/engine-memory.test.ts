import { expect, test } from "vitest";
import { explainLimit, memoryLimit } from "./engine-memory.ts";
import { failure } from "./failure.ts";
import type { Fit } from "./fit.ts";

const gib = 2 ** 30;
const found = {
  memoryBytes: 24 * gib,
  lines: [
    { what: "weights", bytes: 4 * gib, text: "" },
    { what: "cache", bytes: 100 * gib, text: "" },
    { what: "runtime", bytes: gib, text: "" },
    { what: "reserve", bytes: 2 * gib, text: "" },
  ],
} as unknown as Fit;
const llama = { kind: "llamacpp", mostCacheBytes: 3 * gib } as const;

test("by itself the sum of what the model needs and a quarter more, the cache as large as it may become", () => {
  expect(memoryLimit("auto", found, llama, 0)).toBe(10.5 * gib);
  expect(memoryLimit("auto", found, { ...llama, mostCacheBytes: null }, 0)).toBe(24 * gib);
  expect(memoryLimit("auto", null, llama, 0)).toBeNull();
});

test("one number for all, or none; engines on GPUs have none", () => {
  expect(memoryLimit(5 * gib, null, llama, 0)).toBe(5 * gib);
  expect(memoryLimit("off", found, llama, 0)).toBeNull();
  expect(memoryLimit(5 * gib, found, llama, 2)).toBeNull();
});

test("an engine that met its limit says what the limit is", () => {
  const cause = failure("out_of_memory", "It could not make room for the context.", "Buy memory.");
  expect(explainLimit(cause, 1.5 * gib, false)).toMatchObject({
    message: "It could not make room for the context. An engine here may have 1.5 GiB.",
    next: "Buy memory. BERTH_ENGINE_MEMORY gives engines more.",
  });
  const killed = failure("out_of_memory", "It was killed.", "");
  expect(explainLimit(killed, 300 * 2 ** 20, true).message).toBe(
    "The engine used more memory than the 300 MiB that it may have, and the kernel ended it.",
  );
  expect(explainLimit(cause, null, true)).toBe(cause);
  const other = failure("engine_crashed", "It fell.", "See.");
  expect(explainLimit(other, gib, false)).toBe(other);
});
