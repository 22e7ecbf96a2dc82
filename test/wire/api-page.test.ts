/** docs/reference/api.md names every operation there is, and none that is not. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { inferenceOperations } from "../../src/schema/inference-operations.ts";
import { templateOf } from "../../src/schema/openapi.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

const page = readFileSync(new URL("../../docs/reference/api.md", import.meta.url), "utf8");
/** What the gateway serves by itself. */
const gatewayPaths =
  /^\/(healthz|readyz|metrics|anthropic|v1\/(chat|completions|embeddings|inference|models|responses|(de)?tokenize))/;

let api: RealApi;
beforeAll(async () => {
  api = await startRealApi();
});
afterAll(() => api?.close());

it("has every operation of the API", () => {
  const written = new Set(
    [...page.matchAll(/`(GET|POST|PUT|PATCH|DELETE) (\/\S+)`/g)].map(
      ([, method, path]) => `${method} ${path}`,
    ),
  );
  const ofGateway = [...written].filter((one) => gatewayPaths.test(one.split(" ")[1] ?? ""));
  const served = api.operations.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
  expect([...written].filter((one) => !ofGateway.includes(one)).toSorted()).toEqual(
    [...new Set(served)].toSorted(),
  );
});

it("has every operation of the gateway", () => {
  for (const { method, path } of inferenceOperations.filter((each) => !each.path.startsWith("/v1/openai/")))
    expect(page).toContain(`\`${method} ${templateOf(path)}\``);
});
