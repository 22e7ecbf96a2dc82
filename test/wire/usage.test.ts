/** Statistics, GPU time and costs over the API, from records as gateways leave them. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { InstanceRun } from "../../src/core/rent.ts";
import { hourLengthMs } from "../../src/core/usage-totals.ts";
import { sampleRecord } from "../../src/store/usage-contract.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
let id = "";
beforeEach(async () => {
  api = await startRealApi();
  const body = { model_name: "m", gpu: "other", hf: { repo: "org/model" } };
  const created = await api.call("POST", "/deploy/llm", { body });
  id = (created.json as { deploy_id: string }).deploy_id;
});
afterEach(async () => await api.close());

let made = 0;
/** Stores a request that came so many minutes ago. */
async function request(minutesAgo: number, more: Partial<Parameters<typeof sampleRecord>[0]> = {}) {
  made += 1;
  const startedAtMs = api.now - minutesAgo * 60_000;
  await api.store.usage.add([
    sampleRecord({ id: `r${made}`, requestId: `q${made}`, deploymentId: id, startedAtMs, ...more }),
  ]);
}

describe("statistics", () => {
  test("are those of the window", async () => {
    for (const minutesAgo of [5, 61, 200])
      await request(minutesAgo, { durationMs: 2000, ttftMs: 500, costNanoUsd: 20_000_000 });
    await request(10, {
      status: 502,
      error: "engine_failed",
      inputTokens: 0,
      outputTokens: 0,
      costNanoUsd: 0,
    });
    await request(10, {
      kind: "embeddings",
      outputTokens: 0,
      durationMs: 105,
      inputTokens: 50,
      costNanoUsd: 0,
    });
    await request(10, { kind: "time", inputTokens: 0, outputTokens: 0, durationMs: 3000, costNanoUsd: 0 });
    const { json } = await api.call("GET", `/deploy/${id}/stats?from=now-2h`);
    expect(json).toMatchObject({
      requests: 5,
      total_time: 8,
      total_tokens: 110,
      input_tokens: 70,
      output_tokens: 40,
      total_amount: 4,
      errors: 1,
      avg_time: 1776.25,
    });
    const { avg95_time } = json as { avg95_time: number };
    expect(Math.abs(avg95_time - 3000)).toBeLessThan(30);
    const detailed = await api.call("GET", `/deploy/${id}/stats2?from=now-2h&to=now`);
    expect(detailed.json).toMatchObject({
      llm: { requests: 3, avg_ttft_ms: 500, avg_tpt_ms: 78.947, total_amount_cents: 4, errors: 1 },
      embeddings: { requests: 1, input_tokens: 50, avg_tpt_ms: 2 },
      time: { requests: 1, total_time_s: 3, avg_time_ms: 3000 },
    });
    const hour = await api.call("GET", `/deploy/stats?from=now-4h&to=now-1h`);
    expect(hour.json).toEqual([{ model_name: "ann/m", requests: 2 }]);
  });

  test("of nothing are zeros and nulls", async () => {
    const { json } = await api.call("GET", `/deploy/${id}/stats2?from=0`);
    expect(json).toEqual({ llm: null, embeddings: null, time: null });
    expect((await api.call("GET", `/deploy/${id}/stats?from=0`)).json).toMatchObject({
      requests: 0,
      avg95_time: 0,
    });
  });

  test.each([
    ["", "query.from", "missing"],
    ["from=yesterday", "query.from", "value_error"],
    ["from=now&to=soon", "query.to", "value_error"],
    ["from=now&to=now-1h", "query.to", "value_error"],
  ])("with ?%s are refused", async (query, loc, type) => {
    for (const path of ["/deploy/stats", `/deploy/${id}/stats`, `/deploy/${id}/stats2`]) {
      const { status, json } = await api.call("GET", `${path}?${query}`);
      expect(status).toBe(422);
      const { detail } = json as { detail: { loc: string[]; type: string }[] };
      expect(detail.map((issue) => [issue.loc.join("."), issue.type])).toEqual([[loc, type]]);
    }
  });

  test("of a deleted deployment are gone, for its owner; for others it was never there", async () => {
    await api.call("DELETE", `/deploy/${id}`);
    for (const path of [`/deploy/${id}/stats`, `/deploy/${id}/stats2`]) {
      expect((await api.call("GET", `${path}?from=0`)).status).toBe(410);
      expect((await api.call("GET", `${path}?from=0`, { token: api.tokens.bob })).status).toBe(404);
    }
  });
});

