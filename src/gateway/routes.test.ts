import { expect, test } from "vitest";
import { anthropicFace } from "./faces/anthropic.ts";
import { openAiFace } from "./faces/openai.ts";
import { findRoute, pathOf } from "./routes.ts";

test.each([
  ["/v1/chat/completions", "/v1/chat/completions", ""],
  ["/v1/openai/completions/?a=b", "/v1/openai/completions", "a=b"],
  ["http://host:1/v1/embeddings?#x", "/v1/embeddings", ""],
])("%s is inference", (target, path, query) => {
  const route = { kind: "inference", face: openAiFace, path, query: new URLSearchParams(query) };
  expect(findRoute(target)).toEqual(route);
});

test.each([
  ["/v1/models/", { kind: "models" }],
  ["/v1/openai/models?sort_by=x", { kind: "models" }],
  ["/v1/models/ann%2Fchat", { kind: "model", name: "ann/chat" }],
  ["/v1/openai/models/ann/chat/", { kind: "model", name: "ann/chat" }],
  ["/v1/models/%zz", { kind: "control", target: "/v1/models/%zz" }],
  ["/healthz", { kind: "healthz" }],
  ["/readyz/", { kind: "readyz" }],
  ["/", { kind: "control", target: "/" }],
  ["*", { kind: "control", target: "/*" }],
  ["//v1/models", { kind: "control", target: "//v1/models" }],
  ["/v1/me?x=/v1/models", { kind: "control", target: "/v1/me?x=/v1/models" }],
  ["/v1/openai/images", { kind: "nothing", face: openAiFace }],
  ["/anthropic/v1/complete", { kind: "nothing", face: anthropicFace }],
  ["HTTPS://host", { kind: "control", target: "/" }],
])("%s", (target, route) => {
  expect(findRoute(target)).toEqual(route);
});

test("what is logged of a target has no query and an end", () => {
  expect(pathOf("/a/b?token=secret\n#x")).toBe("/a/b");
  expect(pathOf("/".repeat(10_000))).toHaveLength(512);
});

test.each([
  ["/deploy/list?status=running", "/deploy/list"],
  ["/v1/api-tokens/berth_secret", "/v1/api-tokens/(hidden)"],
  ["/v1/%61pi-tokens//berth_secret/", "/v1/api-tokens//(hidden)/"],
  ["/v1/api-tokens/id/abc", "/v1/api-tokens/id/abc"],
  ["/v1/api-tokens", "/v1/api-tokens"],
  ["/%zz", "/%zz"],
])("logs %s as %s", (target, path) => {
  expect(pathOf(target)).toBe(path);
});

test.each([
  ["/anthropic/v1/messages", "anthropic"],
  ["/anthropic/v1/messages/count_tokens/", "anthropic"],
  ["/v1/inference/ann/chat", "native"],
  ["/v1/inference/ann%2Fchat?version=", "native"],
  ["/v1/inference/deploy/abc", "native"],
  ["/v1/responses", "responses"],
  ["/v1/openai/responses/", "responses"],
  ["/v1/tokenize", "openai"],
  ["/v1/detokenize", "openai"],
])("%s is the %s face's", (target, name) => {
  expect(findRoute(target)).toMatchObject({ kind: "inference", face: { name } });
});

test.each(["/v1/responses/resp_1", "/v1/openai/responses/resp_1/input_items"])(
  "%s is a stored response",
  (target) => {
    expect(findRoute(target)).toEqual({ kind: "response" });
  },
);
