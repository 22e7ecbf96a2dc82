/**
 * DeepInfra's published operations, one after the other, against the API as it runs: each that Berth has answers in the
 * published shape, and refuses in it; each that it has not says so and why.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { inferenceOperations } from "../../src/schema/inference-operations.ts";
import { templateOf } from "../../src/schema/openapi.ts";
import { reasonUnavailable } from "../../src/schema/unavailable.ts";
import { startRealApi } from "./real-api.ts";
import { expectedStatus, keyOf, prepareFor, requestFor, startWorld, type World } from "./world.ts";

type Published = {
  readonly id: string;
  readonly statuses: readonly number[];
  readonly answer: Record<string, unknown>;
};
const published = new Map<string, Published>(Object.entries(readJson("published-operations.json")));
const shapes = readJson("published-shapes.json");

function readJson(name: string): Record<string, never> {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}

/** What is wrong with an answer by the published shape. */
function issuesOf(answer: Record<string, unknown>, json: unknown): unknown[] {
  return z.fromJSONSchema({ ...answer, $defs: shapes }).safeParse(json).error?.issues ?? [];
}

const table = await startRealApi();
const operations = table.operations;
await table.close();

/** For what changes nothing. */
let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => await world?.close());

async function newWorld(): Promise<World> {
  const own = await startWorld();
  onTestFinished(() => own.close());
  return own;
}

/** Trailing slashes are the same path here. */
const wanted = (key: string) => published.get(key) ?? published.get(`${key}/`);

describe("what Berth has", () => {
  test.each(
    operations
      .filter((each) => wanted(keyOf(each)) !== undefined)
      .map((each) => [keyOf(each), each] as const),
  )("%s answers in the published shape", async (key, operation) => {
    const world = await newWorld();
    await prepareFor(operation, world);
    const { method, url, body } = requestFor(operation, world.ids);
    const token = operation.access === "administrator" ? world.tokens.root : world.tokens.ann;
    const answer = await world.call(method, url, { body, token });
    expect(answer.status, answer.text).toBe(expectedStatus(operation));
    if (answer.status < 300) expect(issuesOf(wanted(key)?.answer ?? {}, answer.json)).toEqual([]);
  });

  test.each(operations.map((each) => [keyOf(each), each] as const))(
    "%s has its id, and refuses in the published shapes",
    async (key, operation) => {
      const { id } = wanted(key) ?? { id: operation.id };
      if (operation.id !== "") expect(operation.id).toBe(id);
      const { method, url, body } = requestFor(operation, world.ids);
      const before = world.dump();
      const stranger = await world.call(method, url, { body, token: "nobody's" });
      // What is public may still be of something that is not.
      const allowed = operation.access === "public" ? [expectedStatus(operation), 404] : [401];
      expect(allowed).toContain(stranger.status);
      if (operation.access !== "public") expect(issuesOf(shape("DeepError"), stranger.json)).toEqual([]);
      if (operation.schemas.body === null) return;
      const refused = await world.call(method, url, { body: "{", token: world.tokens.root });
      expect(refused.status).toBe(422);
      expect(refused.json).toMatchObject({ detail: [{ type: "json_invalid" }] });
      expect(issuesOf(shape("HTTPValidationError"), refused.json)).toEqual([]);
      expect(world.dump()).toBe(before);
    },
  );

  test("its ids are its own", () => {
    const ids = [...operations, ...inferenceOperations].map((each) => each.id).filter((id) => id !== "");
    expect(new Set(ids).size).toBe(ids.length);
    for (const operation of inferenceOperations)
      expect(operation.id).toBe(wanted(keyOf(operation))?.id ?? operation.id);
  });
});

function shape(name: string): Record<string, unknown> {
  return { $ref: `#/$defs/${name}` };
}

describe("what Berth has not", () => {
  const ours = new Set([...operations, ...inferenceOperations].map(keyOf));
  const missing = [...published.keys()].filter((key) => !ours.has(key) && !ours.has(key.replace(/\/$/, "")));

  test.each(missing.filter((key) => unavailable(key) !== null))("%s says so, and why", async (key) => {
    const [method = "", path = ""] = key.split(" ");
    const filled = path.replace(/\{\w+\}/g, "x");
    if (filled.startsWith("/v1/openai/")) return expect(unavailable(key)).toMatch(/\.$/); // answered by the gateway
    const answer = await world.call(method, filled, { body: method === "GET" ? undefined : {} });
    expect([answer.status, answer.json]).toEqual([501, { error: unavailable(key) }]);
  });

  test("nothing is forgotten: each published operation is there, or says why not", () => {
    expect(missing.filter((key) => unavailable(key) === null)).toEqual([]);
  });

  function unavailable(key: string): string | null {
    const [method = "", path = ""] = key.split(" ");
    return reasonUnavailable(method, templateOf(path).replace(/\{\w+\}/g, "x"));
  }
});
