import { createHash } from "node:crypto";
import { request } from "node:http";
import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { Fault } from "../../tools/fake-engine/engine.ts";
import { unknownAbilities } from "../core/abilities.ts";
import { Metrics } from "./metrics.ts";
import { RequestRecord } from "./record.ts";
import { annToken, bobToken, modelOf, type Rig, startRig } from "./test-rig.ts";

/** The page as a local scraper reads it, and each sample by its name with labels. */
async function scrape(rig: Rig): Promise<Map<string, number>> {
  const response = await fetch(`${rig.url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  return samplesOf(await response.text());
}

function samplesOf(page: string): Map<string, number> {
  const lines = page.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

const d1 = 'deployment="d1",model="ann/chat"';

/** Status of a request with exactly these headers: fetch lets nobody choose Host. */
function statusOf(rig: Rig, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ port: rig.port, host: "127.0.0.1", path: "/metrics", headers, agent: false });
    sent.on("error", reject).on("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.end();
  });
}

test("what was served, what it took, and what is under way", async () => {
  const rig = await startRig({ readSpool: async () => ({ bytes: 123, dropped: 4 }) });
  const { engine, instance } = await rig.engine({ tokens: 5 });
  await rig.publish(modelOf([instance]));
  await (await rig.chat()).text();
  await (await rig.chat({ stream: true })).text();
  await (await rig.chat({ model: "none" })).text();
  await eventually(() => expect(rig.records).toHaveLength(3));
  const page = await scrape(rig);
  const got = (name: string) => page.get(name);
  expect(got(`berth_requests_total{${d1},status="2xx"}`)).toBe(2);
  expect(got('berth_requests_total{deployment="",model="",status="4xx"}')).toBe(1);
  expect(got(`berth_tokens_total{${d1},kind="output"}`)).toBe(10);
  // Only of streams is the first byte the first token.
  expect(got(`berth_time_to_first_token_seconds_count{${d1}}`)).toBe(1);
  expect(got(`berth_time_to_first_token_seconds_bucket{${d1},le="+Inf"}`)).toBe(1);
  expect(got(`berth_time_per_output_token_seconds_count{${d1}}`)).toBe(1);
  expect(got(`berth_queue_seconds_count{${d1}}`)).toBe(2);
  expect(got(`berth_requests_in_flight{${d1}}`)).toBe(0);
  expect(got("berth_spool_bytes")).toBe(123);
  expect(got("berth_spool_dropped_records_total")).toBe(4);
  expect(got("berth_routes_age_seconds")).toBeGreaterThanOrEqual(0);
  expect(got("berth_control_up")).toBe(1);
  expect(got("control_says_so")).toBe(1);

  engine.fault = { kind: "hang" } satisfies Fault;
  const leaving = new AbortController();
  const hanging = rig.chat({}, { signal: leaving.signal }).catch(() => null);
  await eventually(async () => expect((await scrape(rig)).get(`berth_requests_in_flight{${d1}}`)).toBe(1));
  leaving.abort();
  await hanging;
  await rig.idle();
});

test("retries and continued streams", async () => {
  const rig = await startRig();
  const engines = [await rig.engine({ tokens: 6, slots: 1 }), await rig.engine({ tokens: 6, slots: 1 })];
  const abilities = { ...unknownAbilities, engine: "fake", exactContinuation: true, usageByDefault: true };
  const instances = engines.map(({ instance }) => instance);
  await rig.publish(modelOf(instances, { abilities }));
  for (const { engine } of engines.slice(0, 1)) engine.fault = { kind: "die-after", tokens: 3 };
  expect(await (await rig.chat({ stream: true })).text()).toMatch(/\[DONE\]\n\n$/);
  await eventually(() => expect(rig.records).toHaveLength(1));
  const page = await scrape(rig);
  expect(page.get(`berth_retries_total{${d1}}`)).toBe(1);
  expect(page.get(`berth_continued_streams_total{${d1}}`)).toBe(1);
});

test("control away: the gateway's own figures, and a word on it", async () => {
  const rig = await startRig({ isControlAway: true });
  const page = await scrape(rig);
  expect(page.get("berth_control_up")).toBe(0);
  expect(page.get("berth_routes_age_seconds")).toBeNaN();
});

test("read by programs of this machine, and by administrators", async () => {
  const rig = await startRig();
  await rig.publish(modelOf([]));
  const host = `localhost:${rig.port}`;
  expect(await statusOf(rig, { host })).toBe(200);
  expect(await statusOf(rig, { host: `[::1]:${rig.port}` })).toBe(200);
  for (const [name, value] of [
    ["x-forwarded-for", "192.0.2.1"],
    ["forwarded", "for=192.0.2.1"],
    ["via", "1.1 proxy"],
    ["x-real-ip", "192.0.2.1"],
    ["origin", "https://evil.example"],
    ["host", "evil.example"],
  ] as const) {
    expect(await statusOf(rig, { host, [name]: value }), name).toBe(401);
    const asked = { host, [name]: value, authorization: `Bearer ${annToken}` };
    expect(await statusOf(rig, asked), name).toBe(200);
  }
  expect(await statusOf(rig, { host, authorization: `Bearer ${bobToken}` })).toBe(403);
  expect(await statusOf(rig, { host, "x-api-key": "wrong" })).toBe(401);
  expect((await rig.ask("/metrics", { method: "POST" })).status).toBe(405);
});

test("a trusted proxy on this machine is not this machine", async () => {
  const rig = await startRig({ trustedProxies: ["127.0.0.1"] });
  await rig.publish(modelOf([]));
  expect(await statusOf(rig, { host: "localhost" })).toBe(401);
});

test("series go with their deployment; what comes later is nobody's", () => {
  const metrics = new Metrics();
  const about = { requestId: "r", method: "POST", path: "/", traceparent: null, clientAddress: "::1" };
  const record = { ...new RequestRecord({ ...about, startedAtMs: 0 }), deploymentId: "d1", status: 200 };
  metrics.setModels([modelOf([])]);
  metrics.note(record);
  metrics.setModels([]);
  metrics.note(record);
  metrics.note({ ...record, deploymentId: createHash("sha256").digest("hex") });
  const readings = { load: {}, routesAgeMs: 0, spool: { bytes: 0, dropped: 0 }, residentBytes: 1 };
  const page = samplesOf(metrics.page(readings));
  expect([...page.keys()].join()).not.toContain("d1");
  expect(page.get('berth_requests_total{deployment="",model="",status="2xx"}')).toBe(2);
});

test("a trace goes on to the engine and into the access log; a broken one does not", async () => {
  const rig = await startRig();
  const { engine, instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  await (await rig.chat({}, { headers: { traceparent, tracestate: "a=1, b=2" } })).text();
  await (await rig.chat({}, { headers: { traceparent: "00-x", tracestate: "a=1" } })).text();
  expect(engine.seen[0]?.headers).toMatchObject({ traceparent, tracestate: "a=1,b=2" });
  expect(engine.seen[1]?.headers).not.toHaveProperty("traceparent");
  expect(engine.seen[1]?.headers).not.toHaveProperty("tracestate");
  await eventually(() => expect(rig.records).toHaveLength(2));
  expect(rig.logs.some((line) => line.includes(traceparent))).toBe(true);
});
