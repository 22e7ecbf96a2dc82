import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { RouteModel } from "../core/routing.ts";
import { bareClient, bobToken, modelOf, requestText, startRig } from "./test-rig.ts";

const lastLoad = (rig: Awaited<ReturnType<typeof startRig>>) => rig.control.loads.at(-1)?.models.d1;

describe("waiting", () => {
  test("requests for a model at zero wake it, wait, and are all served in the end", async () => {
    const rig = await startRig();
    await rig.publish(modelOf([], { state: "asleep" }));
    const asked = Array.from({ length: 10 }, () => rig.chat());
    await eventually(() => expect(lastLoad(rig)).toMatchObject({ queued: 10, running: 0 }));
    expect(lastLoad(rig)?.lastRequestAtMs).toBeGreaterThan(0);
    await rig.publish(modelOf([], { state: "starting" }));
    const { engine, instance } = await rig.engine({ slots: 2, delayMs: 1 });
    await rig.publish(modelOf([instance]));
    const responses = await Promise.all(asked);
    expect(responses.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(engine.maxBusy).toBe(2);
    await rig.idle();
    await eventually(() => expect(lastLoad(rig)).toMatchObject({ queued: 0, running: 0, inFlight: {} }));
  });

  test("never more than the slots at an instance, the rest spread and wait in order", async () => {
    const rig = await startRig();
    const one = await rig.engine({ slots: 2, delayMs: 2 });
    const two = await rig.engine({ slots: 3, delayMs: 2 });
    await rig.publish(modelOf([one.instance, two.instance]));
    const responses = await Promise.all(Array.from({ length: 40 }, () => rig.chat({ stream: true })));
    await Promise.all(responses.map((response) => response.text()));
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    expect([one.engine.maxBusy, two.engine.maxBusy]).toEqual([2, 3]);
    await rig.idle();
  });

  test("a wait that is too long ends in 503 with an estimate", async () => {
    const rig = await startRig({ limits: { waitMs: 30 } });
    await rig.publish(
      modelOf([], { state: "starting", reason: "ann/chat is starting.", loadTimeMs: 12_500 }),
    );
    const response = await rig.chat();
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("13");
    expect(await response.json()).toMatchObject({ error: { code: "model_not_ready" } });
    expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  });

  test("a model that is off, that turns off, or is deleted while requests wait: they hear why at once", async () => {
    const rig = await startRig();
    const off: Partial<RouteModel> = { state: "off", reason: "ann/chat is stopped. Start it." };
    await rig.publish(modelOf([], off));
    const refused = await rig.chat();
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: "model_not_ready", message: off.reason } });

    await rig.publish(modelOf([], { state: "starting" }));
    const turnedOff = rig.chat();
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    await rig.publish(modelOf([], off));
    expect((await turnedOff).status).toBe(503);

    await rig.publish(modelOf([], { state: "starting" }));
    const deleted = rig.chat();
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    await rig.publish();
    expect((await deleted).status).toBe(404);
  });

  test("a full queue is 429; who leaves makes room", async () => {
    const rig = await startRig({ limits: { queueMax: 1 } });
    await rig.publish(modelOf([], { state: "starting" }));
    const leaving = new AbortController();
    const first = rig.chat({}, { signal: leaving.signal });
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    const full = await rig.chat();
    expect(full.status).toBe(429);
    expect(full.headers.get("retry-after")).toBe("2");
    expect(await full.json()).toMatchObject({ error: { code: "queue_full" } });
    leaving.abort();
    await expect(first).rejects.toThrow();
    await rig.idle();
    await eventually(() =>
      expect(rig.records.find((record) => record.status === 499)).toMatchObject({ isClientGone: true }),
    );
    const second = rig.chat();
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    expect((await second).status).toBe(200);
  });
});

