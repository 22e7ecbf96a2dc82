/** What tokens, scoped JWTs and accounts may do, where from and how much; and that every change leaves its trace. */
import { createHmac } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createScopeJudge } from "../../src/api/scopes.ts";
import { encodeBase64Url, keyIdOf } from "../../src/core/jwt.ts";
import type { ScopeVerdict } from "../../src/core/routing.ts";
import { sampleRecord } from "../../src/store/usage-contract.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeEach(async () => {
  api = await startRealApi();
});
afterEach(async () => await api.close());

const from = (address: string) => ({ "x-forwarded-for": address });
const asRoot = (method: string, url: string, body?: unknown) =>
  api.call(method, url, { token: api.tokens.root, body });

describe("allowed_ips", () => {
  test("a token works from there alone, from the moment it is said", async () => {
    const ranges = ["10.0.0.0/8", "2001:db8::/32"];
    const made = await api.call("POST", "/v1/api-tokens", { body: { name: "ci", allowed_ips: ranges } });
    const { token, token_id } = made.json as { token: string; token_id: string };
    const me = async (address: string) =>
      (await api.call("GET", "/v1/me", { token, headers: from(address) })).status;
    expect(made.json).toMatchObject({ allowed_ips: ranges });
    expect([await me("10.1.2.3"), await me("::ffff:10.1.2.3"), await me("2001:db8::1")]).toEqual([
      200, 200, 200,
    ]);
    expect([await me("11.1.2.3"), await me(""), await me("10.0.0.1, 11.0.0.1")]).toEqual([401, 401, 401]);
    for (const method of ["PUT", "PATCH"]) {
      const url = `/v1/api-tokens/id/${token_id}`;
      const set = await api.call(method, url, { body: { allowed_ips: ["11.1.2.3"] } });
      expect(set.json).toMatchObject({
        token_id,
        allowed_ips: ["11.1.2.3"],
        token: `****${token.slice(-5)}`,
      });
      expect([await me("11.1.2.3"), await me("10.1.2.3")]).toEqual([200, 401]);
      expect((await api.call(method, url, { body: { allowed_ips: null } })).json).toMatchObject({
        allowed_ips: null,
      });
      expect(await me("")).toBe(200);
    }
  });

  test.each([[["10.0.0.0/33"]], [["localhost"]], [[""]], [[7]], ["10.0.0.1"], [Array(101).fill("10.0.0.1")]])(
    "%j is refused",
    async (allowed_ips) => {
      const [token] = await api.store.tokens("ann");
      const url = `/v1/api-tokens/id/${token?.id}`;
      expect((await api.call("PUT", url, { body: { allowed_ips } })).status).toBe(422);
      expect((await api.call("POST", "/v1/api-tokens", { body: { name: "x", allowed_ips } })).status).toBe(
        422,
      );
      expect(await api.store.tokens("ann")).toEqual([token]);
    },
  );
});

