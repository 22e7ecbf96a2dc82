/** What the gateway promises, through a running Berth with the real engine: accounts apart in the cache, and its figures. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Berth, startBerth, token, until } from "../harness/berth.ts";

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(async () => await berth?.end());

const story =
  "Once upon a time there was a fox who lived beside a river and counted the boats that went by. ".repeat(8);
const asks: readonly [string, (prompt: string) => object][] = [
  ["/v1/chat/completions", (prompt) => ({ messages: [{ role: "user", content: prompt }] })],
  ["/v1/completions", (prompt) => ({ prompt })],
];

let accounts = 0;

/** The token of an account that has just been made. */
async function newToken(): Promise<string> {
  accounts += 1;
  return (await berth.call("POST", "/v1/accounts", { name: `account${accounts}` })).body.token;
}

type Usage = { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };

async function cachedOf(as: string, path: string, body: object): Promise<number> {
  const { status, raw } = await berth.call(
    "POST",
    path,
    { model: "berth/starter", max_tokens: 1, ...body },
    as,
  );
  expect(status, JSON.stringify(raw)).toBe(200);
  const { usage } = raw as { usage: Usage };
  expect(usage.prompt_tokens).toBeGreaterThan(50);
  return usage.prompt_tokens_details.cached_tokens;
}

test.each(asks)(
  "%s: what one account has asked is cached for it, and for nobody else",
  async (path, bodyOf) => {
    // Of their own: an account's earlier prompts may begin alike.
    const [ann, bob, carl] = [await newToken(), await newToken(), await newToken()];
    const body = bodyOf(story);
    expect(await cachedOf(ann, path, body)).toBe(0);
    expect(await cachedOf(ann, path, body)).toBeGreaterThan(50);
    expect(await cachedOf(bob, path, body)).toBe(0);
    expect(await cachedOf(bob, path, body)).toBeGreaterThan(50);
    // At once, so that every slot has served them: none keeps anything for the third.
    await Promise.all([ann, ann, bob, bob, ann, bob].map((as) => cachedOf(as, path, body)));
    expect(await cachedOf(carl, path, body)).toBe(0);
  },
);

test("the metrics page has what the reference names, and nothing else", async () => {
  const page = await until("the requests to be counted", async () => {
    const text = await (await fetch(`${berth.url}/metrics`)).text();
    return /berth_requests_total\{[^}]*model="berth\/starter",status="2xx"\} [1-9]/.test(text) ? text : null;
  });
  const shown = [...page.matchAll(/^# TYPE (\w+)/gm)].map((match) => match[1]);
  const reference = readFileSync(new URL("../../docs/reference/metrics.md", import.meta.url), "utf8");
  const named = [...reference.matchAll(/^\| `(berth_\w+)`/gm)].map((match) => match[1]);
  expect(shown).toEqual(named);
  expect(page).toContain('berth_deployments{status="running"} 1\n');
  expect(page).toContain("berth_control_up 1\n");
  // Nothing of accounts and their tokens.
  expect(page).not.toMatch(/account\d/);
  const asked = async (as: string) => (await berth.call("GET", "/metrics", undefined, as)).status;
  expect([await asked(token), await asked(await newToken())]).toEqual([200, 403]);
});
