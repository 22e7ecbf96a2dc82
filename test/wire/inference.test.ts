/**
 * Every inference operation of the document against a gateway with an engine behind it: answers have the shape that the
 * document shows, nothing that a client sends is a 5xx, and nothing crosses between accounts, tokens and scoped JWTs.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { composeJwt, encodeBase64Url } from "../../src/core/jwt.ts";
import type { ScopeVerdict } from "../../src/core/routing.ts";
import { annToken, bobToken, modelOf, type Rig, startRig } from "../../src/gateway/test-rig.ts";
import { inferenceOperations } from "../../src/schema/inference-operations.ts";
import { templateOf } from "../../src/schema/openapi.ts";
import { anyBody } from "./arbitrary.ts";

const posts = inferenceOperations.filter((each) => each.method === "POST");
const messages = [{ role: "user", content: "hi" }];

/** Bodies by the end of the path; `model` and path parameters are put in by `requestFor`. */
const bodies: readonly (readonly [RegExp, Record<string, unknown>])[] = [
  [/chat\/completions$/, { messages }],
  [/completions$/, { prompt: "Once" }],
  [/embeddings$/, { input: ["a", "b"] }],
  [/responses$/, { input: "hi" }],
  [/detokenize$/, { tokens: [1, 2] }],
  [/tokenize$/, { prompt: "hi" }],
  [/messages(\/count_tokens)?$/, { messages, max_tokens: 5 }],
  [/v1\/inference\/.+$/, { input: "Once", max_new_tokens: 5 }],
];

function requestFor(path: string, model: string, deploymentId: string): { path: string; body: unknown } {
  const filled = templateOf(path).replace("{deploy_id}", deploymentId).replace("{model_name}", model);
  const body = bodies.find(([pattern]) => pattern.test(filled))?.[1];
  if (body === undefined) throw new Error(`${path}: give inference.test.ts a body that it accepts`);
  return { path: filled, body: path.includes(":") ? body : { model, ...body } };
}

async function newRig(): Promise<Rig> {
  const rig = await startRig();
  const { instance } = await rig.engine({ tokens: 3 });
  await rig.publish(modelOf([instance]), modelOf([instance], { deploymentId: "d2", name: "ann/other" }));
  return rig;
}

async function ask(
  rig: Rig,
  { path, body }: { path: string; body: unknown },
  token: string | null,
): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${rig.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, text: await response.text() };
}

test.each(posts.map((each) => [each.path, each] as const))(
  "%s answers in its shape",
  async (path, { schemas }) => {
    const rig = await newRig();
    const answer = await ask(rig, requestFor(path, "ann/chat", "d1"), annToken);
    expect(answer.status, answer.text).toBe(200);
    expect(schemas.answer.safeParse(JSON.parse(answer.text)).error?.issues ?? []).toEqual([]);
  },
);

const jwt = `${composeJwt({
  ...{ expiresAtMs: 4_000_000_000_000, models: null, spendingLimitUsd: null },
  ...{ account: "ann", tokenName: "ci", id: "one" },
})}.${encodeBase64Url("signature")}`;
const verdict = {
  ...{ ok: true as const, scopeId: "s1", account: "ann", tokenId: "t-ann", expiresAtMs: 4_000_000_000_000 },
  ...{ models: ["ann/other"], spendingLimitNanoUsd: null, spentNanoUsd: 0 },
} satisfies ScopeVerdict;

test.each(posts.map((each) => [each.path] as const))(
  "%s serves nobody but its account, with a token that is good",
  async (path) => {
    const rig = await newRig();
    const theirs = requestFor(path, "ann/chat", "d1");
    const absent = requestFor(path, "ann/nosuch", "nosuch");
    const unnamed = ({ status, text }: { status: number; text: string }) => [
      status,
      text.replaceAll(
        /ann\/(chat|nosuch)|deploy_id:(d1|nosuch)|\b(d1|nosuch)\b|"?request_?id"?:"[^"]*"/gi,
        "…",
      ),
    ];
    // Another account, and a scoped JWT for another model: as if it were not there.
    const found = await ask(rig, theirs, bobToken);
    expect(found.status).toBe(404);
    expect(unnamed(found)).toEqual(unnamed(await ask(rig, absent, bobToken)));
    rig.control.judge = () => verdict;
    const narrowed = await ask(rig, theirs, jwt);
    expect(narrowed.status, narrowed.text).toBe(404);
    expect((await ask(rig, requestFor(path, "ann/other", "d2"), jwt)).status).toBe(200);

    // A JWT that has expired, a token that was revoked, none at all.
    const expired = await newRig();
    expired.control.judge = () => ({ ok: false, reason: "it has expired" });
    expect((await ask(expired, theirs, jwt)).status).toBe(401);
    rig.control.tokens = rig.control.tokens.filter((token) => token.account !== "ann");
    await rig.publish(modelOf([]));
    for (const token of [annToken, jwt, null]) expect((await ask(rig, theirs, token)).status).toBe(401);
    await rig.idle();
    expect(
      rig.records.filter((record) => record.account === "bob").every((record) => record.model === null),
    ).toBe(true);
  },
);

test.each(posts.map((each) => [each.path, each] as const))(
  "%s refuses what it does not understand, and never breaks on it",
  async (path, { schemas }) => {
    const rig = await newRig();
    const good = requestFor(path, "ann/chat", "d1");
    const bodyShape = schemas.body;
    if (bodyShape === null) throw new Error(`${path} has no body`);
    await fc.assert(
      fc.asyncProperty(anyBody(bodyShape), fc.boolean(), async (body, isNamed) => {
        const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
        const aimed = isNamed && isObject && !path.includes(":") ? { ...body, model: "ann/chat" } : body;
        const { status, text } = await ask(rig, { path: good.path, body: aimed }, annToken);
        const what = `${status} for ${JSON.stringify(aimed)}: ${text.slice(0, 300)}`;
        expect(status, what).toBeLessThan(500);
        if (status < 400) return;
        const refusal = JSON.parse(text) as { error?: unknown; detail?: unknown };
        expect(refusal.error ?? refusal.detail, what).toBeDefined();
      }),
      { numRuns: 40 },
    );
    expect(rig.logs.join()).not.toContain("on a defect");
  },
);
