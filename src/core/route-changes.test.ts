import { array, assert, constant, constantFrom, integer, property, record, uniqueArray } from "fast-check";
import { expect, test } from "vitest";
import { unknownAbilities } from "./abilities.ts";
import { applyChanges, changesBetween, keepSame } from "./route-changes.ts";
import type { RouteModel, RoutingSnapshot } from "./routing.ts";

const model = (deploymentId: string, contextTokens: number): RouteModel => ({
  ...{ deploymentId, name: `a/${deploymentId}`, account: "a", isPublic: false, state: "asleep", reason: "" },
  ...{ loadTimeMs: null, createdAtMs: 1, contextTokens, task: "text-generation", version: "", instances: [] },
  ...{ abilities: unknownAbilities, prices: { inputUsd: 0, outputUsd: 0, cachedUsd: 0 } },
});

/** Models that are the same are the same object, as those that `routesOf` keeps. */
const pool = ["d1", "d2", "d3", "d4"].map((id) => [1, 2].map((tokens) => model(id, tokens)));
const models = uniqueArray(constantFrom(...pool.flat()), { selector: ({ deploymentId }) => deploymentId });
const snapshot = record({
  ...{ version: integer({ min: 1, max: 9 }), atMs: integer({ min: 0, max: 9 }), models },
  ...{ tokens: constant([]), accounts: constant([]), limitedTokens: constant([]) },
  spentScopes: array(constantFrom("s1", "s2"), { maxLength: 2 }),
});

const sorted = (routes: RoutingSnapshot | null) =>
  routes && {
    ...routes,
    models: [...routes.models].sort((a, b) => (a.deploymentId < b.deploymentId ? -1 : 1)),
  };

test("changes lead from any picture to any other, also over the wire", () => {
  assert(
    property(snapshot, snapshot, (before, given) => {
      const after = keepSame(before, given);
      expect(after).toEqual(given);
      const changes = JSON.parse(JSON.stringify(changesBetween(before, after)));
      expect(sorted(applyChanges(before, changes))).toEqual(sorted(after));
    }),
  );
});

test("what stays is not sent, and is the same object afterwards", () => {
  const [[d1] = [], [d2, other] = []] = pool;
  if (d1 === undefined || d2 === undefined || other === undefined) throw new Error("the pool is too small");
  const before: RoutingSnapshot = {
    ...{ version: 1, atMs: 1, tokens: [], accounts: [], limitedTokens: [], spentScopes: ["s"] },
    models: [d1, d2],
  };
  const after = keepSame(before, { ...before, version: 2, spentScopes: ["s"], models: [d1, other] });
  const changes = changesBetween(before, after);
  expect(changes).toEqual({ since: 1, version: 2, atMs: 1, models: [other], gone: [] });
  expect(applyChanges(before, changes)?.models[0]).toBe(d1);
});

test("changes of another picture are refused", () => {
  const before: RoutingSnapshot = {
    ...{ version: 1, atMs: 1, tokens: [], accounts: [], limitedTokens: [], spentScopes: [], models: [] },
  };
  expect(
    applyChanges({ ...before, version: 3 }, changesBetween(before, { ...before, version: 4 })),
  ).toBeNull();
});