describe("what an account has used", () => {
  const run = (more: Partial<InstanceRun> = {}): InstanceRun => ({
    ...{ instanceId: "i1", deploymentId: id, account: "ann", gpu: "H100-80GB", gpus: 2, usdPerGpuHour: 3.6 },
    startedAtMs: api.now - 2 * hourLengthMs,
    seenAtMs: api.now,
    endedAtMs: null,
    ...more,
  });
  const unix = (hoursAgo: number) => Math.floor((api.now - hoursAgo * hourLengthMs) / 1000);

  test("GPU time is that of the window, times the GPUs", async () => {
    await api.store.usage.putRuns([run(), run({ instanceId: "i2", endedAtMs: api.now - hourLengthMs })]);
    const rent = async (query: string, token = api.tokens.ann) =>
      (await api.call("GET", `/payment/usage/rent?${query}`, { token })).json;
    expect(await rent(`from=${unix(1.5)}`)).toEqual({ id_to_duration: { [id]: 2 * (5400 + 1800) } });
    expect(await rent(`from=${unix(3)}&to=${unix(1.5)}`)).toEqual({ id_to_duration: { [id]: 2 * 3600 } });
    expect(await rent("from=0", api.tokens.bob)).toEqual({ id_to_duration: {} });
    const month = await api.call("GET", "/payment/usage?from=current");
    expect(month.json).toMatchObject({
      months: [
        {
          period: "2026.11",
          total_cost: 2160,
          items: [
            { pricing_type: "uptime", units: 21_600, rate: 0.1, cost: 2160, model: { model_name: "ann/m" } },
          ],
        },
      ],
      initial_month: "2026.11",
    });
  });

  test("tokens are by month and model, and of one API token", async () => {
    const [token] = await api.store.tokens("ann");
    await request(5, { costNanoUsd: 30_000_000, tokenId: token?.id ?? "" });
    await request(5, { costNanoUsd: 10_000_000, tokenId: "another" });
    await request(5, { account: "bob", costNanoUsd: 10_000_000 });
    await request(24 * 60 * 30, { costNanoUsd: 50_000_000 });
    const costs = async (url: string) => {
      const { json } = await api.call("GET", url);
      return (
        json as { months: { period: string; total_cost: number; items: { units: number }[] }[] }
      ).months.map(({ period, total_cost, items }) => [period, total_cost, items.map(({ units }) => units)]);
    };
    expect(await costs("/payment/usage/tokens?from=current")).toEqual([["2026.11", 4, [60]]]);
    expect(await costs("/payment/usage/tokens?from=2026.10&to=current")).toEqual([
      ["2026.10", 5, [30]],
      ["2026.11", 4, [60]],
    ]);
    for (const name of [token?.id, api.tokens.ann])
      expect(await costs(`/payment/usage/${name}?from=current`)).toEqual([["2026.11", 3, [30]]]);
    expect((await api.call("GET", "/payment/usage/nosuch?from=current")).status).toBe(404);
    expect((await api.call("GET", "/payment/usage/tokens?from=spring")).status).toBe(422);
    expect((await api.call("GET", "/payment/usage?from=current")).json).toMatchObject({
      months: [{ items: [] }],
    });
    expect(api.logged.join()).not.toContain(api.tokens.ann);
  });

  test("requests cost what their records say, each account's own", async () => {
    await request(1, { requestId: "mine", costNanoUsd: 7 });
    await request(1, { requestId: "theirs", account: "bob", costNanoUsd: 9 });
    const answer = await api.call("POST", "/v1/request-costs", {
      body: { requestIds: ["mine", "theirs", "nosuch", "mine"] },
    });
    expect(answer.json).toEqual({ requests: [{ requestId: "mine", costNanoUsd: 7 }] });
    expect((await api.call("POST", "/v1/request-costs", { body: {} })).status).toBe(422);
  });

  test("the live figures are everyone's", async () => {
    for (const token of [null, "no such token", api.tokens.ann])
      expect((await api.call("GET", "/v1/metrics/live", { token })).json).toEqual({
        tokens_per_second: 0,
        time_to_first_token: null,
        requests_per_second: 0,
        total_tflops: null,
      });
  });
});
