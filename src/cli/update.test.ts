/** `berth update`, `history` and `presets` against a small real server. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

let berth: StandIn;
const path = "/deploy/aaaabbbbccccdddd";
const before = sampleDeployment({
  standard_args: { max_context_size: 4096 },
  extra_args: ["--threads", "1"],
});
beforeEach(async () => {
  berth = await startStandIn();
  berth.answer("GET /deploy/list", () => ({ json: [before] }));
  berth.answer(`GET ${path}`, () => ({ json: before }));
  berth.answer(`PUT ${path}`, () => ({ json: { deploy_id: before.deploy_id } }));
});
afterEach(() => berth.close());

const run = (...argv: string[]) =>
  runCli(argv, { env: { BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" } });
const sent = (method: string) => berth.received.find((request) => request.method === method)?.body;

test("update changes the knobs that are named and keeps the others", async () => {
  const { code, stdout, stderr } = await run(
    ...["update", "qwen", "--set", "enable_prefix_caching=false", "--set", "kv_cache_dtype=", "--no-wait"],
  );
  expect([code, stdout], stderr).toEqual([0, "ann/qwen has its new arguments.\n"]);
  expect(sent("PUT")).toEqual({
    standard_args: { max_context_size: 4096, enable_prefix_caching: false, kv_cache_dtype: null },
  });
});

test("update replaces the engine's own arguments", async () => {
  await run("update", "qwen", "--arg=--threads", "--arg=2");
  expect(sent("PUT")).toEqual({ extra_args: ["--threads", "2"] });
});

test("update takes them away", async () => {
  await run("update", "qwen", "--no-args");
  expect(sent("PUT")).toEqual({ extra_args: [] });
});

test("update ends with the reason when it was taken back", async () => {
  const reverted = { ...before, update_error: "The engine ended. See the logs." };
  berth.answer(`GET ${path}`, () => ({ json: reverted }));
  const { code, stderr } = await run("update", "qwen", "--set", "max_context_size=1");
  expect([code, stderr]).toEqual([1, expect.stringContaining("were taken back: The engine ended.")]);
});

test("update restores an entry of the history, and needs one thing to do", async () => {
  berth.answer(`POST ${path}/config/history/3/restore`, () => ({ json: { deploy_id: before.deploy_id } }));
  expect((await run("update", "qwen", "--restore", "3")).code).toBe(0);
  expect((await run("update", "qwen")).code).toBe(2);
  expect((await run("update", "qwen", "--restore", "3", "--no-args")).code).toBe(2);
  expect((await run("update", "qwen", "--set", "nonsense")).code).toBe(2);
});

test("history and presets are tables", async () => {
  berth.answer(`GET ${path}/config/history`, () => ({
    json: [
      {
        ...{ entry_id: "1", retired_at: "2026-11-01T11:57:00+00:00" },
        ...{ standard_args: { max_context_size: 512 }, extra_args: [] },
      },
    ],
  }));
  const history = await run("history", "qwen");
  expect(history.stdout).toMatch(/^ENTRY +RETIRED +ARGUMENTS\n1 +3m +max_context_size=512\n$/);
  berth.answer("GET /deploy/llm/presets", () => ({
    json: [
      {
        ...{ id: "a/b@1xL4-24GB", gpu_configs: ["1xL4-24GB"], source: "deepinfra", engine: "vllm" },
        ...{ standard_args: {}, extra_args: ["--seed", "1"], label: "" },
      },
    ],
  }));
  const presets = await run("presets", "a/b", "--gpu", "L4-24GB");
  expect(presets.stdout).toContain("a/b@1xL4-24GB  1xL4-24GB  vllm    --seed 1");
  expect(berth.received.at(-1)?.path).toContain("hf_repo_id=a%2Fb&gpu=L4-24GB");
});
