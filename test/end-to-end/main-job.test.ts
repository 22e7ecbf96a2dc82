/** The main job with real clients, the real engine and the model Berth ships: only the base URL is theirs to change. */
import { createDeepInfra } from "@ai-sdk/deepinfra";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth?.end());

const openai = (apiKey = token) => new OpenAI({ apiKey, baseURL: `${berth.url}/v1/openai`, maxRetries: 0 });
const mine = { model_name: "mine", gpu: "other", max_batch_size: 4, hf: { repo: "berth/starter" } };

describe("a new installation", () => {
  it("has the starter running, public, and answering at once", async () => {
    const models = await openai().models.list();
    expect(models.data.map((model) => model.id)).toEqual(["berth/starter"]);
    const answer = await openai().chat.completions.create({
      model: "berth/starter",
      messages: [{ role: "user", content: "Hello!" }],
      temperature: 0,
    });
    expect(answer.choices[0]?.message.content).not.toBe("");
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
  });
});

describe("one POST deploys, one endpoint serves", () => {
  let id = "";
  it("answers the POST without waiting, then runs", async () => {
    const { status, body } = await berth.call("POST", "/deploy/llm", mine);
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body).toMatchObject({
      model_name: "first/mine",
      status: "initializing",
      fail_reason: "",
      type: "llm",
    });
    id = body.deploy_id;
    const running = await untilStatus(berth, id, "running", "failed");
    expect(running.fail_reason).toBe("");
    expect(running.instances).toMatchObject({ running: 1, pending: 0 });
    expect(running.version).toMatch(/^[0-9a-f]{40}$/);
    expect(running.config.weights).toEqual({ repo: "berth/starter", revision: null, token: null });
  });

  it("can be called as soon as the POST has answered", async () => {
    const { body } = await berth.call("POST", "/deploy/llm", { ...mine, model_name: "eager" });
    const answer = await openai().chat.completions.create({
      model: `deploy_id:${body.deploy_id}`,
      messages: [{ role: "user", content: "Hello!" }],
    });
    expect(answer.choices).toHaveLength(1);
    await berth.call("DELETE", `/deploy/${body.deploy_id}`);
    const gone = await berth.call("POST", "/v1/chat/completions", {
      model: "eager",
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(gone.status).toBe(404);
  });

  it("is listed with and without the slash", async () => {
    for (const query of ["", "/", "?status=running"]) expect(await berth.listIds(query)).toContain(id);
  });

  it.each(["first/mine", "mine", "deploy_id:"])("streams to the openai package as %s", async (selector) => {
    const model = selector === "deploy_id:" ? `deploy_id:${id}` : selector;
    const stream = await openai().chat.completions.create({
      model,
      messages: [{ role: "user", content: "Tell me a story about a fox." }],
      temperature: 0,
      stream: true,
    });
    let chunks = 0;
    let text = "";
    let total = 0;
    for await (const chunk of stream) {
      chunks += 1;
      text += chunk.choices[0]?.delta.content ?? "";
      total = chunk.usage?.total_tokens ?? total;
    }
    expect(text.length).toBeGreaterThan(10);
    expect(chunks).toBeGreaterThan(5);
    expect(total).toBeGreaterThan(0);
  });

  it("serves completions and embeddings", async () => {
    const completion = await openai().completions.create({
      model: "mine",
      prompt: "Hello",
      max_tokens: 5,
      temperature: 0,
    });
    expect(completion.usage?.completion_tokens).toBeLessThanOrEqual(5);
    const { data } = await openai().embeddings.create({ model: "mine", input: ["a fox", "a bird"] });
    expect(data).toHaveLength(2);
    expect(data[0]?.embedding.length).toBeGreaterThan(32);
    expect(data[0]?.embedding).not.toEqual(data[1]?.embedding);
  });

  it("works through @ai-sdk/deepinfra", async () => {
    const deepinfra = createDeepInfra({ apiKey: token, baseURL: `${berth.url}/v1` });
    const whole = await generateText({
      model: deepinfra("first/mine"),
      prompt: "Hello!",
      temperature: 0,
      maxRetries: 0,
    });
    const streamed = streamText({
      model: deepinfra("first/mine"),
      prompt: "Hello!",
      temperature: 0,
      maxRetries: 0,
    });
    let text = "";
    for await (const part of streamed.textStream) text += part;
    expect(text).toBe(whole.text);
    expect((await streamed.usage).outputTokens).toBe(whole.usage.outputTokens);
  });

  it("stops and starts", async () => {
    expect((await berth.call("POST", `/deploy/${id}/stop`)).body).toEqual({ deploy_id: id });
    expect((await berth.call("GET", `/deploy/${id}`)).body.status).toBe("stopped");
    await until("only the starter's engine", () => berth.pids("engine").length === 1);
    await expect(
      openai().chat.completions.create({ model: "mine", messages: [{ role: "user", content: "Hi" }] }),
    ).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining("is stopped"),
    });
    expect((await berth.call("POST", `/deploy/${id}/stop`)).status).toBe(400);
    expect((await berth.call("POST", `/deploy/${id}/start`)).body).toEqual({ deploy_id: id });
    await untilStatus(berth, id, "running");
    expect((await berth.call("POST", `/deploy/${id}/start`)).status).toBe(400);
  });

  it("deletes: the record stays, the name is free, nothing runs", async () => {
    expect((await berth.call("DELETE", `/deploy/${id}`)).body).toEqual({ deploy_id: id });
    expect((await berth.call("GET", `/deploy/${id}`)).body.status).toBe("deleted");
    expect(await berth.listIds()).not.toContain(id);
    expect(await berth.listIds("?status=deleted")).toContain(id);
    expect((await berth.call("DELETE", `/deploy/${id}`)).status).toBe(404);
    await until("only the starter's engine", () => berth.pids("engine").length === 1);
    const again = await berth.call("POST", "/deploy/llm", mine);
    expect(again.status).toBe(200);
    await berth.call("DELETE", `/deploy/${again.body.deploy_id}`);
  });
});

