import { describe, expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import { bobToken, modelOf, startRig } from "./test-rig.ts";

describe("inference", () => {
  test("a completion comes through byte for byte, whole and streamed", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine({ tokens: 3, tokenText: "grüße 🌍 " });
    await rig.publish(modelOf([instance]));
    const whole = await rig.chat();
    expect(whole.status).toBe(200);
    expect(whole.headers.get("x-request-id")).toMatch(/^[0-9a-f]{32}$/);
    expect(await whole.json()).toMatchObject({ choices: [{ message: { content: "grüße 🌍 ".repeat(3) } }] });
    const stream = await rig.chat({ stream: true });
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    const text = await stream.text();
    expect(text.match(/^data: /gm)).toHaveLength(4);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(engine.seen).toHaveLength(2);
    await rig.idle();
    expect(rig.gateway.load()).toEqual({ running: 0, queued: 0 });
  });

  test("an engine is told the secret, the request's id and a scope, and nothing of the client", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    const body = '{ "model":"chat", "messages":[], "seed": 18446744073709551615 }';
    const headers = {
      cookie: "a=b",
      "x-berth-scope": "forged",
      "x-api-key": "k",
      "x-request-id": "mine-1",
      "x-other": "1",
    };
    const response = await rig.chat({}, { body, headers });
    expect(response.headers.get("x-request-id")).toBe("mine-1");
    const [seen] = engine.seen;
    expect(seen?.body).toBe(body);
    expect(seen?.path).toBe("/v1/chat/completions");
    expect(Object.keys(seen?.headers ?? {})).toEqual([
      "host",
      "authorization",
      "content-type",
      "content-length",
      "x-request-id",
      "x-berth-scope",
    ]);
    expect(seen?.headers).toMatchObject({ authorization: "Bearer fake-secret", "x-request-id": "mine-1" });
    expect(seen?.headers["x-berth-scope"]).toMatch(/^[0-9a-f]{16}$/);
  });

  test.each([
    ["/v1/chat/completions", "ann/chat"],
    ["/v1/openai/chat/completions/", "chat"],
    ["/v1/completions?x=1", "deploy_id:d1"],
    ["/v1/openai/embeddings", "ANN/Chat"],
  ])("%s with model %s", async (path, model) => {
    const rig = await startRig();
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    const response = await rig.ask(path, {
      method: "POST",
      body: JSON.stringify({ model, input: "x", prompt: "x", messages: [] }),
    });
    expect(response.status).toBe(200);
  });

  test("a model twice in one body: the engine reads the one that was routed", async () => {
    const rig = await startRig();
    const { engine, instance } = await rig.engine();
    await rig.publish(
      modelOf([instance]),
      modelOf([], { deploymentId: "d2", name: "bob/secret", account: "bob" }),
    );
    const body = '{"model":"bob/secret","mod\\u0065l":"ann/chat","messages":[]}';
    expect((await rig.chat({}, { body })).status).toBe(200);
    expect(JSON.parse(engine.seen[0]?.body ?? "")).toEqual({ model: "ann/chat", messages: [] });
  });

  test("an engine's own error goes through, a refused secret does not", async () => {
    const rig = await startRig();
    const { instance } = await rig.engine();
    await rig.publish(modelOf([{ ...instance, secret: "wrong" }]));
    const response = await rig.chat();
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ error: { code: "engine_failed" } });
  });
});

describe("who may use what", () => {
  test("no token, a wrong one, and a foreign model", async () => {
    const rig = await startRig();
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance]));
    for (const authorization of ["", "Bearer nope", "Basic YTpi"]) {
      const response = await rig.chat({}, { headers: { authorization } });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({
        error: { type: "authentication_error", code: "unauthenticated" },
      });
    }
    const foreign = await rig.chat({}, { headers: { authorization: `bearer ${bobToken}` } });
    expect(foreign.status).toBe(404);
    const text = await foreign.text();
    expect(JSON.parse(text)).toMatchObject({ error: { code: "model_not_found", param: "model" } });
    const unknown = await rig.chat(
      { model: "ann/none" },
      { headers: { authorization: `bearer ${bobToken}` } },
    );
    expect((await unknown.text()).replace("ann/none", "ann/chat")).toBe(text);
  });

  test("each of the three headers carries a token", async () => {
    const rig = await startRig();
    const { instance } = await rig.engine();
    await rig.publish(modelOf([instance], { isPublic: true }));
    for (const name of ["x-api-key", "xi-api-key", "X-API-KEY"]) {
      const response = await fetch(`${rig.url}/v1/chat/completions`, {
        method: "POST",
        headers: { [name]: bobToken },
        body: '{"model":"ann/chat","messages":[]}',
      });
      expect(response.status).toBe(200);
    }
  });

  test("lists are public without a token, own and public with one; a wrong token is refused", async () => {
    const rig = await startRig();
    await rig.publish(
      modelOf([]),
      modelOf([], { deploymentId: "d2", name: "berth/starter", account: "berth", isPublic: true }),
      modelOf([], { deploymentId: "d3", name: "bob/own", account: "bob" }),
    );
    const ids = async (response: Response) =>
      ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
    expect(await ids(await fetch(`${rig.url}/v1/models`))).toEqual(["berth/starter"]);
    expect(await ids(await rig.ask("/v1/openai/models/"))).toEqual(["ann/chat", "berth/starter"]);
    expect((await rig.ask("/v1/models", { headers: { authorization: "Bearer x" } })).status).toBe(401);
    for (const path of ["/v1/models/ann/chat", "/v1/openai/models/ann%2Fchat", "/v1/models/chat/"]) {
      expect(await (await rig.ask(path)).json()).toMatchObject({
        id: "ann/chat",
        object: "model",
        owned_by: "ann",
        created: 1_700_000_000,
        metadata: { context_length: 2048, pricing: { input_tokens: 0 } },
      });
    }
    expect((await rig.ask("/v1/models/bob/own")).status).toBe(404);
    expect((await rig.ask("/v1/models", { method: "HEAD" })).status).toBe(200);
  });
});

