import { expect, test } from "vitest";
import { sampleDeployment, sampleInstance } from "../store/samples.ts";
import { type RoutesInput, routesOf } from "./routes.ts";

test("the route of a deployment stays the same object as long as nothing of it changes", () => {
  const deployment = sampleDeployment({ id: "d1" });
  const input: RoutesInput = {
    ...{ version: 1, atMs: 1, tokens: [], admins: new Set(), deployments: [deployment], instances: [] },
    ...{ secrets: new Map(), accounts: [], spentScopes: [] },
    ...{ abilities: new Map(), prices: new Map(), known: new WeakMap() },
  };
  const routeOf = (change: Partial<RoutesInput> = {}) => routesOf({ ...input, ...change }).models[0];
  const first = routeOf();
  expect(routeOf({ version: 2 })).toBe(first);
  const starting = routeOf({ instances: [sampleInstance({ deploymentId: "d1" })] });
  expect(starting).not.toBe(first);
  expect(routeOf()).toEqual(first);
  expect(routeOf({ deployments: [{ ...deployment, desired: "stop" }] })?.state).toBe("off");
});