describe("who is sent away, and when to come back", () => {
  test("an account's limits: 429 that names the limit, and no other account feels them", async () => {
    const rig = await startRig();
    rig.control.accounts = [
      { name: "ann", concurrentRequests: null, requestsPerMinute: 2, tokensPerMinute: null },
    ];
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance], { isPublic: true }));
    const answers = [await rig.chat(), await rig.chat(), await rig.chat()];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    const refused = answers[2];
    expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await refused?.json()).toMatchObject({
      error: { code: "rate_limited", message: expect.stringContaining("requests_per_minute") },
    });
    const headers = { authorization: `Bearer ${bobToken}` };
    expect((await rig.chat({}, { headers })).status).toBe(200);
  });

  test("a token's own limits, within its account's: other tokens do not feel them", async () => {
    const rig = await startRig();
    const other = "berth_another_token_of_ann";
    const [first] = rig.control.tokens;
    if (first === undefined) throw new Error("there is no token");
    const hash = createHash("sha256").update(other).digest("hex");
    rig.control.tokens = [...rig.control.tokens, { ...first, hash, tokenId: "t-other" }];
    const none = { concurrentRequests: null, requestsPerMinute: null, tokensPerMinute: null };
    rig.control.limitedTokens = [{ ...none, name: "t-other", requestsPerMinute: 1 }];
    rig.control.accounts = [{ ...none, name: "ann", requestsPerMinute: 4 }];
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    const headers = { authorization: `Bearer ${other}` };
    const answers = [await rig.chat({}, { headers }), await rig.chat({}, { headers })];
    expect(answers.map(({ status }) => status)).toEqual([200, 429]);
    expect(await answers[1]?.json()).toMatchObject({
      error: { message: expect.stringMatching(/^This token may have 1 requests a minute/) },
    });
    // What the token was refused does not count for the account.
    const own = [await rig.chat(), await rig.chat(), await rig.chat(), await rig.chat()];
    expect(own.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
  });

  test("requests at once count those that wait, and who leaves makes room", async () => {
    const rig = await startRig();
    rig.control.accounts = [
      { name: "ann", concurrentRequests: 1, requestsPerMinute: null, tokensPerMinute: null },
    ];
    await rig.publish(modelOf([], { state: "starting" }));
    const leaving = new AbortController();
    const first = rig.chat({}, { signal: leaving.signal });
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    expect((await rig.chat()).status).toBe(429);
    leaving.abort();
    await expect(first).rejects.toThrow();
    await rig.idle();
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    expect((await rig.chat()).status).toBe(200);
  });

  test("who fails fast is not made to wait", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine({ slots: 1 });
    engine.fault = { kind: "hang-after", tokens: 1 };
    await rig.publish(modelOf([instance]));
    const running = await rig.chat({ stream: true });
    const refused = await rig.chat({ fail_fast: true });
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: { code: "queue_full" } });
    await running.body?.cancel();
  });

  test("a turn that would come too late is refused at once, with the time until it would not", async () => {
    const rig = await startRig({ limits: { slotWaitMs: 50 } });
    const { engine, instance } = await rig.engine({ slots: 1, tokens: 1, delayMs: 120 });
    await rig.publish(modelOf([instance]));
    for (let i = 0; i < 5; i += 1) expect((await rig.chat()).status).toBe(200);
    engine.fault = { kind: "hang-after", tokens: 0 };
    const running = rig.chat({ stream: true }, { signal: AbortSignal.timeout(10_000) });
    await eventually(() => expect(rig.gateway.load().running).toBe(1));
    const refused = await rig.chat();
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refused.json()).toMatchObject({ error: { code: "overloaded" } });
    await engine.kill();
    await running;
  });

  test("a model that loads longer than anyone may wait: 503 at once with the rest of the time, and it is woken", async () => {
    const rig = await startRig({ limits: { waitMs: 5000 } });
    await rig.publish(modelOf([], { state: "asleep", loadTimeMs: 60_000 }));
    const refused = await rig.chat();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "60"]);
    await eventually(() => expect(lastLoad(rig)).toMatchObject({ queued: 1, running: 0 }));
    await rig.publish(modelOf([], { state: "starting", loadTimeMs: 60_000 }));
    expect((await rig.chat()).status).toBe(503);
    await eventually(() => expect(lastLoad(rig)).toMatchObject({ queued: 0 }));
  });

  test("a full line takes a polite account in: the newest of the greedy one gives way", async () => {
    const rig = await startRig({ limits: { queueMax: 3 } });
    await rig.publish(modelOf([], { state: "starting", isPublic: true }));
    const greedy: Promise<Response>[] = [];
    for (let i = 1; i <= 3; i += 1) {
      greedy.push(rig.chat());
      await eventually(() => expect(rig.gateway.load().queued).toBe(i));
    }
    const polite = rig.chat({}, { headers: { authorization: `Bearer ${bobToken}` } });
    expect((await greedy[2])?.status).toBe(429);
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance], { isPublic: true }));
    const rest = await Promise.all([greedy[0], greedy[1], polite]);
    expect(rest.map((response) => response?.status)).toEqual([200, 200, 200]);
  });
});

