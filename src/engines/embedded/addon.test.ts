/** The engine drives an addon that its package does not offer to others: what it relies on is held here. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { checkAddon, openAddon } from "./addon.ts";

/** Of `llama/addon` in node-llama-cpp 3.21.1. */
const readSource = "c1d9b61f725b6fa1c6ded6b3c3c6a8186e3bcf45f182f273078bd451bcde76d6";

test("the addon is made from the source that the engine was written for", () => {
  const folder = join(dirname(createRequire(import.meta.url).resolve("node-llama-cpp")), "../llama/addon");
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).toSorted()) {
    if (/^Addon.*\.(cpp|h)$/.test(name)) hash.update(readFileSync(join(folder, name)));
  }
  expect(
    hash.digest("hex"),
    "node-llama-cpp brings another addon: compare its llama/addon with that of the release before, bring addon.ts and what calls it up to date, then enter the new hash",
  ).toBe(readSource);
});

test("an addon that lacks what is used is refused by name", async () => {
  const addon = await openAddon(() => {});
  expect(checkAddon(addon)).toBe(addon);
  const without = (names: readonly string[]) =>
    Object.create(addon, Object.fromEntries(names.map((name) => [name, { value: undefined }]))) as unknown;
  expect(() => checkAddon(without(["setLogger", "AddonSampler"]))).toThrow(
    /not the one .* no setLogger, AddonSampler$/,
  );
});
