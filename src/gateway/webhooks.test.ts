import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { annToken, modelOf, type Rig, startRig } from "./test-rig.ts";

type Posted = { readonly headers: IncomingHttpHeaders; readonly body: string };

/** A client's own server that answers each post with the next of these statuses, the last one for ever. */
async function startReceiver(...statuses: number[]): Promise<{ url: string; posted: Posted[] }> {
  const posted: Posted[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (piece: string) => {
      body += piece;
    });
    request.on("end", () => {
      posted.push({ headers: request.headers, body });
      const status = statuses[Math.min(posted.length, statuses.length) - 1] ?? 200;
      response.writeHead(status, status === 302 ? { location: "http://127.0.0.1:9/" } : {}).end();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=k`, posted };
}

/** Pauses between tries are cut short, and noted. */
function quickClock() {
  const pauses: number[] = [];
  return {
    pauses,
    now: Date.now,
    async sleep(ms: number, signal?: AbortSignal) {
      if (ms >= 1000) pauses.push(ms);
      await sleep(ms >= 1000 ? 1 : ms, undefined, { signal });
    },
  };
}

async function startWith(targets: string[], given: Parameters<typeof startRig>[0] = {}) {
  const rig = await startRig({ webhookTargets: targets, ...given });
  const { engine, instance } = await rig.engine({ tokens: 2, tokenText: "word " });
  await rig.publish(modelOf([instance]));
  return { rig, engine };
}

const ask = (rig: Rig, webhook: string, more: object = {}) =>
  rig.ask("/v1/inference/ann/chat", {
    method: "POST",
    body: JSON.stringify({ input: "hi", webhook, ...more }),
  });

test("who asks is told that it is queued; the answer is posted, signed, and counted once", async () => {
  const { rig, engine } = await startWith(["127.0.0.1"]);
  const { url, posted } = await startReceiver(200);
  const response = await ask(rig, url);
  const requestId = response.headers.get("x-request-id");
  expect(await response.json()).toMatchObject({
    request_id: requestId,
    inference_status: { status: "queued" },
  });
  await eventually(() => expect(posted).toHaveLength(1));
  const [{ headers, body } = { headers: {}, body: "" }] = posted;
  expect(JSON.parse(body)).toMatchObject({
    request_id: requestId,
    results: [{ generated_text: "word word " }],
    inference_status: { status: "succeeded", tokens_generated: 2 },
  });
  const [, time, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers["x-berth-signature"])) ?? [];
  const key = createHash("sha256").update(annToken).digest("hex");
  expect(mac).toBe(createHmac("sha256", key).update(`${time}.${body}`).digest("hex"));
  expect(JSON.parse(engine.seen[0]?.body ?? "")).not.toHaveProperty("webhook");
  await rig.idle();
  await eventually(() => expect(rig.records).toHaveLength(2));
  expect(rig.records.filter(({ kind }) => kind !== null)).toMatchObject([
    { requestId, account: "ann", model: "ann/chat", status: 200, outputTokens: 2, kind: "llm" },
  ]);
  expect(rig.logs.join()).not.toContain("key=k");
});

test("a post that is refused is tried again with growing pauses, then given up", async () => {
  const clock = quickClock();
  const { rig } = await startWith(["127.0.0.1"], { clock });
  const { url, posted } = await startReceiver(500, 404, 200);
  await ask(rig, url);
  await eventually(() => expect(posted).toHaveLength(3));
  expect(new Set(posted.map(({ body }) => body)).size).toBe(1);
  expect(clock.pauses).toEqual([1000, 4000]);
  const deaf = await startReceiver(503);
  await ask(rig, deaf.url);
  await eventually(() => expect(rig.logs.join()).toContain("could not be posted"));
  expect(deaf.posted).toHaveLength(5);
});

test("a request that fails says so to the webhook", async () => {
  const { rig, engine } = await startWith(["127.0.0.1"]);
  engine.fault = { kind: "hang-up" };
  const { url, posted } = await startReceiver(200);
  await ask(rig, url);
  await eventually(() => expect(posted).toHaveLength(1));
  expect(JSON.parse(posted[0]?.body ?? "")).toMatchObject({
    inference_status: { status: "failed" },
    error: expect.stringContaining("ann/chat"),
  });
});

test("a redirect is not followed", async () => {
  const { rig } = await startWith(["127.0.0.1"], { clock: quickClock() });
  const { url, posted } = await startReceiver(302);
  await ask(rig, url);
  await rig.idle();
  await eventually(() => expect(rig.records).toHaveLength(2));
  expect(posted).toHaveLength(1);
});

test("a name that is allowed may still not lead to this machine", async () => {
  const { rig } = await startWith(["localhost"], { clock: quickClock() });
  const { url, posted } = await startReceiver(200);
  const response = await ask(rig, url.replace("127.0.0.1", "localhost"));
  expect(response.status).toBe(200);
  await eventually(() => expect(rig.logs.join()).toContain("no address that is allowed"));
  expect(posted).toHaveLength(0);
});

test.each([
  ["not a URL", {}],
  ["https://elsewhere.example/", {}],
  ["http://127.0.0.2/", {}],
  ["http://127.0.0.1/", { stream: true }],
])("%s with %j is refused at once", async (url, more) => {
  const { rig, engine } = await startWith(["127.0.0.1"]);
  const response = await ask(rig, url, more);
  expect([response.status, await response.json()]).toMatchObject([
    400,
    { detail: { error: expect.stringContaining("webhook") } },
  ]);
  expect(engine.seen).toHaveLength(0);
});

test("jobs end with the gateway", async () => {
  const { rig, engine } = await startWith(["127.0.0.1"]);
  engine.fault = { kind: "hang" };
  const { url, posted } = await startReceiver(200);
  await ask(rig, url);
  await eventually(() => expect(engine.busy).toBe(1));
  await rig.gateway.stop();
  expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  expect(posted).toHaveLength(0);
  expect(rig.records.at(-1)).toMatchObject({ error: "shutting_down", kind: "llm" });
});