describe("scoped JWTs", () => {
  const judge = (jwt: string): Promise<ScopeVerdict> =>
    createScopeJudge({ ...api, clock: { now: () => api.now, sleep: async () => undefined } })({ jwt });

  function signed(
    claims: Record<string, unknown>,
    header: Record<string, unknown> = {},
    key = api.tokens.ann,
  ) {
    const whole = { alg: "HS256", typ: "JWT", kid: keyIdOf("ann", "first"), ...header };
    const text = `${encodeBase64Url(JSON.stringify(whole))}.${encodeBase64Url(JSON.stringify(claims))}`;
    return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  }

  test("minted here: its rights are inspected by its own account alone, and control grants them", async () => {
    const body = { api_key_name: "first", models: ["ann/m"], expires_delta: 60, spending_limit: 0.5 };
    const minted = await api.call("POST", "/v1/scoped-jwt", { body });
    const { token } = minted.json as { token: string };
    expect(token).toMatch(/^jwt:eyJ/);
    const inspect = (as: string) =>
      api.call("GET", `/v1/scoped-jwt?jwtoken=${encodeURIComponent(token)}`, { token: as });
    const expires_at = api.now / 1000 + 60;
    expect((await inspect(api.tokens.ann)).json).toEqual({
      expires_at,
      models: ["ann/m"],
      spending_limit: 0.5,
    });
    expect((await inspect(api.tokens.bob)).status).toBe(404);
    const verdict = await judge(token);
    expect(verdict).toMatchObject({
      ok: true,
      account: "ann",
      expiresAtMs: expires_at * 1000,
      models: ["ann/m"],
      spendingLimitNanoUsd: 5e8,
      spentNanoUsd: 0,
    });
    expect(await judge(token.replace("jwt:", ""))).toEqual(verdict);
    expect(api.logged.join("\n")).not.toContain(token.slice(4));
    const again = (await api.call("POST", "/v1/scoped-jwt", { body })).json as { token: string };
    expect(await judge(again.token)).not.toMatchObject({ scopeId: (verdict as { scopeId: string }).scopeId });
  });

  test("without limits it lives a year; what cannot be minted is refused", async () => {
    const mint = (body: Record<string, unknown>) =>
      api.call("POST", "/v1/scoped-jwt", { body: { api_key_name: "first", ...body } });
    const { token } = (await mint({})).json as { token: string };
    expect(await judge(token)).toMatchObject({
      ok: true,
      models: null,
      spendingLimitNanoUsd: null,
      expiresAtMs: api.now + 365 * 86_400_000,
    });
    for (const body of [
      { api_key_name: "nosuch" },
      { expires_at: api.now / 1000 },
      { expires_at: api.now / 1000 + 9, expires_delta: 9 },
      { expires_delta: 0 },
      { models: [] },
      { models: Array.from({ length: 100 }, (_, at) => `ann/${"m".repeat(200)}${at}`) },
      { spending_limit: 0 },
      { spending_limit: -1 },
      { spending_limit: "free" },
    ]) {
      expect((await mint(body)).status, JSON.stringify(body)).toBe(422);
    }
  });

  test("signed offline by the holder, with the token as the key", async () => {
    const exp = api.now / 1000 + 60;
    expect(await judge(signed({ sub: "ann", exp, model: "m" }))).toMatchObject({ ok: true, models: ["m"] });
    const url = `/v1/scoped-jwt?jwtoken=${signed({ exp, models: ["m", "n"] })}`;
    expect((await api.call("GET", url)).json).toEqual({
      expires_at: exp,
      models: ["m", "n"],
      spending_limit: null,
    });
  });

  test("forged ones are refused, in the same words whatever is wrong with the signer", async () => {
    const claims = { exp: api.now / 1000 + 60 };
    const refused = [
      signed(claims, {}, api.tokens.bob),
      signed(claims, {}, ""),
      signed(claims, { kid: keyIdOf("ann", "nosuch") }),
      signed(claims, { kid: keyIdOf("nobody", "first") }),
      signed(claims, { kid: keyIdOf("bob", "first") }),
      `${signed(claims)}AAAA`,
      signed(claims).replace(/[^.]+$/, "AAAA"),
    ];
    for (const jwt of refused) {
      expect(await judge(jwt)).toEqual({
        ok: false,
        reason: "it was not signed by an API token that exists",
      });
      expect((await api.call("GET", `/v1/scoped-jwt?jwtoken=${jwt}`)).status).toBe(404);
    }
    expect(await judge(signed(claims, { alg: "none" }))).toMatchObject({ ok: false });
    const [header, , signature] = signed(claims).split(".");
    const widened = encodeBase64Url(JSON.stringify({ exp: claims.exp + 9999 }));
    expect(await judge(`${header}.${widened}.${signature}`)).toMatchObject({ ok: false });
  });

  test("it ends with its time, its token, and its account", async () => {
    const jwt = signed({ exp: api.now / 1000 + 60 });
    expect(await judge(jwt)).toMatchObject({ ok: true });
    api.now += 60_000;
    expect(await judge(jwt)).toEqual({ ok: false, reason: "it has expired" });
    const url = `/v1/scoped-jwt?jwtoken=${jwt}`;
    expect((await api.call("GET", url)).json).toEqual({
      error: "The scoped JWT allows nothing: it has expired.",
    });
    api.now -= 60_000;
    await asRoot("PATCH", "/v1/accounts/ann", { is_disabled: true });
    expect(await judge(jwt)).toMatchObject({ ok: false });
    await asRoot("PATCH", "/v1/accounts/ann", { is_disabled: false });
    expect(await judge(jwt)).toMatchObject({ ok: true });
    await api.call("DELETE", `/v1/api-tokens/${api.tokens.ann}`);
    expect(await judge(jwt)).toMatchObject({ ok: false });
  });

  test("what it has spent is known by its id, and one over its limit is named to gateways", async () => {
    const jwt = signed({ exp: api.now / 1000 + 60, spending_limit: 0.000001 });
    const verdict = await judge(jwt);
    if (!verdict.ok) throw new Error(verdict.reason);
    const { scopeId } = verdict;
    await api.store.usage.add([sampleRecord({ id: "r1", scopeId, costNanoUsd: 999 })]);
    expect(await judge(jwt)).toMatchObject({ spentNanoUsd: 999 });
    expect(await api.store.access.spentScopes(api.now)).toEqual([]);
    await api.store.usage.add([sampleRecord({ id: "r2", scopeId, costNanoUsd: 1 })]);
    expect(await api.store.access.spentScopes(api.now)).toEqual([scopeId]);
    expect(await api.store.access.spentScopes(api.now + 60_000)).toEqual([]);
  });

  test("on the control plane it opens nothing", async () => {
    const jwt = signed({ exp: api.now / 1000 + 60 });
    for (const { method, path } of api.operations.filter(({ access }) => access !== "public")) {
      for (const token of [jwt, `jwt:${jwt}`]) {
        const answer = await api.call(method, path, { token });
        expect(answer.status, `${method} ${path}`).toBe(403);
        expect(answer.json).toEqual({ error: expect.stringMatching(/inference only/) });
      }
    }
  });
});