describe("two accounts", () => {
  it("cannot see, call or change each other's deployments, and share the starter", async () => {
    const { body: other } = await berth.call("POST", "/v1/accounts", { name: "other" });
    const theirs: string = other.token;
    expect(theirs).toBeTypeOf("string");
    const { body: made } = await berth.call("POST", "/deploy/llm", { ...mine, model_name: "secret" });
    await untilStatus(berth, made.deploy_id, "running");

    for (const [method, path] of [
      ["GET", ""],
      ["PUT", ""],
      ["POST", "/stop"],
      ["POST", "/start"],
      ["GET", "/events"],
      ["DELETE", ""],
    ] as const) {
      const foreign = await berth.call(
        method,
        `/deploy/${made.deploy_id}${path}`,
        method === "PUT" ? { settings: {} } : undefined,
        theirs,
      );
      const missing = await berth.call(
        method,
        `/deploy/aaaaaaaaaaaaaaaa${path}`,
        method === "PUT" ? { settings: {} } : undefined,
        theirs,
      );
      expect(foreign.status, `${method} ${path}`).toBe(404);
      expect(JSON.stringify(foreign.body).replaceAll(made.deploy_id, "X")).toBe(
        JSON.stringify(missing.body).replaceAll("aaaaaaaaaaaaaaaa", "X"),
      );
    }
    expect(
      JSON.stringify(
        (await berth.call("GET", "/deploy/list?status=running,deleted,failed", undefined, theirs)).body,
      ),
    ).not.toContain("secret");
    for (const model of ["first/secret", "secret", `deploy_id:${made.deploy_id}`]) {
      const refused = await berth.call(
        "POST",
        "/v1/chat/completions",
        { model, messages: [{ role: "user", content: "Hi" }] },
        theirs,
      );
      expect(refused.status).toBe(404);
      expect(refused.body.error.message).not.toContain("starter");
    }
    expect((await openai(theirs).models.list()).data.map((model) => model.id)).toEqual(["berth/starter"]);
    const shared = await openai(theirs).chat.completions.create({
      model: "berth/starter",
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(shared.choices).toHaveLength(1);
    expect((await berth.call("POST", "/v1/accounts", { name: "third" }, theirs)).status).toBe(403);
    expect((await berth.call("GET", `/deploy/${made.deploy_id}`)).body.status).toBe("running");
    await berth.call("DELETE", `/deploy/${made.deploy_id}`);
  });

  it("a revoked token stops working within a second, everywhere", async () => {
    const { body: made } = await berth.call("POST", "/v1/api-tokens", { name: "short-lived" });
    expect((await berth.call("GET", "/v1/me", undefined, made.token)).status).toBe(200);
    expect((await berth.call("GET", "/v1/models", undefined, made.token)).status).toBe(200);
    expect((await berth.call("DELETE", `/v1/api-tokens/${made.token}`)).status).toBe(200);
    expect((await berth.call("GET", "/v1/me", undefined, made.token)).status).toBe(401);
    expect((await berth.call("GET", "/v1/models", undefined, made.token)).status).toBe(401);
    expect(berth.output()).not.toContain(made.token);
  });
});

describe("at zero", () => {
  it("starts nothing, is woken by a request that waits, and goes back", async () => {
    const { body: made } = await berth.call("POST", "/deploy/llm", {
      ...mine,
      model_name: "sleeper",
      settings: { min_instances: 0, max_instances: 1, inactive_shutdown: 2 },
    });
    const atZero = await untilStatus(berth, made.deploy_id, "running", "failed");
    expect(atZero.instances).toMatchObject({ running: 0, pending: 0 });
    const answers = await Promise.all(
      [1, 2, 3].map(() =>
        openai().chat.completions.create({
          model: "sleeper",
          messages: [{ role: "user", content: "Hello!" }],
        }),
      ),
    );
    expect(answers.map((answer) => answer.choices.length)).toEqual([1, 1, 1]);
    await until("zero again", async () => {
      const { body } = await berth.call("GET", `/deploy/${made.deploy_id}`);
      return body.status === "running" && body.instances.running === 0 && body.instances.pending === 0;
    });
    await until("its engine gone", () => berth.pids("engine").length === 1);
    await berth.call("DELETE", `/deploy/${made.deploy_id}`);
  });

  it("is never woken with max 0", async () => {
    const { body: made } = await berth.call("POST", "/deploy/llm", {
      ...mine,
      model_name: "never",
      settings: { min_instances: 0, max_instances: 0 },
    });
    await untilStatus(berth, made.deploy_id, "running");
    const refused = await berth.call("POST", "/v1/chat/completions", {
      model: "never",
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(refused.status).toBe(503);
    expect(refused.body.error.message).toContain("max_instances is 0");
    await berth.call("DELETE", `/deploy/${made.deploy_id}`);
  });
});
