import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { unknownAbilities } from "../core/abilities.ts";
import { annToken, bobToken, modelOf, type Rig, startRig } from "./test-rig.ts";

const post = (rig: Rig, path: string, body: unknown, headers: Record<string, string> = {}) =>
  rig.ask(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers });

const messages = [{ role: "user", content: "hi" }];

/** A request to each face that is answered with the engine's words. */
const requests = [
  ["/anthropic/v1/messages", { model: "ann/chat", messages }],
  ["/v1/inference/ann/chat", { input: "hi" }],
  ["/v1/responses", { model: "ann/chat", input: "hi" }],
] as const;

async function rigWith(given: Parameters<Rig["engine"]>[0] = {}, more: Parameters<typeof modelOf>[1] = {}) {
  const rig = await startRig();
  const { engine, instance } = await rig.engine(given);
  await rig.publish(modelOf([instance], more));
  return { rig, engine };
}

describe("Anthropic", () => {
  test("a message, whole and streamed", async () => {
    const { rig, engine } = await rigWith({ tokens: 2, tokenText: "grüße 🌍 " });
    const body = { model: "chat", messages, system: "Be brief.", max_tokens: 5 };
    const whole = await post(rig, "/anthropic/v1/messages", body, { "anthropic-version": "2023-06-01" });
    expect(whole.status).toBe(200);
    expect(whole.headers.get("request-id")).toBe(whole.headers.get("x-request-id"));
    expect(await whole.json()).toMatchObject({
      type: "message",
      model: "chat",
      content: [{ type: "text", text: "grüße 🌍 grüße 🌍 " }],
      stop_reason: "max_tokens",
      usage: { input_tokens: 7, output_tokens: 2 },
    });
    expect(JSON.parse(engine.seen[0]?.body ?? "")).toEqual({
      model: "chat",
      messages: [{ role: "system", content: "Be brief." }, ...messages],
      max_tokens: 5,
    });
    const stream = await post(rig, "/anthropic/v1/messages/", { ...body, stream: true });
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    const text = await stream.text();
    expect(text.match(/^event: .*$/gm)).toEqual([
      "event: message_start",
      "event: content_block_start",
      "event: content_block_delta",
      "event: content_block_delta",
      "event: content_block_stop",
      "event: message_delta",
      "event: message_stop",
    ]);
    await rig.idle();
    expect(
      rig.records.map(({ inputTokens, outputTokens, kind }) => [inputTokens, outputTokens, kind]),
    ).toEqual([
      [7, 2, "llm"],
      [7, 2, "llm"],
    ]);
  });

  test("tokens are counted by the engine's tokenizer", async () => {
    const { rig, engine } = await rigWith();
    const response = await post(rig, "/anthropic/v1/messages/count_tokens", { model: "chat", messages });
    expect(await response.json()).toEqual({ input_tokens: JSON.stringify(messages).length });
    expect(engine.seen[0]?.path).toBe("/tokenize");
  });

  test("errors are Anthropic's", async () => {
    const { rig } = await rigWith(
      {},
      { abilities: { ...unknownAbilities, reasoning: false, images: false } },
    );
    const cases = [
      [{ messages }, 400, "invalid_request_error", "model: Field required"],
      [{ model: "ann/none", messages }, 404, "not_found_error", "ann/none"],
      [{ model: "chat", messages, temperature: 9 }, 400, "invalid_request_error", "temperature"],
      [{ model: "chat", messages, thinking: { type: "enabled" } }, 400, "invalid_request_error", "thinking"],
      ["{", 400, "invalid_request_error", "JSON"],
    ] as const;
    for (const [body, status, type, text] of cases) {
      const response = await post(rig, "/anthropic/v1/messages", body);
      const error = await response.json();
      expect([response.status, error]).toMatchObject([
        status,
        {
          type: "error",
          error: { type, message: expect.stringContaining(text) },
          request_id: expect.any(String),
        },
      ]);
    }
    const none = await fetch(`${rig.url}/anthropic/v1/messages`, { method: "POST", body: "{}" });
    expect([none.status, await none.json()]).toMatchObject([
      401,
      { error: { type: "authentication_error" } },
    ]);
  });
});