describe("me", () => {
  test("what PATCH sets is given back; the name stays", async () => {
    const body = { first_name: "Ann", email: "a@b.c", is_business_account: true, website: "", use_case: "x" };
    expect((await api.call("PATCH", "/v1/me", { body })).status).toBe(200);
    expect(
      (await api.call("PATCH", "/v1/me", { body: { first_name: null, display_name: "ann" } })).status,
    ).toBe(200);
    expect((await api.call("GET", "/v1/me")).json).toMatchObject({
      uid: "ann",
      first_name: "Ann",
      email: "a@b.c",
      is_business_account: true,
      checklist: null,
    });
    expect((await api.call("GET", "/v1/me/emails")).json).toEqual({ emails: ["a@b.c"] });
    expect((await api.call("PATCH", "/v1/me", { body: { display_name: "bob" } })).status).toBe(409);
    expect((await api.call("PATCH", "/v1/me", { body: { name: "" } })).status).toBe(422);
    expect((await api.call("GET", "/v1/me?checklist=true")).json).toMatchObject({
      checklist: { suspended: false, stripe_balance: 0 },
    });
    expect((await api.call("DELETE", "/v1/me")).status).toBe(501);
  });

  test("deepctl's version is fine, and its sign-in says what to do", async () => {
    const version = await api.call("GET", "/cli/version?version=0.6.0", { token: null });
    expect(version.json).toEqual({ min: "0.0.0", update: "0.0.0", latest: "0.6.0" });
    const login = await api.call("GET", `/github/cli/login?login_id=${"a".repeat(32)}`, { token: null });
    expect([login.status, login.json]).toEqual([501, { error: expect.stringMatching(/set-token/) }]);
  });
});

