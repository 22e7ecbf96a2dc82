import fc from "fast-check";
import { expect, test } from "vitest";
import { blockBytes, blocksOf, PrefixIndex, prefixKeys } from "./affinity.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("what begins alike has the same first keys, and no more than these", () => {
  const shared = "s".repeat(3 * blockBytes);
  const one = prefixKeys("ann", bytes(`${shared}${"one".repeat(200)}`));
  const two = prefixKeys("ann", bytes(`${shared}${"two".repeat(200)}`));
  expect(one.slice(0, 3)).toEqual(two.slice(0, 3));
  expect(one.slice(3).some((key) => two.includes(key))).toBe(false);
  expect(prefixKeys("ann", bytes("short"))).toEqual([]);
});

test("no key of one account is another's", () => {
  const prompt = bytes("the same prompt ".repeat(500));
  const bob = new Set(prefixKeys("bob", prompt));
  expect(prefixKeys("ann", prompt).filter((key) => bob.has(key))).toEqual([]);
});

test("a prompt grown at its end keeps its keys", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), fc.uint8Array({ maxLength: 2000 }), (start, more) => {
      const keys = prefixKeys("ann", start);
      expect(prefixKeys("ann", Uint8Array.from([...start, ...more])).slice(0, keys.length)).toEqual(keys);
    }),
  );
});

test("long prompts have few keys, which stand for all of their first 256 KB", () => {
  const keys = prefixKeys("ann", new Uint8Array(2 ** 20));
  expect([keys.length, blocksOf(keys.length) * blockBytes]).toEqual([142, 2 ** 18]);
});

test("an instance is remembered for the beginnings it was sent, the longest unused are forgotten first", () => {
  const index = new PrefixIndex(4);
  index.note("a", [1, 2, 3]);
  expect([index.match("a", [1, 2, 3, 4]), index.match("a", [2]), index.match("b", [1])]).toEqual([3, 1, 0]);
  index.note("a", [1, 9, 10]);
  // Room for four: of the older prompt the end had to go, what both begin with stays.
  expect([index.match("a", [1, 9, 10]), index.match("a", [1, 2, 3])]).toEqual([3, 2]);
  index.keep(new Set(["b"]));
  expect(index.match("a", [1])).toBe(0);
});
