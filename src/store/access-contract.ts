/** What every store must do with terms, requests, audit entries and scopes; part of the contract of both databases. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type AccountTerms, defaultTerms, type LimitRequest } from "../core/account.ts";
import type { AuditEntry, AuditQuery } from "../core/audit.ts";
import { gpuTypes } from "../core/deployment.ts";
import type { LimitedScope } from "../ports/access-store.ts";
import type { Store } from "../ports/store.ts";
import { anyText, sampleToken } from "./samples.ts";
import { sampleRecord } from "./usage-contract.ts";

const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
const count = fc.integer({ min: 0, max: 1_000_000 });
const gpus = fc.dictionary(fc.constantFrom(...gpuTypes), count, { noNullPrototype: true });

const anyTerms: fc.Arbitrary<AccountTerms> = fc.record({
  isDisabled: fc.boolean(),
  limits: fc.record({
    concurrentRequests: orNull(count),
    requestsPerMinute: orNull(count),
    tokensPerMinute: orNull(count),
    gpus,
  }),
  profile: fc.record({ name: anyText, isBusiness: fc.boolean(), website: anyText }, { requiredKeys: [] }),
});

function sampleRequest(more: Partial<LimitRequest> = {}): LimitRequest {
  return {
    id: "l1",
    account: "ann",
    kind: "gpu",
    state: "pending",
    wanted: { gpus: { "H100-80GB": 8 } },
    reason: "it's \u0000 \ud800 urgent",
    createdAtMs: 10,
    decidedAtMs: null,
    answer: "",
    ...more,
  };
}

function sampleEntry(more: Partial<AuditEntry> = {}): AuditEntry {
  return {
    atMs: 10,
    account: "ann",
    tokenId: "t1",
    address: "192.0.2.1",
    action: "POST /deploy/llm",
    target: { deploy_id: "d1" },
    requestId: "q1",
    ...more,
  };
}

const keepAll = { max: 1000, sinceMs: 0 };
const everything: AuditQuery = {
  account: null,
  action: null,
  target: null,
  fromMs: null,
  toMs: null,
  beforeSeq: null,
  limit: 1000,
};

export function testAccess(store: () => Store): void {
  const access = () => store().access;

  test("a token's secret stays sealed beside it, and its addresses are what was set last", async () => {
    await store().addToken(sampleToken({ allowedIps: ["10.0.0.0/8"] }), "sealed text");
    expect(await store().sealedToken("t1")).toBe("sealed text");
    expect(await store().sealedToken("t2")).toBeNull();
    expect((await store().tokens("ann"))[0]?.allowedIps).toEqual(["10.0.0.0/8"]);
    expect(await store().limitToken("bob", "t1", { allowedIps: null })).toBe(false);
    expect(await store().limitToken("ann", "t1", { allowedIps: ["::1"] })).toBe(true);
    expect((await store().tokenByHash(sampleToken().hash))?.allowedIps).toEqual(["::1"]);
    expect(await store().limitToken("ann", "t1", { allowedIps: null })).toBe(true);
    expect((await store().tokenByHash(sampleToken().hash))?.allowedIps).toBeNull();
    const rates = { concurrentRequests: 2, requestsPerMinute: null, tokensPerMinute: 0 };
    expect(await store().limitToken("ann", "t1", { rates })).toBe(true);
    expect(await store().tokenByHash(sampleToken().hash)).toMatchObject({ allowedIps: null, rates });
  });

  test("terms are the defaults until they are changed, and no change is lost", async () => {
    expect(await access().terms("ann")).toEqual(defaultTerms);
    expect(await access().allTerms()).toEqual(new Map());
    const addOne = (current: AccountTerms): AccountTerms => ({
      ...current,
      limits: { ...current.limits, concurrentRequests: (current.limits.concurrentRequests ?? 0) + 1 },
    });
    await Promise.all(Array.from({ length: 10 }, () => access().changeTerms("ann", addOne)));
    expect((await access().terms("ann")).limits.concurrentRequests).toBe(10);
    expect([...(await access().allTerms()).keys()]).toEqual(["ann"]);
    await expect(access().changeTerms("nobody", addOne)).rejects.toThrow();
  });

  test("terms read back as they were written", async () => {
    await fc.assert(
      fc.asyncProperty(anyTerms, async (terms) => {
        expect(await access().changeTerms("ann", () => terms)).toEqual(terms);
        expect(await access().terms("ann")).toEqual(terms);
      }),
      { numRuns: 30 },
    );
  });

  test("an account asks for one thing of a kind at a time; what was decided stays so", async () => {
    const first = sampleRequest();
    expect(await access().addLimitRequest(first)).toBe("added");
    expect(await access().addLimitRequest(sampleRequest({ id: "l2" }))).toBe("pending-already");
    expect(await access().addLimitRequest(sampleRequest({ id: "l3", kind: "rate" }))).toBe("added");
    expect(await access().limitRequest("l1")).toEqual(first);
    expect(await access().limitRequest("l2")).toBeNull();
    const granted = { ...first, state: "granted" as const, decidedAtMs: 20, answer: "fine" };
    expect(await access().changeLimitRequest(granted)).toBe(true);
    expect(await access().changeLimitRequest({ ...granted, state: "rejected" })).toBe(false);
    expect(await access().limitRequest("l1")).toEqual(granted);
    const next = sampleRequest({ id: "l4", createdAtMs: 30 });
    expect(await access().addLimitRequest(next)).toBe("added");
    const ids = async (query: Parameters<Store["access"]["limitRequests"]>[0]) =>
      (await access().limitRequests(query)).map(({ id }) => id);
    expect(await ids({ limit: 10 })).toEqual(["l4", "l3", "l1"]);
    expect(await ids({ account: "ann", state: "pending", limit: 1 })).toEqual(["l4"]);
    expect(await ids({ account: "bob", limit: 10 })).toEqual([]);
  });

  test("of decided requests the newest are kept", async () => {
    for (let at = 0; at < 55; at += 1) {
      const request = sampleRequest({ id: `l${at}`, createdAtMs: at });
      await access().addLimitRequest(request);
      await access().changeLimitRequest({ ...request, state: "rejected", decidedAtMs: at });
    }
    const kept = await access().limitRequests({ limit: 1000 });
    expect([kept.at(0)?.id, kept.at(-1)?.id, kept.length]).toEqual(["l54", "l4", 51]);
  });

  test("audit entries are numbered, found by what they say, newest first", async () => {
    const entries = [
      sampleEntry(),
      sampleEntry({ account: "bob", atMs: 20, target: { deploy_id: "d_2" } }),
      sampleEntry({ action: "DELETE /deploy/:deploy_id", atMs: 30, target: { name: "d1", token_id: "x" } }),
    ];
    for (const entry of entries) await access().addAudit(entry, keepAll);
    const found = async (query: Partial<AuditQuery>) =>
      (await access().audit({ ...everything, ...query })).map(({ seq }) => seq);
    expect(await access().audit(everything)).toEqual(
      entries.map((entry, at) => ({ ...entry, seq: at + 1 })).reverse(),
    );
    expect(await found({ account: "bob" })).toEqual([2]);
    expect(await found({ action: "POST /deploy/llm" })).toEqual([2, 1]);
    expect(await found({ target: "d1" })).toEqual([3, 1]);
    expect(await found({ target: "dx2" })).toEqual([]);
    expect(await found({ target: "d_2" })).toEqual([2]);
    expect(await found({ target: "%" })).toEqual([]);
    expect(await found({ target: "name" })).toEqual([]);
    expect(await found({ fromMs: 20, toMs: 30 })).toEqual([2]);
    expect(await found({ beforeSeq: 3, limit: 1 })).toEqual([2]);
  });

  test("audit entries of the same moment are all kept; too many or too old ones are not", async () => {
    const keep = { max: 60, sinceMs: 0 };
    await Promise.all(Array.from({ length: 100 }, () => access().addAudit(sampleEntry(), keep)));
    const kept = (await access().audit(everything)).map(({ seq }) => seq);
    expect(kept).toEqual(Array.from({ length: 60 }, (_, at) => 100 - at));
    for (let at = 0; at < 50; at += 1)
      await access().addAudit(sampleEntry({ atMs: 20 }), { max: 1000, sinceMs: 20 });
    expect(await access().audit(everything)).toHaveLength(50);
  });

  test("a scope that has spent its limit is named until it expires, and an account has a bounded number", async () => {
    const scope = (id: string, more: Partial<LimitedScope> = {}): LimitedScope => ({
      ...{ scopeId: id, account: "ann", tokenId: "t1", limitNanoUsd: 100, expiresAtMs: 1000, ...more },
    });
    expect(await access().rememberScope(scope("s1"), 0, 2)).toBe("kept");
    expect(await access().rememberScope(scope("s2", { limitNanoUsd: 101 }), 0, 2)).toBe("kept");
    expect(await access().rememberScope(scope("s3"), 0, 2)).toBe("too-many");
    expect(await access().rememberScope(scope("s1"), 0, 2)).toBe("kept");
    expect(await access().rememberScope(scope("s4", { account: "bob" }), 0, 2)).toBe("kept");
    await store().usage.add([
      sampleRecord({ id: "r1", scopeId: "s1", costNanoUsd: 60 }),
      sampleRecord({ id: "r2", scopeId: "s1", costNanoUsd: 40 }),
      sampleRecord({ id: "r3", scopeId: "s2", costNanoUsd: 100 }),
      sampleRecord({ id: "r4", scopeId: "unknown", costNanoUsd: 1000 }),
    ]);
    expect(await access().spentScopes(999)).toEqual(["s1"]);
    expect(await access().spentScopes(1000)).toEqual([]);
    expect(await access().rememberScope(scope("s3", { expiresAtMs: 2000 }), 1000, 2)).toBe("kept");
    expect(await access().spentScopes(0)).toEqual([]);
  });
}