describe("limits", () => {
  test("a request waits for an administrator, who grants it", async () => {
    const rates = async () => (await api.call("GET", "/v1/me/rate_limit")).json;
    expect(await rates()).toEqual({ rate_limit: 2_147_483_647, tpm_rate_limit: 2_147_483_647 });
    const ask = (rate_limit: number) =>
      api.call("POST", "/v1/me/rate_limit/request", { body: { rate_limit, reason: "load" } });
    expect((await ask(0)).status).toBe(422);
    await ask(10);
    await ask(20);
    const listed = await asRoot("GET", "/v1/berth/limit-requests");
    expect(listed.json).toMatchObject([
      { account: "ann", kind: "rate", wanted: { rate_limit: 20 }, reason: "load" },
    ]);
    const [{ request_id: id }] = listed.json as [{ request_id: string }];
    const granted = await asRoot("POST", `/v1/berth/limit-requests/${id}/grant`, { answer: "fine" });
    expect(granted.json).toMatchObject({ state: "granted", answer: "fine" });
    expect(await rates()).toEqual({ rate_limit: 20, tpm_rate_limit: 2_147_483_647 });
    expect((await asRoot("POST", `/v1/berth/limit-requests/${id}/reject`)).status).toBe(409);
    expect((await asRoot("POST", "/v1/berth/limit-requests/nosuch/grant")).status).toBe(404);
    expect((await asRoot("GET", "/v1/accounts/ann")).json).toMatchObject({ limits: { rate_limit: 20 } });
  });

  test("GPU limits, in both generations of the API", async () => {
    const one = { gpu_type: "H100-80GB", requested_limit: 2000, reason: "train" };
    await api.call("POST", "/v1/me/gpu_limit/request", { body: one });
    await api.call("POST", "/v1/me/gpu_limit/request", { body: { ...one, gpu_type: "other" } });
    expect((await api.call("GET", "/v1/me/gpu_limit")).json).toMatchObject({
      limits: { "H100-80GB": 1024, other: 1024 },
      pending_requests: { "H100-80GB": 2000, other: 2000 },
    });
    const pool = async () => (await api.call("GET", "/v1/me/gpu_pool")).json as Pool;
    const { pending_request: pending } = await pool();
    const body = { reason: "less", requested_max: { "L4-24GB": 3000 } };
    const ask = (more: object) => api.call("POST", "/v1/me/gpu_pool/request", { body: { ...body, ...more } });
    expect((await ask({})).status).toBe(409);
    expect((await ask({ requested_max: { T4: 1 } })).status).toBe(422);
    expect((await ask({ requested_max: {} })).status).toBe(400);
    expect((await ask({ requested_min: { other: 1 } })).status).toBe(400);
    const replaced = await ask({ expected_request_id: pending?.request_id });
    expect(replaced.json).toMatchObject({ requested_max: { "L4-24GB": 3000 } });
    await asRoot("POST", `/v1/berth/limit-requests/${pending?.request_id}/reject`, { answer: "no such GPU" });
    expect(await pool()).toMatchObject({
      pending_request: null,
      last_rejection: { rejection_reason: "no such GPU", requested_max: { "L4-24GB": 3000 } },
    });
    const made = (await ask({})).json as { request_id: string };
    const url = `/v1/me/gpu_pool/request/${made.request_id}`;
    expect((await api.call("DELETE", url, { token: api.tokens.bob })).status).toBe(404);
    expect((await api.call("DELETE", url)).status).toBe(200);
    expect((await api.call("DELETE", url)).status).toBe(404);
    const types = (await api.call("GET", "/v1/gpu_pool/gpu_types")).json as { gpu_types: string[] };
    expect(types.gpu_types).toContain("H100-80GB");
  });

  test("an account's deployments together stay within its GPUs: at create, at PUT and at start", async () => {
    const set = await asRoot("PATCH", "/v1/accounts/ann", { limits: { gpus: { "H100-80GB": 4 } } });
    expect(set.json).toMatchObject({ limits: { gpus: { "H100-80GB": 4 } } });
    const create = (model_name: string, max_instances: number, token = api.tokens.ann) =>
      api.call("POST", "/deploy/llm", {
        token,
        body: {
          model_name,
          gpu: "H100-80GB",
          num_gpus: 2,
          hf: { repo: "a/b" },
          settings: { max_instances },
        },
      });
    const idOf = (answer: { json: unknown }) => (answer.json as { deploy_id: string }).deploy_id;
    const first = await create("one", 1);
    expect(first.status).toBe(200);
    const together = await Promise.all([create("two", 1), create("three", 1), create("four", 1)]);
    expect(together.map((answer) => answer.status).sort()).toEqual([200, 422, 422]);
    expect(together.find(({ status }) => status === 422)?.json).toMatchObject({
      error: expect.stringMatching(/may have 4 x H100-80GB.*other deployments may grow to 4/),
    });
    expect((await create("mine", 2, api.tokens.bob)).status).toBe(200);
    const put = (max_instances: number) =>
      api.call("PUT", `/deploy/${idOf(first)}`, { body: { settings: { max_instances } } });
    expect((await put(2)).status).toBe(422);
    expect((await put(1)).status).toBe(200);
    await api.call("POST", `/deploy/${idOf(first)}/stop`);
    expect((await create("five", 1)).status).toBe(200);
    const start = await api.call("POST", `/deploy/${idOf(first)}/start`);
    expect([start.status, start.json]).toEqual([400, { error: expect.stringMatching(/may have 4/) }]);
    // What exists already is never refused to shrink, also where the limit was lowered since.
    await asRoot("PATCH", "/v1/accounts/ann", { limits: { gpus: { "H100-80GB": 0 } } });
    const running = together.find(({ status }) => status === 200);
    const shrink = await api.call("PUT", `/deploy/${idOf(running ?? first)}`, {
      body: { settings: { min_instances: 0, max_instances: 1 } },
    });
    expect(shrink.status).toBe(200);
    await asRoot("PATCH", "/v1/accounts/ann", { limits: { gpus: { "H100-80GB": null } } });
    expect((await api.call("POST", `/deploy/${idOf(first)}/start`)).status).toBe(200);
  });
});

type Pool = { pending_request: { request_id: string } | null };

