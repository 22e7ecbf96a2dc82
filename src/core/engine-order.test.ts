import { expect, test } from "vitest";
import { orderEngines } from "./engine-order.ts";

const engine = (name: string, cacheScope: "header" | "salt" | "none") => ({
  name,
  abilities: { cacheScope },
});
const engines = [engine("fast", "none"), engine("own", "header"), engine("big", "salt")];
const names = (isPublic: boolean) => orderEngines(engines, { isPublic }).map(({ name }) => name);

test("an account's own deployment goes by the installation's order", () => {
  expect(names(false)).toEqual(["fast", "own", "big"]);
});

test("a public one goes first to engines that keep accounts' prompts apart", () => {
  expect(names(true)).toEqual(["own", "big", "fast"]);
});
