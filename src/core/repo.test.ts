import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isCommit, isRevision, parseLocal, parseRepo, plainName, quantizationOf } from "./repo.ts";

test("takes owner, name and quantization apart", () => {
  expect(parseRepo("Qwen/Qwen3-0.6B")).toEqual({ owner: "Qwen", name: "Qwen3-0.6B", quantization: null });
  expect(parseRepo("unsloth/Qwen3-GGUF:UD-Q4_K_XL")).toEqual({
    owner: "unsloth",
    name: "Qwen3-GGUF",
    quantization: "UD-Q4_K_XL",
  });
  expect(parseRepo("_o_/n")).toEqual({ owner: "_o_", name: "n", quantization: null });
  expect(parseRepo(`${"o".repeat(96)}/${"n".repeat(96)}`)).not.toBeNull();
});

test.each([
  "",
  "name",
  "/name",
  "owner/",
  "a/b/c",
  "../etc",
  "owner/..",
  "owner/a..b",
  "owner/a--b",
  "owner/-a",
  "owner/a-",
  "owner/.a",
  "owner/a.",
  "owner/a.git",
  "owner/a b",
  "owner/a\n",
  "owner/a\0",
  "owner/ä",
  "owner/a%2f",
  "owner\\a",
  "https://huggingface.co/owner/a",
  "owner/a:",
  "owner/a:Q4:Q5",
  "owner/a:-Q4",
  "owner/a:Q4/..",
  `${"o".repeat(97)}/n`,
  `o/${"n".repeat(97)}`,
  "x".repeat(1_000_000),
])("refuses %j as a repository", (repo) => {
  expect(parseRepo(repo)).toBeNull();
});

test.each(["main", "v1.0", "refs/pr/12", "feature/a_b", "a+b@c", "0".repeat(40)])(
  "accepts %j as a revision",
  (revision) => {
    expect(isRevision(revision)).toBe(true);
  },
);

test.each([
  "",
  "..",
  "a..b",
  "a/../b",
  "a//b",
  "/a",
  "a/",
  ".a",
  "a/.b",
  "a.",
  "-a",
  "a b",
  "a\n",
  "a?b",
  "a#b",
  "a\\b",
  "x".repeat(201),
])("refuses %j as a revision", (revision) => {
  expect(isRevision(revision)).toBe(false);
});

test("knows a full commit id", () => {
  expect(isCommit("0123456789abcdef0123456789abcdef01234567")).toBe(true);
  expect(isCommit("a".repeat(64))).toBe(true);
  expect(isCommit("A".repeat(40))).toBe(false);
  expect(isCommit("a".repeat(39))).toBe(false);
});

describe("local names", () => {
  test.each([
    ["file:///models/qwen", "/models/qwen", null],
    ["file:///models/qwen/", "/models/qwen", null],
    ["file:///models/qwen:Q4_K_M", "/models/qwen", "Q4_K_M"],
    ["file:///m/a%20b c.gguf", "/m/a%20b c.gguf", null],
  ])("%s is a path and a quantization", (given, path, quantization) => {
    expect(parseLocal(given)).toEqual({ path, quantization });
    expect(quantizationOf(given)).toBe(quantization);
    expect(plainName(given)).toBe(`file://${path}`);
  });

  test.each([
    ...["file://", "file:///", "file://host/x", "file:models", "FILE:///x", "/models/x", "file:///a//b"],
    ...["file:///a/../b", "file:///./a", "file:///a/..", "file:///a\\b", "file:///a\u0000b", "file:///a:b:c"],
    `file:///${"x".repeat(1000)}`,
  ])("%j is none", (given) => {
    expect(parseLocal(given)).toBeNull();
  });

  test("whatever is accepted is absolute and has no way up", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const path = parseLocal(`file:///${text}`)?.path ?? "/ok";
        expect(path.startsWith("/")).toBe(true);
        expect(path.split("/").slice(1)).not.toContain("..");
        expect(path.split("/").slice(1)).not.toContain("");
      }),
    );
  });
});
