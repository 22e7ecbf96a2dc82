/** Accounts and tokens, and that no account sees or touches what is another's: made from the route table. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeEach(async () => {
  api = await startRealApi();
});
afterEach(async () => await api.close());

type Made = { token: string; token_id: string; fragment: string };

describe("API tokens", () => {
  test("the secret is shown once, works at once and is masked afterwards", async () => {
    const made = (await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } })).json as Made;
    expect((await api.call("GET", "/v1/me", { token: made.token })).status).toBe(200);
    const list = await api.call("GET", "/v1/api-tokens");
    expect(list.text).not.toContain(made.token);
    expect(list.json).toMatchObject([
      { name: "first" },
      { name: "ci", token: `****${made.token.slice(-5)}`, fragment: made.token.slice(-5), allowed_ips: null },
    ]);
    expect((await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } })).status).toBe(409);
    expect((await api.call("POST", "/v1/api-tokens", { body: { name: "" } })).status).toBe(422);
  });

  test("a token's own limits are its owner's to set, and reach the gateway", async () => {
    const made = (await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } })).json as Made;
    const url = `/v1/berth/tokens/${made.token_id}/limits`;
    const none = { rate_limit: null, requests_per_minute: null, tpm_rate_limit: null };
    expect((await api.call("GET", url)).json).toEqual(none);
    const body = { requests_per_minute: 60, rate_limit: 4 };
    expect((await api.call("PUT", url, { body })).json).toEqual({ ...none, ...body });
    expect(await api.store.tokens("ann")).toContainEqual(
      expect.objectContaining({
        id: made.token_id,
        rates: { concurrentRequests: 4, requestsPerMinute: 60, tokensPerMinute: null },
      }),
    );
    expect((await api.call("PUT", url, { body, token: api.tokens.bob })).status).toBe(404);
    expect((await api.call("PUT", url, { body: { requests_per_minute: -1 } })).status).toBe(422);
  });

  test.each(["secret", "id"] as const)(
    "revoked by its %s it is refused at once, also by itself",
    async (by) => {
      const made = (await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } })).json as Made;
      const url = by === "id" ? `/v1/api-tokens/id/${made.token_id}` : `/v1/api-tokens/${made.token}`;
      expect((await api.call("GET", url)).json).toMatchObject({ name: "ci", token: `****${made.fragment}` });
      expect((await api.call("DELETE", url, { token: made.token })).status).toBe(200);
      expect((await api.call("GET", "/v1/me", { token: made.token })).status).toBe(401);
      expect((await api.call("DELETE", url)).status).toBe(404);
      expect(api.logged.join("\n")).not.toContain(made.token);
    },
  );

  test("an administrator may revoke another account's", async () => {
    const [token] = await api.store.tokens("ann");
    const url = `/v1/api-tokens/id/${token?.id}`;
    expect((await api.call("DELETE", url, { token: api.tokens.root })).status).toBe(200);
    expect((await api.call("GET", "/v1/me")).status).toBe(401);
  });
});

describe("accounts", () => {
  const asRoot = (method: string, url: string, body?: unknown) =>
    api.call(method, url, { token: api.tokens.root, body });

  test("an administrator makes one, with a token that works", async () => {
    const made = await asRoot("POST", "/v1/accounts", { name: "Carl" });
    expect(made.json).toMatchObject({ name: "Carl", is_admin: false });
    const { token } = made.json as Made;
    expect((await api.call("GET", "/v1/me", { token })).json).toMatchObject({ uid: "Carl", is_admin: false });
    const list = await asRoot("GET", "/v1/accounts");
    expect((list.json as { name: string }[]).map((each) => each.name)).toContain("Carl");
    expect(list.text).not.toContain(token);
  });

  test.each([
    [{ name: "ann" }, 409],
    [{ name: "ANN" }, 409],
    [{ name: "berth" }, 409],
    [{ name: "Berth" }, 409],
    [{ name: "-a" }, 422],
    [{ name: "a/b" }, 422],
    [{ name: "x".repeat(40) }, 422],
    [{ name: "ok", is_admin: "yes" }, 422],
    [{}, 422],
  ])("%j is refused", async (body, status) => {
    const before = await api.store.accounts();
    expect((await asRoot("POST", "/v1/accounts", body)).status).toBe(status);
    expect(await api.store.accounts()).toEqual(before);
  });

  test("making one again mends an account that was left without a token", async () => {
    await api.store.addAccount({ name: "dora", isAdmin: false, createdAtMs: api.now });
    expect((await asRoot("POST", "/v1/accounts", { name: "dora", is_admin: true })).json).toMatchObject({
      name: "dora",
      is_admin: false,
    });
    expect((await asRoot("POST", "/v1/accounts", { name: "dora" })).status).toBe(409);
  });
});

test("berth down answers first", async () => {
  const answer = await api.call("POST", "/v1/berth/down", { token: api.tokens.root });
  expect([answer.status, answer.json, api.downs()]).toEqual([202, { status: "stopping" }, 1]);
  expect((await api.call("GET", "/v1/berth/info", { token: api.tokens.root })).json).toEqual({
    version: "0.0.0-test",
    account: "root",
    isolation: { isolated: true, reason: null, next: null },
    gpus: [],
    restarts: [],
  });
});

test("where engines are not isolated, the second account that deploys is refused, and told what is missing", async () => {
  const deploy = (token: string, name: string) =>
    api.call("POST", "/deploy/llm", {
      token,
      body: { model_name: name, gpu: "other", base_model: "berth/starter" },
    });
  api.isolation = { isIsolated: false, reason: "there are no namespaces", next: "Get some." };
  expect(await deploy(api.tokens.root, "one")).toMatchObject({ status: 200 });
  expect((await deploy(api.tokens.root, "two")).status).toBe(200);
  const refused = await deploy(api.tokens.ann, "three");
  expect(refused.status).toBe(403);
  expect(refused.text).toContain("there are no namespaces. Get some.");
  expect(await api.store.deployments({ account: "ann", includeDeleted: true })).toEqual([]);
  expect((await api.call("GET", "/v1/berth/info", { token: api.tokens.root })).json).toMatchObject({
    isolation: { isolated: false, reason: "there are no namespaces", next: "Get some." },
  });
  api.isolation = { isIsolated: true };
  expect((await deploy(api.tokens.ann, "three")).status).toBe(200);
});
