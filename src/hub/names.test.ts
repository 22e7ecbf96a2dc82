import { expect, test } from "vitest";
import { blobName, findCollision, isFilePath, plainRepo, repoFolder } from "./names.ts";

test("names the folder as Python's client does", () => {
  expect(repoFolder("Qwen/Qwen3-0.6B")).toBe("models--Qwen--Qwen3-0.6B");
  expect(plainRepo("Qwen/Qwen3-GGUF:Q4_K_M")).toBe("Qwen/Qwen3-GGUF");
  expect(plainRepo("../x")).toBeNull();
});

test.each(["a", "a/b.gguf", "a b/ü.txt", ".gitattributes", "..a", "a/...", "x".repeat(255)])(
  "accepts the path %j",
  (path) => {
    expect(isFilePath(path)).toBe(true);
  },
);

test.each([
  "",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "../a",
  "a/../b",
  "a/./b",
  "a\\b",
  "a\0b",
  "a\nb",
  "a\ud800",
  "x".repeat(256),
  "ü".repeat(128),
  `${"a/".repeat(32)}a`,
  `${"abcdefghi/".repeat(110)}a`,
])("refuses the path %j", (path) => {
  expect(isFilePath(path)).toBe(false);
});

test("finds names that cannot be stored together", () => {
  expect(findCollision(["a", "b/c", "b/d"])).toBeNull();
  expect(findCollision(["a", "b/A", "B/a"])).toEqual(["b/A", "B/a"]);
  expect(findCollision(["\u00fc", "u\u0308"])).not.toBeNull();
  expect(findCollision(["a/b", "A"])).toEqual(["A", "a/b"]);
});

test("a blob is named by the hash it must have, and only by a well-formed one", () => {
  const file = { path: "f", bytes: 1 };
  expect(blobName({ ...file, sha256: "a".repeat(64), gitOid: "b".repeat(40) })).toBe("a".repeat(64));
  expect(blobName({ ...file, sha256: null, gitOid: "b".repeat(40) })).toBe("b".repeat(40));
  expect(blobName({ ...file, sha256: null, gitOid: null })).toBeNull();
  expect(blobName({ ...file, sha256: "../../x", gitOid: "b".repeat(40) })).toBeNull();
  expect(blobName({ ...file, sha256: null, gitOid: "B".repeat(40) })).toBeNull();
});