describe("keeping a waiting stream alive", () => {
  test("comments come while it waits, then the answer, or an error as an event", async () => {
    const rig = await startRig({ limits: { keepAliveMs: 5 } });
    await rig.publish(modelOf([], { state: "starting" }));
    const body = JSON.stringify({ model: "ann/chat", messages: [], stream: true });
    const text = requestText("/v1/openai/chat/completions", body, ["connection: close"]);
    const [served, failed] = [await bareClient(rig.port), await bareClient(rig.port)];
    for (const client of [served, failed]) {
      client.socket.write(text);
      await client.until((received) => received.split(": waiting").length > 3);
    }
    failed.socket.destroy();
    await eventually(() => expect(rig.gateway.load().queued).toBe(1));
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    expect(await served.closed()).toContain("data: [DONE]");

    await rig.publish(modelOf([], { state: "starting" }));
    const late = await bareClient(rig.port);
    late.socket.write(text);
    await late.until((received) => received.includes(": waiting"));
    await rig.publish(modelOf([], { state: "off", reason: "ann/chat failed: no memory." }));
    const received = await late.closed();
    expect(received.startsWith("HTTP/1.1 200")).toBe(true);
    expect(received).toContain('data: {"error":{"message":"ann/chat failed: no memory."');
    await rig.idle();
  });
});

describe("fair between accounts", () => {
  test("an account that floods the line is served in turn with one that does not", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine({ slots: 1, tokens: 2 });
    await rig.publish(modelOf([], { state: "starting", isPublic: true }));
    const flood = Array.from({ length: 20 }, () => rig.chat());
    await eventually(() => expect(rig.gateway.load().queued).toBe(20));
    const headers = { authorization: `Bearer ${bobToken}` };
    const polite = Array.from({ length: 3 }, () => rig.chat({ user: "bob" }, { headers }));
    await eventually(() => expect(rig.gateway.load().queued).toBe(23));
    await rig.publish(modelOf([instance], { isPublic: true }));
    const responses = await Promise.all([...flood, ...polite]);
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    const bobAt = engine.seen.flatMap(({ body }, at) => (body.includes('"bob"') ? [at] : []));
    expect(bobAt).toHaveLength(3);
    expect(bobAt.at(-1)).toBeLessThan(8);
  });
});

describe("leaving and draining", () => {
  test("a client that leaves a stream frees its slot, and the engine hears of it", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine({ slots: 1, tokens: 3 });
    engine.fault = { kind: "hang-after", tokens: 1 };
    await rig.publish(modelOf([instance]));
    for (let round = 1; round <= 5; round += 1) {
      const leaving = new AbortController();
      const response = await rig.chat({ stream: true }, { signal: leaving.signal });
      expect(response.status).toBe(200);
      leaving.abort();
      await rig.idle();
      await eventually(() => expect(engine.cancelled).toBe(round));
    }
    engine.fault = null;
    expect((await rig.chat()).status).toBe(200);
  });

  test("a slot that the engine has not freed yet is waited for", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine();
    engine.fault = { kind: "busy" };
    await rig.publish(modelOf([instance]));
    const asked = rig.chat();
    await eventually(() => expect(engine.seen).toHaveLength(1));
    engine.fault = null;
    expect((await asked).status).toBe(200);
    expect(engine.seen.length).toBeGreaterThan(1);
  });

  test("a draining instance takes nothing new, finishes what it has, and is reported with its count", async () => {
    const rig = await startRig();
    const old = await rig.engine({ tokens: 2 });
    const next = await rig.engine();
    old.engine.fault = { kind: "hang-after", tokens: 1 };
    await rig.publish(modelOf([old.instance]));
    const stream = await rig.chat({ stream: true });
    await rig.publish(modelOf([{ ...old.instance, isDraining: true }, next.instance]));
    await eventually(() => expect(lastLoad(rig)?.inFlight).toMatchObject({ [old.instance.id]: 1 }));
    expect((await rig.chat()).status).toBe(200);
    expect(next.engine.seen).toHaveLength(1);
    await stream.body?.cancel();
    await eventually(() => expect(lastLoad(rig)?.inFlight).toEqual({ [old.instance.id]: 0 }));
  });

  test("an instance that vanishes from the routes finishes its streams", async () => {
    const rig = await startRig();
    const { instance } = await rig.engine({ tokens: 40, delayMs: 5 });
    await rig.publish(modelOf([instance]));
    const stream = await rig.chat({ stream: true });
    await rig.publish();
    expect((await stream.text()).endsWith("data: [DONE]\n\n")).toBe(true);
    await rig.idle();
  });
});
