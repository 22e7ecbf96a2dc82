/** Every answer of the deploy API against the published document's shapes, in every state a deployment can be in. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { failure } from "../../src/core/failure.ts";
import { type Answer, type RealApi, startRealApi } from "./real-api.ts";

const published: Record<string, Record<string, unknown>> = JSON.parse(
  readFileSync(new URL("published-shapes.json", import.meta.url), "utf8"),
);

function shape(name: string): z.ZodType {
  return z.fromJSONSchema({ $ref: `#/$defs/${name}`, $defs: published });
}

function expectShape(answer: Answer, status: number, name: string): void {
  expect(answer.status, answer.text).toBe(status);
  const parsed = shape(name).safeParse(answer.json);
  expect(parsed.error?.issues ?? []).toEqual([]);
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
}

let api: RealApi;
beforeAll(async () => {
  api = await startRealApi();
});
afterAll(async () => await api.close());

const body = { model_name: "m", gpu: "other", hf: { repo: "org/model", token: "hf_secret" } };

test("the shapes refuse what is not so", () => {
  expect(shape("DeploymentOut").safeParse({}).success).toBe(false);
  expect(shape("LogQueryOut").safeParse({ entries: [["1"]] }).success).toBe(false);
});

test("a deployment in every state", async () => {
  const created = await api.call("POST", "/deploy/llm", { body });
  expectShape(created, 200, "DeploymentOut");
  const id = (created.json as { deploy_id: string }).deploy_id;
  const expectStatus = async (status: string) => {
    const one = await api.call("GET", `/deploy/${id}`);
    expectShape(one, 200, "DeploymentOut");
    expect(one.json).toMatchObject({ status, type: "llm" });
  };
  await expectStatus("initializing");
  const resolved = { commit: "a".repeat(40), files: [], engine: "e", entryFile: "f", task: "embeddings" };
  await api.store.changeDeployment(id, (now) => ({ ...now, resolved }));
  await expectStatus("downloading");
  await api.store.changeDeployment(id, (now) => ({ ...now, weightsReadyAtMs: 1 }));
  await expectStatus("deploying");
  await api.store.changeDeployment(id, (now) => ({ ...now, failure: failure("disk_full", "A.", "B.") }));
  await expectStatus("failed");
  expectShape(await api.call("PUT", `/deploy/${id}`, { body: { settings: {} } }), 200, "DeployStatusOut");
  expectShape(await api.call("POST", `/deploy/${id}/stop`), 200, "DeployStatusOut");
  await expectStatus("stopped");
  expectShape(await api.call("POST", `/deploy/${id}/start`), 200, "DeployStatusOut");
  expectShape(await api.call("GET", `/v1/logs/query?deploy_id=${id}`), 200, "LogQueryOut");
  const pods = await api.call("GET", `/v1/deployment_logs/query?deploy_id=${id}`);
  expectShape(pods, 200, "DeploymentLogQueryOut");
  expectShape(await api.call("DELETE", `/deploy/${id}`), 200, "DeployDelete");
  await expectStatus("deleted");
});

test("lists", async () => {
  for (const url of ["/deploy/list", "/deploy/list/", "/deploy/list?status=deleted,initializing"]) {
    const list = await api.call("GET", url, { token: api.tokens.root });
    expect(list.status).toBe(200);
    for (const each of z.array(z.unknown()).parse(list.json)) {
      expect(shape("DeploymentOut").safeParse(each).error?.issues ?? []).toEqual([]);
    }
  }
});

test("the others", async () => {
  expectShape(await api.call("GET", "/deploy/llm/gpu_availability"), 200, "DeployGPUAvailability");
  expectShape(await api.call("GET", "/v1/me?checklist=false"), 200, "Me");
  const made = await api.call("POST", "/v1/api-tokens", { body: { name: "ci" } });
  expectShape(made, 200, "ApiToken");
  const { token_id } = made.json as { token_id: string };
  expectShape(await api.call("GET", `/v1/api-tokens/id/${token_id}`), 200, "ApiToken");
});

test("refusals", async () => {
  expectShape(await api.call("GET", "/deploy/nosuch"), 404, "DeepError");
  expectShape(await api.call("GET", "/deploy/list?status=odd"), 400, "DeepError");
  expectShape(await api.call("GET", "/deploy/list", { token: null }), 401, "DeepError");
  expectShape(await api.call("GET", "/nosuch"), 404, "DeepError");
  expectShape(await api.call("PUT", "/deploy/list", { body: {} }), 405, "DeepError");
  const refused = await api.call("POST", "/deploy/llm", { body: { gpu: "TPU", num_gpus: 0 } });
  expectShape(refused, 422, "HTTPValidationError");
  expectShape(refused, 422, "DeepError");
});
