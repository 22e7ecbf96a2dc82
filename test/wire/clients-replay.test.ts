/**
 * What deepctl and the shell scripts in the wild send to the deploy API, word for word, and what they read of the answers:
 * no Content-Type, both slashes, names that climb over slashes, times as text.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeEach(async () => {
  api = await startRealApi();
});
afterEach(async () => await api.close());

/** reqwest's `.body(String)`: JSON without a Content-Type. */
const deepctl = (method: string, url: string, body?: unknown) =>
  api.call(method, url, {
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { "user-agent": "deepctl/0.6.0", accept: "*/*" },
  });

/** `deploy create-llm`, which sends no settings. */
async function createLlm(): Promise<string> {
  const created = await deepctl("POST", "/deploy/llm", {
    model_name: "test-model",
    gpu: "A100-80GB",
    num_gpus: 1,
    max_batch_size: 16,
    hf: { repo: "org/model", revision: "main", token: "hf_x" },
  });
  expect(created.status, created.text).toBe(200);
  const { deploy_id } = created.json as { deploy_id: unknown };
  expect(typeof deploy_id).toBe("string");
  return String(deploy_id);
}

test("a version is checked, a token is tried", async () => {
  const version = await api.call("GET", "/cli/version?version=0.6.0", { token: null });
  const { min, update, latest } = version.json as Record<string, unknown>;
  for (const each of [min, update, latest]) expect(each).toMatch(/^\d+(\.\d+)*$/);
  expect(String(min) <= "0.6.0").toBe(true);
  expect((await deepctl("GET", "/v1/me")).status).toBe(200);
  expect((await api.call("GET", "/v1/me", { token: "wrong" })).status).toBe(401);
});

test("deploy: create, info, list, update, delete", async () => {
  const id = await createLlm();
  const info = await deepctl("GET", `/deploy/${id}`);
  expect(info.json).toMatchObject({ status: "initializing", fail_reason: "", model_name: "ann/test-model" });
  const listed = await deepctl("GET", "/deploy/list/");
  expect(listed.json).toMatchObject([
    { deploy_id: id, status: "initializing", model_name: "ann/test-model" },
  ]);
  for (const inactive_shutdown of [null, 300]) {
    const settings = { min_instances: 0, max_instances: 2, inactive_shutdown };
    expect((await deepctl("PUT", `/deploy/${id}`, { settings })).status).toBe(200);
  }
  expect((await deepctl("GET", `/deploy/${id}`)).json).toMatchObject({
    settings: { min_instances: 0, max_instances: 2, inactive_shutdown: 300 },
    config: { gpu: "A100-80GB", num_gpus: 1 },
  });
  expect((await deepctl("DELETE", `/deploy/${id}`)).status).toBe(200);
  expect((await deepctl("GET", "/deploy/list/")).json).toEqual([]);
});

test("deploy create: the older way, with its slash", async () => {
  const created = await deepctl("POST", "/deploy/hf/", { model_name: "org/model", task: "text-generation" });
  expect(created.status, created.text).toBe(200);
  expect(created.json).toEqual({ deploy_id: expect.stringMatching(/^\w+$/) });
  const bash = await api.call("POST", "/v1/deploy", {
    body: { provider: "huggingface", model_name: "org/another" },
  });
  expect(bash.status, bash.text).toBe(200);
  expect((await api.call("GET", "/deploy/list?status=initializing")).json).toMatchObject([
    { deploy_id: (bash.json as { deploy_id: string }).deploy_id },
    { deploy_id: (created.json as { deploy_id: string }).deploy_id },
  ]);
});

test("a refused creation is JSON that can be printed", async () => {
  const refused = await deepctl("POST", "/deploy/llm", {
    model_name: "m",
    gpu: "a100-80gb",
    hf: { repo: "x" },
  });
  expect(refused.status).toBe(422);
  expect(refused.json).toMatchObject({ error: expect.stringContaining("gpu"), detail: expect.any(Array) });
});