describe("native", () => {
  test.each([
    "/v1/inference/ann/chat",
    "/v1/inference/ann%2Fchat/",
    "/v1/inference/chat?version=",
    "/v1/inference/deploy/d1",
  ])("%s", async (path) => {
    const { rig, engine } = await rigWith({ tokens: 2, tokenText: "word " });
    const response = await post(rig, path, { input: "hi", max_new_tokens: 2 });
    expect(await response.json()).toMatchObject({
      results: [{ generated_text: "word word " }],
      num_tokens: 2,
      num_input_tokens: 7,
      request_id: response.headers.get("x-request-id"),
      inference_status: { status: "succeeded", tokens_generated: 2, tokens_input: 7, cost: 0 },
    });
    expect(engine.seen[0]?.path).toBe("/v1/completions");
    expect(JSON.parse(engine.seen[0]?.body ?? "")).toMatchObject({ prompt: "hi", max_tokens: 2 });
  });

  test("a form, as deepctl sends it", async () => {
    const { rig, engine } = await rigWith();
    const body = new FormData();
    for (const [name, value] of [
      ["input", "hi"],
      ["max_new_tokens", "3"],
      ["temperature", "0.5"],
    ] as const) {
      body.append(name, value);
    }
    const response = await rig.ask("/v1/inference/ann/chat", { method: "POST", body });
    expect(response.status).toBe(200);
    const seen = JSON.parse(engine.seen[0]?.body ?? "");
    expect(seen).toMatchObject({ prompt: "hi", max_tokens: 3, temperature: 0.5 });
  });

  test("a stream of tokens, and embeddings", async () => {
    const { rig, engine } = await rigWith({ tokens: 2, tokenText: "word " });
    const stream = await post(rig, "/v1/inference/ann/chat", { input: "hi", stream: true });
    const frames = (await stream.text())
      .split("\n\n")
      .filter((frame) => frame !== "")
      .map((frame) => JSON.parse(frame.replace(/^data: /, "")));
    expect(frames.map(({ token }) => token.text)).toEqual(["word ", "word ", ""]);
    expect(frames.at(-1)).toMatchObject({
      generated_text: "word word ",
      details: { finish_reason: "length" },
    });
    expect(JSON.parse(engine.seen[0]?.body ?? "")).toMatchObject({ logprobs: 0, stream: true });
    const embedded = await post(rig, "/v1/inference/ann/chat", { inputs: ["a"] });
    expect(await embedded.json()).toMatchObject({ embeddings: [[0.5, -0.5, 0.25]], input_tokens: 3 });
  });

  test("errors: a list where fields are at fault, else a sentence", async () => {
    const { rig } = await rigWith();
    const missing = await post(rig, "/v1/inference/ann/chat", {});
    expect([missing.status, await missing.json()]).toEqual([
      422,
      { detail: [{ loc: ["body", "input"], msg: "Field required", type: "missing" }] },
    ]);
    const rank = await post(rig, "/v1/inference/ann/chat", { queries: ["a"], documents: ["b"] });
    expect([rank.status, await rank.json()]).toMatchObject([
      400,
      { detail: { error: expect.stringContaining("queries") } },
    ]);
    expect((await post(rig, "/v1/inference/ann/none", { input: "a" })).status).toBe(404);
    expect((await post(rig, "/v1/inference/%zz", { input: "a" })).status).toBe(400);
    const hook = await post(rig, "/v1/inference/ann/chat", {
      input: "a",
      webhook: "https://hooks.example.com",
    });
    expect([hook.status, await hook.json()]).toMatchObject([
      400,
      { detail: { error: expect.stringContaining("BERTH_WEBHOOK_TARGETS") } },
    ]);
  });
});

describe("responses", () => {
  test("whole, streamed, and never stored", async () => {
    const { rig } = await rigWith({ tokens: 2, tokenText: "word " });
    const whole = await post(rig, "/v1/responses", { model: "chat", input: "hi" });
    const response = (await whole.json()) as { id: string };
    expect(response).toMatchObject({
      object: "response",
      status: "incomplete",
      output: [{ type: "message", content: [{ type: "output_text", text: "word word " }] }],
    });
    const stream = await post(rig, "/v1/openai/responses", { model: "chat", input: "hi", stream: true });
    expect((await stream.text()).match(/^event: .*$/gm)?.at(-1)).toBe("event: response.incomplete");
    for (const method of ["GET", "DELETE"]) {
      const stored = await rig.ask(`/v1/responses/${response.id}`, { method });
      expect([stored.status, await stored.json()]).toMatchObject([404, { error: { code: "not_found" } }]);
    }
    const previous = await post(rig, "/v1/responses", {
      model: "chat",
      input: "x",
      previous_response_id: response.id,
    });
    expect([previous.status, await previous.json()]).toMatchObject([
      400,
      { error: { code: "unsupported_parameter", param: "previous_response_id" } },
    ]);
  });
});

