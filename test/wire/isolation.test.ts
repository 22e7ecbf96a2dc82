/**
 * Invariant 14, for every operation of the route table: another account finds of what is ann's exactly what it finds of
 * what does not exist, lists show each account its own alone, and nobody without a good token gets anything.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startRealApi } from "./real-api.ts";
import { keyOf, requestFor, startWorld, type World } from "./world.ts";

const table = await startRealApi();
const operations = table.operations;
await table.close();
const closed = operations.filter((each) => each.access !== "public");

async function newWorld(): Promise<World> {
  const world = await startWorld();
  onTestFinished(() => world.close());
  return world;
}

/** Ids of the right form that nothing has. */
const nobodys: Readonly<Record<string, string>> = {
  deploy_id: "nosuch0000000000",
  api_token: "berth_secret_nosuch",
  token_id: "nosuch0000000000",
  model_name: "ann/nosuch",
  name: "nosuch",
  own_name: "nosuch",
  request_id: "nosuch0000000000",
  jwtoken: "jwt:e30.e30.nosuch",
};

/** An answer without the name that was asked for, which some repeat. */
function unnamed(text: string, ids: Readonly<Record<string, string>>): string {
  const name = ids.model_name?.split("/").at(-1) ?? "";
  return text.replaceAll(name, "…");
}

test.each(operations.map((each) => [keyOf(each), each] as const))(
  "%s shows and changes nothing of another account's",
  async (key, operation) => {
    const world = await newWorld();
    const about = requestFor(operation, world.ids);
    const absent = requestFor(operation, { ...world.ids, ...nobodys });
    const before = world.dump();
    const ask = ({ method, url, body }: typeof about) =>
      world.call(method, url, { body, token: world.tokens.bob });
    const theirs = await ask(about);
    // What bob has said himself he may hear again.
    const said = `${decodeURIComponent(about.url)} ${JSON.stringify(about.body)}`;
    for (const mark of world.marks.filter((each) => !said.includes(each)))
      expect(theirs.text, `${mark} in ${theirs.text}`).not.toContain(mark);
    if (about.url === absent.url) return; // about nothing in particular: a list, or something new of bob's own
    const missing = await ask(absent);
    expect([theirs.status, unnamed(theirs.text, world.ids)], key).toEqual([
      missing.status,
      unnamed(missing.text, nobodys),
    ]);
    expect(world.dump()).toBe(before);
  },
);

describe("without a good token", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    await world.call("DELETE", `/v1/api-tokens/id/${world.ids.token_id}`);
  });
  afterAll(async () => await world?.close());

  test.each(closed.map((each) => [keyOf(each), each] as const))(
    "%s refuses: one that was revoked, scoped JWTs, which are for inference alone, and none at all",
    async (_key, operation) => {
      const { method, url, body } = requestFor(operation, world.ids);
      const before = world.dump();
      const jwts = [world.ids.jwtoken ?? "", world.ids.livingJwt ?? "", world.ids.expiredJwt ?? ""];
      for (const token of [world.ids.api_token ?? "", ...jwts, null]) {
        const answer = await world.call(method, url, { body, token });
        expect([401, 403], `${answer.status} for ${token?.slice(0, 8)}`).toContain(answer.status);
        for (const mark of world.marks) expect(answer.text).not.toContain(mark);
      }
      expect(world.dump()).toBe(before);
    },
  );
});

test("the world has something to hide in each list", async () => {
  const world = await newWorld();
  for (const url of [
    "/deploy/list",
    "/deploy/stats?from=1",
    "/v1/api-tokens",
    "/payment/usage?from=current",
  ]) {
    const { text } = await world.call("GET", url);
    expect(
      world.marks.some((mark) => text.includes(mark)),
      url,
    ).toBe(true);
  }
});
