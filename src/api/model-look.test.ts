import { expect, test } from "vitest";
import { failure } from "../core/failure.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import type { Hub, RepoListing } from "../ports/hub.ts";
import { chooseByEngines, createModelLook } from "./model-look.ts";

const facts = { format: "gguf", weightBytes: 1 } as ModelFacts;
const commit = "a".repeat(40);

function start(change: { list?: Hub["list"]; inspect?: Hub["inspect"] } = {}) {
  const asked: (string | null)[] = [];
  let now = 0;
  const look = createModelLook({
    hub: {
      list: async ({ repo }, token) => {
        asked.push(`${repo} ${token}`);
        return { ok: true, value: { repo, commit, files: [] } };
      },
      inspect: async () => ({ ok: true, value: facts }),
      ...change,
    },
    clock: { now: () => now, sleep: async () => undefined },
    tokenOf: (account) => (account === "ann" ? "anns token" : null),
    chooseEngine: ({ files }) => ({ engine: "e", runsOn: "cpu", memory: null, files }),
  });
  const pass = (ms: number) => {
    now += ms;
  };
  return { look, asked, pass };
}

const weights = { repo: "o/n", revision: null };

test("each account looks with its own rights, and not again within a minute", async () => {
  const { look, asked, pass } = start();
  const found = await look("ann", weights);
  expect(found).toEqual({
    outcome: "looked",
    looked: { commit, facts, engine: { engine: "e", runsOn: "cpu", memory: null } },
  });
  expect(await look("ann", weights)).toEqual(found);
  await look("bob", weights);
  expect(asked).toEqual(["o/n anns token", "o/n null"]);
  pass(60_000);
  await look("ann", weights);
  expect(asked).toHaveLength(3);
});

test("few at a time; what failed is asked again", async () => {
  const gate = Promise.withResolvers<void>();
  const broken = failure("hub_unreachable", "It is away.", "Try later.");
  const { look } = start({
    list: async () => {
      await gate.promise;
      return { ok: false, failure: broken };
    },
  });
  const looks = [1, 2, 3, 4, 5].map((number) => look("ann", { repo: `o/n${number}`, revision: null }));
  expect(await looks[4]).toEqual({ outcome: "busy" });
  gate.resolve();
  expect(await Promise.all(looks.slice(0, 4))).toEqual(
    [1, 2, 3, 4].map(() => ({ outcome: "failed", failure: broken })),
  );
  expect(await look("ann", weights)).toEqual({ outcome: "failed", failure: broken });
});

test("patience ends", async () => {
  const never = (_weights: unknown, _token: unknown, signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const { look } = start({ list: never });
  expect(await look("ann", weights, 1)).toMatchObject({
    outcome: "failed",
    failure: { code: "hub_unreachable" },
  });
});

test("the first engine that loads the files is the one", () => {
  const listing: RepoListing = { repo: "o/n", commit, files: [] };
  const no = { chooseFiles: () => ({ ok: false }) };
  const yes = { name: "b", runsOn: "gpu", chooseFiles: () => ({ ok: true, value: { files: [] } }) };
  const engines = (...some: readonly object[]) =>
    new Map(some.map((engine, index) => [String(index), engine])) as unknown as Parameters<
      typeof chooseByEngines
    >[0];
  expect(chooseByEngines(engines(no, yes), listing, null)).toEqual({
    engine: "b",
    runsOn: "gpu",
    memory: null,
    files: [],
  });
  expect(chooseByEngines(engines(no), listing, null)).toBeNull();
});