describe("tokens", () => {
  test("there and back", async () => {
    const { rig } = await rigWith();
    const there = await post(rig, "/v1/tokenize", { model: "chat", prompt: "hi", return_token_strs: true });
    expect(await there.json()).toEqual({
      count: 2,
      max_model_len: 2048,
      tokens: [104, 105],
      token_strs: ["h", "i"],
    });
    const back = await post(rig, "/v1/detokenize", { model: "ANN/chat", tokens: [104, 105] });
    expect(await back.json()).toEqual({ prompt: "hi" });
  });

  test("refused where the engine cannot, and where both or nothing is sent", async () => {
    const { rig } = await rigWith({}, { abilities: { ...unknownAbilities, tokenize: false } });
    const cases = [
      [{ model: "chat", prompt: "hi" }, 400],
      [{ model: "chat" }, 422],
      [{ model: "chat", prompt: "hi", messages }, 422],
      [{ prompt: "hi" }, 422],
    ] as const;
    for (const [body, status] of cases) expect((await post(rig, "/v1/tokenize", body)).status).toBe(status);
  });
});

describe("every face", () => {
  test.each(requests)("%s: an engine's own error comes in the face's envelope", async (path, body) => {
    const { rig, engine } = await rigWith();
    engine.fault = { kind: "hang-up" };
    const response = await post(rig, path, body);
    expect(response.status).toBe(502);
    expect(Object.keys((await response.json()) as object)).toEqual(
      path.startsWith("/anthropic")
        ? ["type", "error", "request_id"]
        : [path.includes("inference") ? "detail" : "error"],
    );
  });

  test.each(requests)("%s: a stream that breaks ends in an error event", async (path, body) => {
    const { rig, engine } = await rigWith();
    engine.fault = { kind: "die-after", tokens: 2 };
    const text = await (await post(rig, path, { ...body, stream: true })).text();
    expect(text).toContain("word ");
    expect(text.split("\n\n").at(-2)).toMatch(/error/);
    await rig.idle();
    expect(rig.records.at(-1)?.error).toBe("engine_failed");
  });

  test.each(requests)("%s: the events are the same when every byte comes alone", async (path, body) => {
    const { rig, engine } = await rigWith({ tokens: 2, tokenText: "grüße 🌍 " });
    const ids = /"(?:id|request_id|item_id)":"[^"]*"|"created_at":\d+/g;
    const read = async () =>
      (await (await post(rig, path, { ...body, stream: true })).text()).replace(ids, "");
    const usual = await read();
    engine.fault = { kind: "drip" };
    expect(await read()).toBe(usual);
  });

  test.each(requests)("%s: another account's model is an absent one", async (path, body) => {
    const { rig } = await rigWith();
    const as = { authorization: `Bearer ${bobToken}`, "x-request-id": "same" };
    const foreign = await post(rig, path, body, as);
    const absent = await post(
      rig,
      path.replace("/chat", "/none"),
      { ...body, ...("model" in body ? { model: "ann/none" } : {}) },
      as,
    );
    expect([foreign.status, absent.status]).toEqual([404, 404]);
    expect((await foreign.text()).replaceAll("ann/chat", "ann/none")).toBe(await absent.text());
  });

  test.each(requests)("%s: lower-case bearer, other headers, gzip, no content type", async (path, body) => {
    const { rig } = await rigWith();
    const bytes = gzipSync(JSON.stringify({ ...body, unknown_field: 1 }));
    for (const headers of [{ authorization: `bearer ${annToken}` }, { "x-api-key": annToken }] as const) {
      const response = await fetch(rig.url + path, {
        method: "POST",
        body: bytes,
        headers: { ...headers, "content-encoding": "gzip" },
      });
      expect(response.status).toBe(200);
      await response.text();
    }
    const bomb = gzipSync(Buffer.alloc(4 * 1024 * 1024, " "));
    const headers = { "content-encoding": "gzip", authorization: `Bearer ${annToken}` };
    const refused = await fetch(rig.url + path, { method: "POST", body: bomb, headers });
    expect(refused.status).toBe(413);
  });
});
