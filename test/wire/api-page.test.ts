/** docs/reference/api.md names every operation there is, and none that is not. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

const page = readFileSync(new URL("../../docs/reference/api.md", import.meta.url), "utf8");
/** What the gateway serves by itself. */
const gatewayPaths =
  /^\/(healthz|readyz|anthropic\/|v1\/(chat|completions|embeddings|models|responses|tokenize|detokenize|inference))/;

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
