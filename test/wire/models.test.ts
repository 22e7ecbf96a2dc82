/** The model pages, presets and the older ways to deploy, over the real API: their shapes, and who sees and changes what. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { standardKnobs } from "../../src/core/standard-args.ts";
import { standardArgsIn } from "../../src/schema/standard-args.ts";
import { type Answer, allowedImage, type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
let mine = "";
beforeAll(async () => {
  api = await startRealApi();
  const made = await api.call("POST", "/deploy/llm", {
    body: { model_name: "m", gpu: "other", hf: { repo: "org/model:Q4_K_M" } },
  });
  mine = (made.json as { deploy_id: string }).deploy_id;
  const resolved = {
    ...{ commit: "a".repeat(40), files: [], engine: "test", entryFile: "f" },
    task: "text-generation",
  };
  await api.store.changeDeployment(mine, (now) => ({ ...now, resolved }));
});
afterAll(async () => await api.close());

const names = ({ json }: Answer) => (json as { model_name: string }[]).map((one) => one.model_name);
const info = (name: string, token: string | null = api.tokens.ann) =>
  api.call("GET", `/models/${name}`, { token });

test("lists: what everyone may call without a token, one's own with one", async () => {
  expect(names(await api.call("GET", "/models/list", { token: null }))).toEqual(["berth/starter"]);
  expect(names(await api.call("GET", "/models/featured", { token: "wrong" }))).toEqual(["berth/starter"]);
  expect(names(await api.call("GET", "/models/private/list"))).toEqual(["ann/m"]);
  expect(names(await api.call("GET", "/models/private/list", { token: api.tokens.bob }))).toEqual([]);
  expect((await api.call("GET", "/models/private/list", { token: null })).status).toBe(401);
  expect(names(await api.call("GET", "/models/deployment/list")).length).toBeGreaterThanOrEqual(30);
});

test.each(["ann/m", "ann%2Fm", "m", "ANN/M", "ann/m/"])("a page under the name %s", async (name) => {
  const { status, json } = await info(name);
  expect(status).toBe(200);
  expect(json).toMatchObject({
    model_name: "ann/m",
    version: "a".repeat(40),
    owner: true,
    public: false,
    pricing: { type: "tokens", cents_per_input_token: 0.0001, cents_per_output_token: 0.0002 },
    quantization: "Q4_K_M",
    curl_inv: expect.stringContaining("http://berth.test/v1/openai/chat/completions"),
  });
});

test("what the caller may not see looks like what is not there", async () => {
  const foreign = await info("ann/m", api.tokens.bob);
  const missing = await info("ann/nothing", api.tokens.bob);
  expect([foreign.status, foreign.text]).toEqual([404, missing.text]);
  expect((await info("ann/m", null)).text).toBe(missing.text);
  for (const [method, path, body] of [
    ["POST", "/models/ann/m/meta", { description: "x" }],
    ["POST", "/models/ann%2Fm/publicity", { public: true }],
    ["GET", "/models/ann/m/versions", undefined],
    ["DELETE", "/models/ann/m?version=ALL", undefined],
  ] as const) {
    const answer = await api.call(method, path, { body, token: api.tokens.bob });
    expect([answer.status, answer.text], path).toEqual([404, missing.text]);
  }
  expect((await info("ann/m")).status).toBe(200);
});

test("versions: the commit, and no other", async () => {
  const versions = await api.call("GET", "/models/ann/m/versions");
  expect(versions.json).toEqual([
    { model_name: "ann/m", version: "a".repeat(40), uploaded_at: "2026-11-23T12:00:00.000+00:00" },
  ]);
  expect((await info(`ann/m?version=${"a".repeat(40)}`)).status).toBe(200);
  expect((await info("ann/m?version=other")).status).toBe(404);
});

test("meta: what is named changes, unknown keys are refused", async () => {
  const put = (body: object) => api.call("POST", "/models/ann/m/meta", { body });
  expect((await put({ description: "It's mine", github_url: "https://example.com/x" })).json).toEqual({});
  await put({ github_url: "" });
  const refused = await put({ colour: "red" });
  expect(refused.status).toBe(422);
  expect(refused.json).toMatchObject({ detail: [{ loc: ["body", "colour"], type: "extra_forbidden" }] });
  expect((await info("ann/m")).json).toMatchObject({
    description: "It's mine",
    meta: { description: "It's mine" },
  });
  const starter = await api.call("POST", "/models/berth/starter/meta", { body: { description: "x" } });
  expect(starter.status).toBe(403);
});

test("publicity: everyone sees it, its owner alone changes it, and back", async () => {
  await api.call("POST", "/models/ann/m/publicity", { body: { public: true } });
  expect(names(await api.call("GET", "/models/list", { token: null }))).toContain("ann/m");
  expect((await info("ann/m", api.tokens.bob)).json).toMatchObject({ owner: false, public: true });
  const foreign = await api.call("POST", "/models/ann/m/publicity", {
    body: { public: false },
    token: api.tokens.bob,
  });
  expect(foreign.status).toBe(403);
  expect((await api.call("POST", "/models/ann/m/publicity", { body: {} })).status).toBe(422);
  await api.call("POST", "/models/ann/m/publicity", { body: { public: false } });
  expect((await info("ann/m", api.tokens.bob)).status).toBe(404);
});

test("presets of a repository, by GPU and engine; none of an unknown one", async () => {
  const presets = async (query: string) =>
    (await api.call("GET", `/deploy/llm/presets?${query}`)).json as { id: string; gpu_configs: string[] }[];
  const all = await presets("hf_repo_id=Qwen/Qwen3-8B");
  expect(all.length).toBeGreaterThan(3);
  for (const preset of all) {
    expect(preset.gpu_configs[0]).toMatch(/^\dx/);
  }
  expect(await presets("hf_repo_id=qwen/qwen3-8b&gpu=H100-80GB&engine=vllm")).toMatchObject([
    { id: "Qwen/Qwen3-8B@1xH100-80GB", gpu_configs: ["1xH100-80GB"], source: "deepinfra", engine: "vllm" },
  ]);
  expect(await presets("hf_repo_id=nobody/nothing")).toEqual([]);
  expect((await api.call("GET", "/deploy/llm/presets")).status).toBe(422);
});

test("a preset brings its arguments; a field that is given replaces the preset's", async () => {
  const deploy = async (extra: object) => {
    const { json, text } = await api.call("POST", "/deploy/llm", {
      body: {
        model_name: `p${api.poked.length}`,
        gpu: "L40S-48GB",
        base_model: "Qwen/Qwen3-14B",
        preset_id: "Qwen/Qwen3-14B@1xL40S-48GB",
        ...extra,
      },
    });
    expect(json, text).toMatchObject({
      config: { base_model: "Qwen/Qwen3-14B", weights: { repo: "Qwen/Qwen3-14B" } },
    });
    return json as { standard_args: object; extra_args: string[] };
  };
  const plain = await deploy({});
  expect(plain.extra_args).toContain("--reasoning-parser");
  const replaced = await deploy({ extra_args: ["--seed", "1"], standard_args: { max_context_size: 4096 } });
  expect(replaced).toMatchObject({ extra_args: ["--seed", "1"], standard_args: { max_context_size: 4096 } });
});

test("an allowed image is taken, and shown", async () => {
  const { json } = await api.call("POST", "/deploy/llm", {
    body: { model_name: "image", gpu: "other", base_model: "berth/starter", container_image: allowedImage },
  });
  expect(json).toMatchObject({ config: { container_image: allowedImage } });
});

test("the knobs of an engine, equal to what is checked", async () => {
  const { json } = await api.call("GET", "/deploy/llm/standard_args");
  const shown = json as Record<string, { minimum?: number; maximum?: number; enum?: string[] }>;
  expect(Object.keys(shown)).toEqual(Object.keys(standardArgsIn.shape));
  for (const { wire, min, max, choices } of Object.values(standardKnobs)) {
    expect(shown[wire]).toMatchObject({ ...(min === undefined ? {} : { minimum: min, maximum: max }) });
    const accepts = (value: unknown) => standardArgsIn.safeParse({ [wire]: value }).success;
    for (const value of choices ?? (min === undefined ? [true] : [min, max]))
      expect(accepts(value), wire).toBe(true);
    for (const value of min === undefined ? ["nosuch"] : [min - 1, (max ?? 0) + 1]) {
      expect(accepts(value), wire).toBe(false);
    }
  }
  const unknown = await api.call("GET", "/deploy/llm/standard_args?engine=nosuch");
  expect([unknown.status, unknown.json]).toMatchObject([
    422,
    { error: expect.stringContaining("vllm, test") },
  ]);
});

test("a name that is free", async () => {
  const suggest = async (name: string) =>
    (await api.call("GET", `/deploy/llm/suggest_name?model_name=${encodeURIComponent(name)}`)).json;
  expect(await suggest("Qwen/Qwen3-8B")).toEqual({ model_name: "ann/Qwen3-8B" });
  expect(await suggest("M")).toEqual({ model_name: "ann/M-2" });
  expect(await suggest("../../ weird:name")).toEqual({ model_name: "ann/weird" });
  expect(await suggest("")).toEqual({ model_name: "ann/model" });
});

test("the older ways to deploy", async () => {
  const byName = await api.call("POST", "/v1/deploy", { body: { model_name: "berth/starter" } });
  expect(byName.json).toEqual({ deploy_id: expect.any(String) });
  const { deploy_id } = byName.json as { deploy_id: string };
  expect((await api.call("GET", `/deploy/${deploy_id}`)).json).toMatchObject({
    model_name: "ann/starter",
    config: { gpu: "other", base_model: "berth/starter" },
  });
  const hf = await api.call("POST", "/deploy/hf/", {
    body: { model_name: "org/other", task: "text-generation" },
  });
  expect(hf.status).toBe(200);
  expect((await api.call("POST", "/deploy/hf/", { body: { model_name: "org/other" } })).status).toBe(409);
  const refused = await api.call("POST", "/deploy/hf/", { body: { model_name: "../.." } });
  expect([refused.status, refused.json]).toMatchObject([422, { detail: [{ loc: ["body", "model_name"] }] }]);
});

test("what could be placed: prices by GPU, recommended by the catalogue", async () => {
  const gpu = (id: string) => ({
    ...{ id, type: "H100-80GB", name: "H100", memoryBytes: 80e9, usable: true, reason: null },
  });
  api.nodes = [{ node: "a", cpuCores: 8, memoryBytes: 64 * 2 ** 30, gpus: [gpu("1"), gpu("2")] }];
  const { json } = await api.call("GET", "/deploy/llm/gpu_availability?base_model=Qwen/Qwen3-32B");
  expect(json).toEqual({
    gpus: [
      { gpu_config: "1xH100-80GB", usd_per_hour: 2, available: true, recommended: false },
      { gpu_config: "2xH100-80GB", usd_per_hour: 4, available: true, recommended: true },
      { gpu_config: "1xother-64GB", usd_per_hour: 0, available: true, recommended: true },
    ],
  });
});

test("whether a repository fits, with prices, and what is here first", async () => {
  api.nodes = [{ node: "a", cpuCores: 8, memoryBytes: 64 * 2 ** 30, gpus: [] }];
  const fit = await api.call(
    "GET",
    "/v1/berth/fit?source=berth/starter&gpu=H100-80GB&num_gpus=2&context=512",
  );
  expect(fit.json).toMatchObject({
    engine: "test",
    model: { architecture: "llama", context: 1024 },
    asked: { gpu: "H100-80GB", num_gpus: 2, here: false, verdict: "fits", context: 512, usd_per_hour: 4 },
    configurations: [{ gpu: "other", num_gpus: 0, here: true }, { here: false }, {}, {}, {}, {}, {}, {}, {}],
  });
});

test("the answers have the published shapes", async () => {
  const published = JSON.parse(readFileSync(new URL("published-shapes.json", import.meta.url), "utf8"));
  for (const [path, name] of [
    ["/models/ann/m", "ModelInfoOut"],
    ["/models/ann/m/versions", "ModelVersionOut"],
    ["/models/list", "ModelOut"],
    ["/models/deployment/list", "ModelOut"],
  ] as const) {
    const shape = z.fromJSONSchema({ $ref: `#/$defs/${name}`, $defs: published });
    const { json } = await api.call("GET", path);
    for (const one of Array.isArray(json) ? json : [json]) {
      expect(shape.safeParse(one).error?.issues ?? [], path).toEqual([]);
    }
  }
});

test("deleting a model by its name", async () => {
  expect((await api.call("DELETE", "/models/ann/m")).status).toBe(422);
  expect((await api.call("DELETE", "/models/ann/m?version=other")).status).toBe(404);
  expect((await api.call("DELETE", "/models/ann/m?version=ALL")).json).toEqual({});
  expect((await info("ann/m")).status).toBe(404);
  expect((await api.call("GET", `/deploy/${mine}`)).json).toMatchObject({ status: "deleted" });
});
