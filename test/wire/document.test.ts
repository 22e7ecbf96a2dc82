/** `/openapi.json` and `/docs`: whole, for everyone, and of this machine alone. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { parametersOf } from "../../src/gateway/faces/openai-parameters.ts";
import { findRoute } from "../../src/gateway/routes.ts";
import * as inference from "../../src/schema/inference.ts";
import { inferenceOperations } from "../../src/schema/inference-operations.ts";
import { templateOf } from "../../src/schema/openapi.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeAll(async () => {
  api = await startRealApi();
});
afterAll(async () => await api?.close());

type Document = {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, { readonly operationId: string }>>;
  readonly components: { readonly schemas: Record<string, unknown> };
};

async function readDocument(): Promise<{ document: Document; text: string }> {
  const { status, text, json } = await api.call("GET", "/openapi.json", { token: null });
  expect(status).toBe(200);
  return { document: json as Document, text };
}

test("the document has every operation, and every shape that it speaks of", async () => {
  const { document, text } = await readDocument();
  expect(document.openapi).toBe("3.1.0");
  for (const { method, path } of [...api.operations, ...inferenceOperations])
    expect(document.paths[templateOf(path)]?.[method.toLowerCase()], `${method} ${path}`).toBeDefined();
  const named = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target = ""]) => target);
  expect(named.length).toBeGreaterThan(50);
  for (const target of named)
    expect(document.components.schemas[target.replace("#/components/schemas/", "")], target).toBeDefined();
});

test("its shapes have DeepInfra's names", async () => {
  const { document } = await readDocument();
  expect(document.paths["/deploy/{deploy_id}/stats"]?.get).toMatchObject({
    operationId: "deploy_stats_deploy__deploy_id__stats_get",
    responses: {
      200: {
        content: { "application/json": { schema: { $ref: "#/components/schemas/DeploymentStatsOut" } } },
      },
    },
  });
  expect(document.components.schemas.DeployLLMIn).toMatchObject({
    required: ["model_name", "gpu"],
    properties: { num_gpus: { type: "integer", minimum: 1, maximum: 8 } },
  });
});

test("the page is for people without a token, and loads nothing from anywhere", async () => {
  const { status, text, headers } = await api.call("GET", "/docs", { token: null });
  expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
  expect(headers["content-security-policy"]).toContain("default-src 'none'");
  expect(text).not.toMatch(/<script|src=|@import|url\(|href="http/);
  for (const { path } of [...api.operations, ...inferenceOperations])
    expect(text).toContain(templateOf(path));
});

test("what is said of inference is what the gateway does", () => {
  for (const { path } of inferenceOperations)
    expect(findRoute(templateOf(path).replace(/\{\w+\}/g, "x")).kind, path).toMatch(/^(inference|models)$/);
  const said = {
    "/v1/chat/completions": inference.chatCompletionsIn,
    "/v1/completions": inference.completionsIn,
    "/v1/embeddings": inference.embeddingsIn,
  };
  // Read by the gateway before an engine sees the body.
  const gateways = new Set(["models", "fail_fast"]);
  for (const [path, shape] of Object.entries(said)) {
    const known = parametersOf[path as keyof typeof said];
    for (const name of Object.keys(shape.shape))
      expect(known.has(name) || gateways.has(name), `${name} of ${path}`).toBe(true);
  }
});