describe("accounts", () => {
  test("a disabled account's tokens are refused until it is enabled", async () => {
    const me = async () => (await api.call("GET", "/v1/me")).status;
    expect((await asRoot("PATCH", "/v1/accounts/ann", { is_disabled: true })).json).toMatchObject({
      is_disabled: true,
    });
    expect(await me()).toBe(401);
    await asRoot("PATCH", "/v1/accounts/ann", {});
    expect(await me()).toBe(401);
    await asRoot("PATCH", "/v1/accounts/ann", { is_disabled: false });
    expect(await me()).toBe(200);
    for (const name of ["root", "berth"]) {
      expect((await asRoot("PATCH", `/v1/accounts/${name}`, { is_disabled: true })).status).toBe(400);
    }
  });

  test("others read their own account and change nothing of it", async () => {
    expect((await api.call("GET", "/v1/accounts/ann")).json).toMatchObject({
      name: "ann",
      is_disabled: false,
    });
    for (const name of ["root", "bob", "nobody", "berth", "%00", "a%2Fb"]) {
      expect((await api.call("GET", `/v1/accounts/${name}`)).status).toBe(404);
      expect((await api.call("PATCH", `/v1/accounts/${name}`, { body: {} })).status).toBe(404);
    }
    const body = { limits: { gpus: { other: 9999 } } };
    expect((await api.call("PATCH", "/v1/accounts/ann", { body })).status).toBe(403);
    expect((await asRoot("PATCH", "/v1/accounts/ann", { limits: { gpus: { T4: 1 } } })).status).toBe(422);
    expect((await asRoot("PATCH", "/v1/accounts/ann", { limits: { rate_limit: -1 } })).status).toBe(422);
  });
});

describe("the record of changes", () => {
  const audit = async (query = "") =>
    (await asRoot("GET", `/v1/berth/audit${query}`)).json as {
      entries: { action: string; account: string; target: Record<string, string>; address: string }[];
      next_cursor: number | null;
    };

  test("says who, from where, what and when; never a secret, a body or a refused request", async () => {
    const headers = { ...from("192.0.2.7"), "x-request-id": "req-9" };
    const body = { model_name: "m", gpu: "other", hf: { repo: "a/b", token: "hf_secret" } };
    const created = await api.call("POST", "/deploy/llm", { body, headers });
    const { deploy_id } = created.json as { deploy_id: string };
    await api.call("POST", "/deploy/llm", { body });
    await api.call("GET", `/deploy/${deploy_id}`);
    const made = await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } });
    const { token, token_id } = made.json as { token: string; token_id: string };
    await api.call("DELETE", `/v1/api-tokens/${token}`);
    await asRoot("DELETE", `/deploy/${deploy_id}`);
    const [annToken] = await api.store.tokens("ann");
    const { entries } = await audit();
    expect(entries).toMatchObject([
      { account: "root", action: "DELETE /deploy/:deploy_id", target: { deploy_id } },
      { account: "ann", action: "DELETE /v1/api-tokens/:api_token", target: {} },
      { account: "ann", action: "POST /v1/api-tokens", target: { name: "ci", token_id } },
      {
        account: "ann",
        token_id: annToken?.id,
        address: "192.0.2.7",
        action: "POST /deploy/llm",
        target: { deploy_id, model_name: "ann/m" },
        at: new Date(api.now).toISOString(),
        request_id: "req-9",
      },
    ]);
    const text = JSON.stringify(entries);
    for (const secret of [token, "hf_secret", api.tokens.ann]) expect(text).not.toContain(secret);
    expect((await audit(`?target=${deploy_id}`)).entries).toHaveLength(2);
    expect((await audit("?target=ann/m")).entries).toHaveLength(1);
    expect((await audit("?target=deploy_id")).entries).toHaveLength(0);
    expect((await audit("?target=%25")).entries).toHaveLength(0);
    expect((await audit("?account=root")).entries).toHaveLength(1);
    expect((await audit(`?from=${api.now / 1000 + 1}`)).entries).toHaveLength(0);
    const page = await audit("?limit=3");
    expect(page.entries).toHaveLength(3);
    const rest = await audit(`?limit=3&cursor=${page.next_cursor}`);
    expect([...page.entries, ...rest.entries]).toEqual(entries);
    expect(rest.next_cursor).toBeNull();
    expect((await api.call("GET", "/v1/berth/audit")).status).toBe(403);
  });

  test("every operation that changes something leaves an entry", () => {
    const silent = api.operations.filter((each) => each.method !== "GET" && !each.isChange);
    expect(silent.map((each) => `${each.method} ${each.path}`)).toEqual(["POST /v1/request-costs"]);
    for (const each of api.operations) expect(each.isChange && each.method === "GET").toBe(false);
  });
});
