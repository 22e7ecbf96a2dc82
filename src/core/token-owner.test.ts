import { expect, it } from "vitest";
import { servesAccount } from "./token-owner.ts";

it("serves the first account alone when nobody is named", () => {
  expect(servesAccount(undefined, "admin", "admin")).toBe(true);
  expect(servesAccount(undefined, "admin", "bob")).toBe(false);
});

it("serves exactly those who are named, the first account only if it is one of them", () => {
  const named = " bob , Carla";
  expect(servesAccount(named, "admin", "bob")).toBe(true);
  expect(servesAccount(named, "admin", "carla")).toBe(true);
  expect(servesAccount(named, "admin", "admin")).toBe(false);
  expect(servesAccount(named, "admin", "bo")).toBe(false);
});

it("serves nobody by an empty name", () => {
  expect(servesAccount("", "admin", "admin")).toBe(false);
  expect(servesAccount("bob,,", "admin", "")).toBe(false);
});
