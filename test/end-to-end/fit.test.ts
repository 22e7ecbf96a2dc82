/**
 * A model that this machine cannot hold: Berth says so from its header, with the sum, and fetches nothing of it. The
 * same answer before deploying, over the API and on the command line.
 */
import { execFile } from "node:child_process";
import { totalmem } from "node:os";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type HeaderHub, startHeaderHub } from "../../tools/model-headers/hub.ts";
import { denseModel } from "../../tools/model-headers/large.ts";
import { type Berth, startBerth, token, until } from "../harness/berth.ts";

const run = promisify(execFile);
/** A GGUF says neither of what is left out. */
const { quant_method: _, max_position_embeddings: __, ...config } = denseModel;

let hub: HeaderHub;
let berth: Berth;

beforeAll(async () => {
  // 430 GB in 8 bits: no machine that runs tests has so much memory.
  expect(totalmem()).toBeLessThan(400e9);
  const small = {
    ...config,
    num_hidden_layers: 4,
    hidden_size: 1024,
    intermediate_size: 2048,
    num_attention_heads: 16,
  };
  hub = await startHeaderHub([
    { name: "acme/huge-GGUF", config, shards: "gguf" },
    { name: "acme/small-GGUF", config: small, shards: "gguf" },
  ]);
  berth = await startBerth({
    env: { HF_ENDPOINT: hub.url, BERTH_HUB_PRIVATE: "true", BERTH_STARTER: "false" },
  });
  await until(
    "Berth answers",
    async () => (await berth.call("GET", "/v1/me").catch(() => null))?.status === 200,
  );
});
afterAll(async () => {
  await berth?.end();
  await hub?.close();
});

test("it fails at once, with the sum, and nothing of its weights is fetched", async () => {
  const body = { model_name: "huge", gpu: "other", hf: { repo: "acme/huge-GGUF" } };
  const { deploy_id: id } = (await berth.call("POST", "/deploy/llm", body)).body;
  const failed = await until("it has failed", async () => {
    const { body: seen } = await berth.call("GET", `/deploy/${id}`);
    return seen.status === "failed" ? seen : null;
  });
  expect(failed.fail_reason).toMatch(
    /^acme\/huge-GGUF does not fit on the CPU: it needs 40\d GiB of weights, [\d.]+ [GM]iB to work in and the cache .* that the machine has for it\. No configuration of this installation holds it: choose a smaller model or quantization\.$/,
  );
  const { events } = (await berth.call("GET", `/deploy/${id}/events`)).body;
  expect(events.map(({ code }) => code)).toEqual(expect.arrayContaining(["resolved", "fit", "failed"]));
  expect(events.some(({ code }) => code === "weights_ready")).toBe(false);
  expect(hub.sentBytes()).toBeLessThan(1e6);
});

test("the API says it before, and what would hold it", async () => {
  const answer = await berth.call(
    "GET",
    "/v1/berth/fit?source=acme/huge-GGUF&gpu=other&context=4096&max_batch_size=1",
  );
  expect(answer.raw).toMatchObject({
    engine: "embedded",
    model: { architecture: "llama", quantization: "Q8_0" },
    asked: { num_gpus: 0, verdict: "does_not_fit", context_for_one: 0 },
  });
  const { configurations } = answer.raw as {
    configurations: { gpu: string; num_gpus: number; here: boolean }[];
  };
  expect(configurations.every(({ here }) => !here)).toBe(true);
  expect(configurations).toContainEqual(
    expect.objectContaining({ gpu: "H100-80GB", num_gpus: 8, verdict: "fits" }),
  );
  const missing = await berth.call("GET", "/v1/berth/fit?source=acme/nothing");
  expect(missing.status).toBe(404);
  expect((await berth.call("GET", "/v1/berth/fit?source=nothing")).status).toBe(400);
  expect((await berth.call("GET", "/v1/berth/fit?source=acme/huge-GGUF", undefined, null)).status).toBe(401);
});

test("what is here is recommended for what it holds, and for nothing else", async () => {
  const recommended = async (source: string) => {
    const { raw } = await berth.call("GET", `/deploy/llm/gpu_availability?source=${source}`);
    return (raw as { gpus: { recommended: boolean }[] }).gpus.map((one) => one.recommended);
  };
  expect(await recommended("acme/small-GGUF")).toEqual([true]);
  expect(await recommended("acme/huge-GGUF")).toEqual([false]);
});

test("and so does the command line", async () => {
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const args = [main, "--url", berth.url, "fit", "acme/huge-GGUF", "--gpu", "other", "--max-batch-size", "1"];
  const env = { PATH: process.env.PATH ?? "", BERTH_API_TOKEN: token, NO_COLOR: "1" };
  const { stdout } = await run(process.execPath, args, { env });
  expect(stdout).toContain("llama, 405.9 billion parameters, Q8_0");
  expect(stdout).toContain("It does not fit on the CPU.");
  expect(stdout).toMatch(/40\d\.\d GiB {2}weights, Q8_0/);
  expect(stdout).toMatch(/8 x H100-80GB +no +8192 +1 x 8192/);
});