describe("bad requests", () => {
  test.each([
    ["", 400, "bad_request"],
    ["{", 400, "bad_request"],
    ["[]", 400, "bad_request"],
    ["{}", 422, "invalid_input"],
    ['{"model":7}', 422, "invalid_input"],
    ['{"model":"ann/none","messages":[]}', 404, "model_not_found"],
  ])("%s is %i %s", async (body, status, code) => {
    const rig = await startRig();
    await rig.publish(modelOf([]));
    const response = await rig.chat({}, { body });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({
      error: { code, type: expect.any(String), message: expect.any(String) },
    });
  });

  test("other methods", async () => {
    const rig = await startRig();
    await rig.publish(modelOf([]));
    const get = await rig.ask("/v1/chat/completions");
    expect(get.status).toBe(405);
    expect(get.headers.get("allow")).toBe("POST, OPTIONS");
    expect((await rig.ask("/v1/chat/completions", { method: "HEAD" })).status).toBe(405);
    expect((await rig.ask("/v1/models", { method: "OPTIONS" })).status).toBe(204);
    expect((await rig.ask("/v1/models", { method: "DELETE" })).status).toBe(405);
  });
});

test("healthz says the process is up, readyz that it has routes; every request leaves a record", async () => {
  const rig = await startRig({ isControlAway: true });
  expect((await rig.ask("/healthz")).status).toBe(200);
  expect((await rig.ask("/readyz")).status).toBe(503);
  const early = await rig.chat();
  expect(early.status).toBe(503);
  expect(early.headers.get("retry-after")).not.toBeNull();
  expect(await early.json()).toMatchObject({ error: { code: "control_away" } });
  await rig.control.listen();
  await eventually(async () => expect((await rig.ask("/readyz")).status).toBe(200));
  const { instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  await (await rig.chat({}, { headers: { "x-secret-prompt": "tell nobody" } })).text();
  await eventually(() =>
    expect(rig.records.at(-1)).toMatchObject({
      method: "POST",
      path: "/v1/openai/chat/completions",
      status: 200,
      account: "ann",
      tokenId: "t-ann",
      model: "ann/chat",
      instanceId: instance.id,
      error: null,
      isClientGone: false,
    }),
  );
  expect(new Set(rig.records).size).toBe(rig.records.length);
  // It is handed over whole: with what the engine counted, though the client's end may come first.
  await (await rig.chat({ stream: true })).text();
  const seen: number[] = [];
  await eventually(() => {
    seen.push(...rig.records.slice(-2).map((record) => record.inputTokens));
    expect(seen.slice(-2)).toEqual([7, 7]);
  });
  expect(rig.logs.join()).not.toMatch(/tell nobody|ann-token|"hi"/);
});

test("an OpenAI path that does not exist is refused in OpenAI's shape", async () => {
  const rig = await startRig();
  const response = await rig.ask("/v1/openai/images", { method: "POST", body: "{}" });
  expect(response.status).toBe(404);
  expect(await response.json()).toMatchObject({ error: { code: "not_found", type: "not_found_error" } });
});

test("what Berth does not have says why", async () => {
  const rig = await startRig();
  const response = await rig.ask("/v1/openai/images/generations", { method: "POST", body: "{}" });
  expect(response.status).toBe(501);
  expect(await response.json()).toMatchObject({
    error: { code: "not_implemented", message: expect.stringContaining("no image generation") },
  });
});
