/** Scoped JWTs and addresses of tokens at the gateway, over real sockets; the judge is the rig's. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { composeJwt, encodeBase64Url } from "../core/jwt.ts";
import type { RouteModel, ScopeVerdict } from "../core/routing.ts";
import { indexSnapshot } from "./models.ts";
import { createScopeBook } from "./scopes.ts";
import { modelOf, type Rig, startRig } from "./test-rig.ts";

const nowMs = 1_800_000_000_000;

function jwtOf(id: string, account = "ann"): string {
  const rights = { expiresAtMs: 4_000_000_000_000, models: null, spendingLimitUsd: null };
  return `${composeJwt({ ...rights, account, tokenName: "ci", id })}.${encodeBase64Url("signature")}`;
}

function granted(more: Partial<Extract<ScopeVerdict, { ok: true }>> = {}): ScopeVerdict {
  return {
    ok: true,
    scopeId: "s1",
    account: "ann",
    tokenId: "t-ann",
    expiresAtMs: 4_000_000_000_000,
    models: null,
    spendingLimitNanoUsd: null,
    spentNanoUsd: 0,
    ...more,
  };
}

const as = (jwt: string) => ({ headers: { authorization: `Bearer ${jwt}` } });

describe("a scoped JWT", () => {
  async function rigWith(verdict: ScopeVerdict, ...models: Partial<RouteModel>[]): Promise<Rig> {
    const rig = await startRig();
    rig.control.judge = () => verdict;
    const { instance } = await rig.engine({ tokens: 10 });
    await rig.publish(modelOf([instance]), ...models.map((model) => modelOf([instance], model)));
    return rig;
  }

  test("is asked about once, with the prefix and bare, and named by its id in the record", async () => {
    const rig = await rigWith(granted());
    const jwt = jwtOf("one");
    for (const sent of [`jwt:${jwt}`, jwt, jwt]) expect((await rig.chat({}, as(sent))).status).toBe(200);
    expect((await rig.ask("/v1/models", { headers: { "x-api-key": jwt } })).status).toBe(200);
    expect(rig.control.asked).toEqual([jwt]);
    await rig.idle();
    expect(rig.records[0]).toMatchObject({ account: "ann", tokenId: "t-ann", scopeId: "s1" });
    expect(rig.logs.join("\n")).not.toContain(jwt.slice(-20));
  });

  test.each([[["ann/other"]], [["other"]], [["deploy_id:d2"]], [["ANN/Other"]]])(
    "for %j reaches that model by any of its names, and no other",
    async (models) => {
      const rig = await rigWith(granted({ models }), { deploymentId: "d2", name: "ann/other" });
      const jwt = as(jwtOf("one"));
      for (const model of ["ann/other", "other", "deploy_id:d2"]) {
        expect((await rig.chat({ model }, jwt)).status, model).toBe(200);
      }
      const missing = await (await rig.chat({ model: "nosuch" }, jwt)).json();
      for (const model of ["ann/chat", "chat", "deploy_id:d1"]) {
        const answer = await rig.chat({ model }, jwt);
        expect(answer.status, model).toBe(404);
        const { error } = (await answer.json()) as { error: { message: string } };
        expect(error.message.replace(JSON.stringify(model), '"nosuch"')).toBe(
          (missing as { error: { message: string } }).error.message,
        );
      }
      const list = (await (await rig.ask("/v1/models", jwt)).json()) as { data: { id: string }[] };
      expect(list.data.map((each) => each.id)).toEqual(["ann/other"]);
      expect((await rig.ask("/v1/models/ann/chat", jwt)).status).toBe(404);
    },
  );

  test("is refused for what control says, when its token is gone, and when it has expired", async () => {
    const rig = await rigWith({ ok: false, reason: "it was not signed by an API token that exists" });
    const forged = await rig.chat({}, as(jwtOf("forged")));
    expect(forged.status).toBe(401);
    expect(await forged.json()).toMatchObject({ error: { message: expect.stringMatching(/not signed by/) } });
    rig.control.judge = () => granted({ expiresAtMs: Date.now() - 1 });
    expect((await rig.chat({}, as(jwtOf("old")))).status).toBe(401);
    rig.control.judge = () => granted();
    const jwt = as(jwtOf("good"));
    expect((await rig.chat({}, jwt)).status).toBe(200);
    rig.control.tokens = rig.control.tokens.filter(({ account }) => account !== "ann");
    await rig.publish(modelOf([]));
    expect((await rig.chat({}, jwt)).status).toBe(401);
    // An account without any token is not even asked about.
    const before = rig.control.asked.length;
    expect((await rig.chat({}, as(jwtOf("another")))).status).toBe(401);
    expect(rig.control.asked).toHaveLength(before);
  });

  test("stops with 402 at its limit: by what it has spent here, before, or anywhere", async () => {
    const prices = { inputUsd: 1000, outputUsd: 1000, cachedUsd: 0 };
    const rig = await rigWith(granted({ spendingLimitNanoUsd: 1_000_000, spentNanoUsd: 0 }));
    const { instance } = await rig.engine({ tokens: 10 });
    await rig.publish(modelOf([instance], { prices }));
    const jwt = as(jwtOf("one"));
    expect((await rig.chat({}, jwt)).status).toBe(200);
    await rig.idle();
    const spent = await rig.chat({}, jwt);
    expect(spent.status).toBe(402);
    expect(await spent.json()).toMatchObject({
      error: { code: "spending_limit_reached", message: expect.stringContaining("limit of $0.001") },
    });
    rig.control.judge = () => granted({ scopeId: "s2", spendingLimitNanoUsd: 5, spentNanoUsd: 5 });
    expect((await rig.chat({}, as(jwtOf("two")))).status).toBe(402);
    rig.control.judge = () => granted({ scopeId: "s3", spendingLimitNanoUsd: 1e15 });
    expect((await rig.chat({}, as(jwtOf("three")))).status).toBe(200);
    rig.control.spentScopes = ["s3"];
    await rig.publish(modelOf([instance], { prices }));
    expect((await rig.chat({}, as(jwtOf("three")))).status).toBe(402);
    expect((await rig.chat()).status).toBe(200);
  });

  test("that cannot be checked because control is away is a 503", async () => {
    const rig = await rigWith(granted());
    const known = as(jwtOf("known"));
    expect((await rig.chat({}, known)).status).toBe(200);
    await rig.control.kill();
    const answer = await rig.chat({}, as(jwtOf("new")));
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
    expect((await rig.chat({}, known)).status).toBe(200);
  });
});

test("a token limited to addresses is refused from others, and so are its JWTs", async () => {
  const rig = await startRig({ trustedProxies: ["127.0.0.1"] });
  rig.control.judge = () => granted();
  rig.control.tokens = rig.control.tokens.map((token) => ({ ...token, allowedIps: ["192.0.2.0/24"] }));
  const { instance } = await rig.engine();
  await rig.publish(modelOf([instance]));
  const from = async (address: string, headers: Record<string, string> = {}) =>
    (await rig.chat({}, { headers: { ...headers, "x-forwarded-for": address } })).status;
  const jwt = { authorization: `Bearer ${jwtOf("one")}` };
  expect([await from("192.0.2.9"), await from("192.0.2.9", jwt)]).toEqual([200, 200]);
  expect([await from("198.51.100.1"), await from("198.51.100.1", jwt)]).toEqual([401, 401]);
  expect((await rig.chat()).status).toBe(401);
});

describe("the book", () => {
  const directory = indexSnapshot({
    version: 1,
    atMs: 0,
    tokens: [{ hash: "a".repeat(64), tokenId: "t-ann", account: "ann", allowedIps: null, isAdmin: false }],
    accounts: [],
    limitedTokens: [],
    spentScopes: [],
    models: [],
  });

  test("asks once for many at the same time, and again only when a refusal has aged", async () => {
    let asked = 0;
    let now = nowMs;
    let verdict: ScopeVerdict = { ok: false, reason: "no" };
    const book = createScopeBook({
      now: () => now,
      ask: async () => {
        asked += 1;
        return verdict;
      },
    });
    const find = () => book.find(jwtOf("one"), directory);
    await Promise.allSettled([find(), find(), find()]);
    await expect(find()).rejects.toMatchObject({ status: 401 });
    expect(asked).toBe(1);
    verdict = granted();
    now += 5_000;
    const [one, two] = await Promise.all([find(), find()]);
    await find();
    expect(asked).toBe(2);
    expect(one.scope.scopeId).toBe(two.scope.scopeId);
  });

  test("counts what other processes spend, and tells them what is spent here of a limit", async () => {
    const told: unknown[] = [];
    const book = createScopeBook({
      now: () => nowMs,
      ask: async (jwt) =>
        jwt === jwtOf("free") ? granted({ scopeId: "s2" }) : granted({ spendingLimitNanoUsd: 10 }),
      onSpent: (...spent) => told.push(spent),
    });
    const { scope } = await book.find(jwtOf("one"), directory);
    scope.spend(4);
    scope.spend(0);
    (await book.find(jwtOf("free"), directory)).scope.spend(3);
    expect(told).toEqual([["s1", 4]]);
    book.spentElsewhere("s2", 100);
    book.spentElsewhere("s1", 5);
    await book.find(jwtOf("one"), directory);
    book.spentElsewhere("s1", 1);
    await expect(book.find(jwtOf("one"), directory)).rejects.toMatchObject({ status: 402 });
  });

  test("has a bound on questions, and a flood of forged ones drives out no good one", async () => {
    let asked = 0;
    let answer: ((verdict: ScopeVerdict) => void) | null = null;
    const book = createScopeBook({
      now: () => nowMs,
      ask: (jwt) => {
        asked += 1;
        if (jwt === jwtOf("good")) return Promise.resolve(granted());
        if (answer === null) return Promise.resolve({ ok: false, reason: "no" });
        return new Promise((resolve) => resolve({ ok: false, reason: "no" }));
      },
    });
    await book.find(jwtOf("good"), directory);
    for (let at = 0; at < 10_050; at += 1) {
      await expect(book.find(jwtOf(`forged ${at}`), directory)).rejects.toMatchObject({ status: 401 });
    }
    expect(asked).toBe(10_051);
    await book.find(jwtOf("good"), directory);
    expect(asked).toBe(10_051);
    answer = () => undefined;
    const many = Array.from({ length: 80 }, (_, at) => book.find(jwtOf(`many ${at}`), directory));
    const statuses = (await Promise.allSettled(many)).map((each) =>
      each.status === "rejected" ? (each.reason as { status: number }).status : 200,
    );
    expect(statuses.filter((status) => status === 401)).toHaveLength(64);
    expect(statuses.filter((status) => status === 503)).toHaveLength(16);
  });

  test("no text makes it fail in any other way than 401", async () => {
    const book = createScopeBook({ now: () => nowMs, ask: async () => ({ ok: false, reason: "no" }) });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `jwt:${text}`),
        ),
        async (text) => {
          await expect(book.find(text, directory)).rejects.toMatchObject({ status: 401 });
        },
      ),
    );
  });
});
