/** What requests used reaches the statistics, whichever process dies meanwhile; each request counts once. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Berth, startBerth, until } from "../harness/berth.ts";

let berth: Berth;
let id = "";

beforeAll(async () => {
  berth = await startBerth();
  const { raw } = await berth.call("GET", "/deploy/list");
  const starter = (raw as { deploy_id: string; model_name: string }[]).find(
    (each) => each.model_name === "berth/starter",
  );
  id = starter?.deploy_id ?? "";
  await chat();
});
afterAll(async () => await berth?.end());

async function chat(): Promise<{ input: number; output: number }> {
  const answer = await berth.call("POST", "/v1/chat/completions", {
    model: "berth/starter",
    messages: [{ role: "user", content: "What is 3 + 4?" }],
    max_tokens: 8,
  });
  expect(answer.status).toBe(200);
  const { usage } = answer.raw as { usage: { prompt_tokens: number; completion_tokens: number } };
  return { input: usage.prompt_tokens, output: usage.completion_tokens };
}

type Stats = { requests: number; input_tokens: number; output_tokens: number; errors: number };

async function untilRequests(requests: number): Promise<Stats> {
  return await until(`${requests} requests in the statistics`, async () => {
    const { status, raw } = await berth.call("GET", `/deploy/${id}/stats?from=now-1h`);
    return status === 200 && (raw as Stats).requests >= requests ? (raw as Stats) : null;
  });
}

test("each request counts once, with its tokens, through kills of control and of the gateway", async () => {
  const { input, output } = await chat();
  const two = await untilRequests(2);
  expect(two).toMatchObject({ requests: 2, input_tokens: 2 * input, output_tokens: 2 * output, errors: 0 });

  const [control = 0] = berth.pids("control");
  process.kill(control, "SIGKILL");
  for (let count = 0; count < 5; count += 1) await chat();
  expect(await untilRequests(7)).toMatchObject({ requests: 7, input_tokens: 7 * input });

  // What is on disk outlives the gateway; the next one delivers it.
  await chat();
  const spool = join(berth.home, "spool");
  await until("the record to be on disk, or to have been delivered", async () => {
    const files = readdirSync(spool, { recursive: true }).filter((name) => /open|ndjson/.test(String(name)));
    const { raw } = await berth.call("GET", `/deploy/${id}/stats?from=now-1h`);
    return files.length > 0 || (raw as Stats).requests === 8;
  });
  const [gateway = 0] = berth.pids("gateway");
  process.kill(gateway, "SIGKILL");
  await until("a new gateway", async () => {
    const [now = 0] = berth.pids("gateway");
    return (
      now !== 0 && now !== gateway && (await fetch(`${berth.url}/readyz`).catch(() => null))?.status === 200
    );
  });
  expect((await untilRequests(8)).requests).toBe(8);

  const detailed = await berth.call("GET", `/deploy/${id}/stats2?from=now-1h`);
  const { llm } = detailed.raw as { llm: { requests: number; avg_ttft_ms: number; avg_tpt_ms: number } };
  expect(llm.requests).toBe(8);
  expect(llm.avg_ttft_ms).toBeGreaterThan(0);
});

test("GPU time runs while an instance does", async () => {
  const { raw } = await berth.call("GET", "/payment/usage/rent?from=0");
  // The starter is the built-in account's.
  expect(raw).toEqual({ id_to_duration: {} });
  const made = await berth.call("POST", "/deploy/llm", {
    model_name: "mine",
    gpu: "other",
    base_model: "berth/starter",
  });
  const own = made.body.deploy_id;
  const seconds = async () => {
    const rent = await berth.call("GET", "/payment/usage/rent?from=0");
    return (rent.raw as { id_to_duration: Record<string, number> }).id_to_duration[own];
  };
  await until("GPU time", async () => ((await seconds()) ?? 0) >= 1);
  await berth.call("DELETE", `/deploy/${own}`);
  await until(
    "its instance to end",
    async () => (await berth.call("GET", `/deploy/${own}`)).body.instances.running === 0,
  );
  const used = await until("GPU time after the end", seconds);
  expect(used).toBeGreaterThanOrEqual(1);
});

test("prices that cannot be read stop the start by name", async () => {
  const file = join(berth.home, "prices.yaml");
  writeFileSync(file, "gpus: { other: free }");
  await expect(startBerth({ env: { BERTH_PRICES: file } })).rejects.toThrow(/BERTH_PRICES is .*gpus\.other/s);
});
