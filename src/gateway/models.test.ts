/** What the model list says of a model: its price and what its engine can do, and nothing that is not known. */
import { expect, test } from "vitest";
import { unknownAbilities } from "../core/abilities.ts";
import type { RouteModel } from "../core/routing.ts";
import { describeModel, findModel, indexSnapshot } from "./models.ts";

const model: RouteModel = {
  ...{ deploymentId: "d1", name: "ann/chat", account: "ann", isPublic: false, state: "ready", reason: "" },
  ...{ loadTimeMs: null, createdAtMs: 1_700_000_000_500, contextTokens: 2048, task: "text-generation" },
  abilities: { ...unknownAbilities, engine: "e", images: false, reasoning: true, cacheScope: "header" },
  version: "9d89262b7cb9d614186c0bcab12f1345ac940d84",
  prices: { inputUsd: 0.1, outputUsd: 0.4, cachedUsd: 0.05 },
  instances: [],
};
const metadata = (change: Partial<RouteModel>) => describeModel({ ...model, ...change }).metadata;

test("a model of an engine that is known", () => {
  expect(metadata({})).toEqual({
    description: "",
    context_length: 2048,
    max_tokens: 2048,
    pricing: { input_tokens: 0.1, output_tokens: 0.4, cache_read_tokens: 0.05 },
    tags: ["chat", "prompt_cache", "reasoning", "reasoning_effort"],
  });
});

test("one whose engine is not known yet, and one that makes embeddings", () => {
  expect(metadata({ abilities: unknownAbilities, contextTokens: 0 })).toMatchObject({
    context_length: null,
    tags: ["chat"],
  });
  expect(metadata({ task: "embeddings" })).toMatchObject({ tags: ["embeddings"] });
});

test("a selector may name the version, or its beginning, of the one a model has", () => {
  const parts = { version: 1, atMs: 0, tokens: [], accounts: [], limitedTokens: [], spentScopes: [] };
  const directory = indexSnapshot({ ...parts, models: [model] });
  const find = (selector: string, account: string | null = "ann") =>
    findModel(directory, selector, account)?.deploymentId ?? null;
  for (const version of [model.version, "9d89262", "9d89262b7cb9"]) {
    expect(find(`ann/chat:${version}`)).toBe("d1");
    expect(find(`chat:${version}`)).toBe("d1");
  }
  for (const version of ["", "9d8926", "9d89262c", "main", `${model.version}0`]) {
    expect(find(`ann/chat:${version}`)).toBeNull();
  }
  expect(find(`ann/chat:${model.version}`, "bob")).toBeNull();
  expect(
    findModel(indexSnapshot({ ...parts, models: [{ ...model, version: "" }] }), "ann/chat:", "ann"),
  ).toBeNull();
});
