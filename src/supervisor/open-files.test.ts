import { expect, it } from "vitest";
import { connectionsWithin, openFilesLimit } from "./open-files.ts";

it("leaves files to everything that is no client", () => {
  expect(connectionsWithin(20_000, Number.POSITIVE_INFINITY)).toBe(20_000);
  expect(connectionsWithin(20_000, 1_000_000)).toBe(20_000);
  expect(connectionsWithin(20_000, 1_024)).toBe(896);
  expect(connectionsWithin(20_000, 256)).toBe(192);
  expect(connectionsWithin(20_000, 10)).toBe(1);
});

it("knows this process's limit", () => {
  expect(openFilesLimit()).toBeGreaterThan(64);
});