test("model: list, info, versions, set", async () => {
  const id = await createLlm();
  const lists = await Promise.all(["/models/list", "/models/private/list"].map((url) => deepctl("GET", url)));
  for (const { status, json } of lists) {
    expect(status).toBe(200);
    for (const each of json as unknown[])
      expect(each).toMatchObject({ type: expect.any(String), model_name: expect.any(String) });
  }
  expect(lists[1]?.json).toMatchObject([{ model_name: "ann/test-model", private: 1 }]);
  for (const url of [
    "/models/ann/test-model?version=",
    "/models/ann/test-model",
    "/models/ann%2Ftest-model",
  ]) {
    const { status, json } = await deepctl("GET", url);
    expect(status, url).toBe(200);
    const model = json as Record<string, unknown> & { pricing: Record<string, unknown> };
    for (const name of ["type", "version", "curl_inv", "cmdline_inv", "txt_docs", "out_example", "out_docs"])
      expect(typeof model[name], name).toBe("string");
    const price = model.pricing.type === "time" ? "cents_per_sec" : "cents_per_output_token";
    expect(typeof model.pricing[price]).toBe("number");
  }
  expect((await deepctl("GET", "/models/ann/test-model/versions")).status).toBe(200);
  const described = await deepctl("POST", "/models/ann/test-model/meta", { description: "mine" });
  expect(described.status, described.text).toBe(200);
  expect((await deepctl("POST", "/models/ann/test-model/publicity", { public: true })).status).toBe(200);
  expect((await deepctl("POST", "/models/ann/nosuch/meta", { description: "x" })).status).toBe(404);
  expect((await api.store.deployment(id))?.isPublic).toBe(true);
});

test("log, and log -f, which compares times as text", async () => {
  const id = await createLlm();
  const log = async (query: string) => {
    const { status, json } = await deepctl("GET", `/v1/logs/query?deploy_id=${id}${query}`);
    expect(status).toBe(200);
    return (json as { entries: [string, string][] }).entries;
  };
  expect(await log("&from=0.000")).toEqual([]);
  const lines = ["one", "two", "three"].map((text, at) => ({ atMs: api.now - 3000 + at, text }));
  api.logs = [{ instanceId: "i", lines }];
  const first = await log("&limit=2");
  expect(first.map(([, text]) => text)).toEqual(["two", "three"]);
  const all = await log("&from=0.000");
  expect(all).toHaveLength(3);
  // Each look begins at the last time that was seen, which is seen once more and left out by its text.
  const last = all.at(-1)?.[0] ?? "";
  expect(await log(`&from=${last}`)).toEqual([[last, "three"]]);
  expect(all.map(([at]) => at)).toEqual(all.map(([at]) => at).toSorted());
  expect(new Set(all.map(([at]) => at.length)).size).toBe(1);
  const window = `&from=${((api.now - 5000) / 1000).toFixed(3)}&to=${(api.now / 1000).toFixed(3)}&limit=100`;
  expect(await log(window)).toHaveLength(3);
});

test("shell: the first of what runs, and its end", async () => {
  const id = await createLlm();
  expect((await api.call("GET", "/deploy/list?status=running")).json).toEqual([]);
  const adapter = await api.call("GET", `/deploy/${id}`, {
    headers: { "xi-api-key": api.tokens.ann },
    token: null,
  });
  expect(adapter.json).toMatchObject({ config: { gpu: "A100-80GB", num_gpus: 1 }, fail_reason: "" });
  const curl = {
    "content-type": "application/x-www-form-urlencoded",
    authorization: `bearer ${api.tokens.ann}`,
  };
  const put = await api.call("PUT", `/deploy/${id}/`, {
    body: '{"settings":{"min_instances":0,"max_instances":0}}',
    headers: curl,
    token: null,
  });
  expect(put.status, put.text).toBe(200);
  expect((await api.call("DELETE", `/deploy/${id}`)).json).toEqual({ deploy_id: id });
  expect((await api.call("GET", `/deploy/${id}`)).json).toMatchObject({ status: "deleted" });
});
