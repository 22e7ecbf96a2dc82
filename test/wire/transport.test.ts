/** What every operation has in common: tokens, bodies, paths, methods, request ids, what is logged. */

import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeAll(async () => {
  api = await startRealApi();
});
afterAll(async () => await api.close());

let made = 0;
function body(): { model_name: string; gpu: string; hf: { repo: string } } {
  made += 1;
  return { model_name: `m${made}`, gpu: "other", hf: { repo: "a/b" } };
}

describe("tokens", () => {
  test.each([
    ["authorization", (token: string) => `Bearer ${token}`],
    ["authorization", (token: string) => `bearer ${token}`],
    ["authorization", (token: string) => `BEARER  ${token} `],
    ["xi-api-key", (token: string) => token],
    ["x-api-key", (token: string) => token],
  ])("in %s", async (header, write) => {
    const headers = { [header]: write(api.tokens.ann) };
    expect((await api.call("GET", "/v1/me", { token: null, headers })).json).toMatchObject({ uid: "ann" });
  });

  test.each([
    [{}],
    [{ authorization: "" }],
    [{ authorization: "Bearer" }],
    [{ authorization: "Bearer wrong-token" }],
    [{ authorization: "Basic YTpi" }],
    [{ "x-api-key": "a, b" }],
  ])("%j is refused before the body is looked at", async (headers) => {
    const answer = await api.call("POST", "/deploy/llm", { token: null, headers, body: "{" });
    expect(answer.status).toBe(401);
    expect(answer.json).toEqual({ error: expect.stringMatching(/token/) });
  });

  test("every operation that is not public needs one", async () => {
    for (const { method, path, access } of api.operations) {
      if (access === "public") continue;
      expect((await api.call(method, path, { token: null })).status, `${method} ${path}`).toBe(401);
    }
  });

  test("administrators' operations are closed to others", async () => {
    const closed = api.operations.filter((each) => each.access === "administrator");
    expect(closed.map((each) => `${each.method} ${each.path}`)).toEqual([
      "GET /v1/berth/hub",
      "POST /v1/berth/hub/pull",
      "POST /v1/berth/hub/verify",
      "POST /v1/berth/hub/gc",
      "GET /v1/berth/hub/jobs/:id",
      "DELETE /v1/berth/hub/jobs/:id",
      "DELETE /v1/berth/hub/repos/:owner/:name",
      "GET /v1/accounts",
      "POST /v1/accounts",
      "GET /v1/berth/limit-requests",
      "POST /v1/berth/limit-requests/:request_id/grant",
      "POST /v1/berth/limit-requests/:request_id/reject",
      "GET /v1/berth/audit",
      "GET /v1/berth/info",
      "POST /v1/berth/down",
    ]);
    const opened = api.operations.filter((each) => each.access === "public");
    expect(opened.map((each) => each.path)).toEqual([
      "/models/list",
      "/models/featured",
      "/models/:model_name",
      "/models/:owner/:name",
      "/models/:model_name/versions",
      "/models/:owner/:name/versions",
      "/v1/metrics/live",
      "/models/lora/list",
      "/cli/version",
      "/github/cli/login",
    ]);
    for (const { method, path } of closed) expect((await api.call(method, path)).status).toBe(403);
    expect(api.downs()).toBe(0);
  });
});

describe("bodies", () => {
  test.each([
    [undefined],
    ["application/json"],
    ["text/plain"],
    ["application/x-www-form-urlencoded"],
    ["multipart/form-data; boundary=x"],
    ["this is no media type"],
    [""],
  ])("JSON with Content-Type %j", async (type) => {
    const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
    const sent = Buffer.from(JSON.stringify(body()));
    expect((await api.call("POST", "/deploy/llm", { body: sent, headers })).status).toBe(200);
  });

  test("gzip", async () => {
    const sent = gzipSync(JSON.stringify(body()));
    for (const encoding of ["gzip", "GZIP"]) {
      const headers = { "content-encoding": encoding };
      const { status } = await api.call("POST", "/deploy/llm", { body: sent, headers });
      expect(status).toBe(encoding === "gzip" ? 200 : 409);
    }
    const broken = await api.call("POST", "/deploy/llm", {
      body: "no gzip",
      headers: { "content-encoding": "gzip" },
    });
    expect([broken.status, broken.json]).toEqual([400, { error: expect.any(String) }]);
  });

  test("a gzip body that becomes too large is 413", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20));
    expect(bomb.length).toBeLessThan(1_000_000);
    const answer = await api.call("POST", "/deploy/llm", {
      body: bomb,
      headers: { "content-encoding": "gzip" },
    });
    expect([answer.status, answer.json]).toEqual([413, { error: expect.any(String) }]);
  });

  test.each([
    ["", "missing", []],
    ["{", "json_invalid", [1]],
    ["nonsense", "json_invalid", [0]],
    ['{"model_name": "hf_secret" x}', "json_invalid", [expect.any(Number)]],
    [Buffer.from([0x22, 0xff, 0x22]), "json_invalid", [0]],
    ["[]", "model_attributes_type", []],
    ["null", "model_attributes_type", []],
    ['"text"', "model_attributes_type", []],
  ])("%j is a 422 in both shapes", async (sent, type, path) => {
    const answer = await api.call("POST", "/deploy/llm", { body: sent });
    expect(answer.status).toBe(422);
    expect(answer.json).toEqual({
      error: expect.any(String),
      detail: [{ loc: ["body", ...path], type, msg: expect.any(String) }],
    });
    expect(answer.text).not.toContain("hf_secret");
  });

  test("deeply nested JSON is refused like other wrong types", async () => {
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    expect((await api.call("POST", "/deploy/llm", { body: deep })).status).toBe(422);
  });

  test("operations without a body ignore one", async () => {
    const created = await api.call("POST", "/deploy/llm", { body: body() });
    const id = (created.json as { deploy_id: string }).deploy_id;
    expect((await api.call("POST", `/deploy/${id}/stop`, { body: "{no json" })).status).toBe(200);
    expect((await api.call("DELETE", `/deploy/${id}`, { body: "{no json" })).status).toBe(200);
  });
});

describe("a body over the limit, over a real socket", () => {
  let folder: string;
  let socketPath: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "berth-wire-"));
    socketPath = join(folder, "api.sock");
    await api.app.listen({ path: socketPath });
  });
  afterAll(async () => await rm(folder, { recursive: true, force: true }));

  test.each([["with its length"], ["chunked"]])("50 MB %s is 413, and the client hears it", async (how) => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const length = how === "chunked" ? {} : { "content-length": 50_000_000 };
      const headers = { authorization: `Bearer ${api.tokens.ann}`, ...length };
      const sending = request({ socketPath, method: "POST", path: "/deploy/llm", headers }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      });
      sending.on("error", reject);
      const piece = Buffer.alloc(1_000_000, 0x20);
      for (let sent = 0; sent < 50; sent += 1) sending.write(piece);
      sending.end();
    });
    expect(status).toBe(413);
  });
});

describe("paths and methods", () => {
  test.each(["/deploy/list", "/deploy/list/", "/v1/me/", "/deploy/llm/gpu_availability/"])(
    "GET %s",
    async (url) => {
      expect((await api.call("GET", url)).status).toBe(200);
    },
  );

  test("HEAD", async () => {
    const answer = await api.call("HEAD", "/v1/me");
    expect([answer.status, answer.text]).toEqual([200, ""]);
  });

  test.each([
    ["PATCH", "/deploy/llm", 405, "POST, OPTIONS"],
    ["GET", "/deploy/llm", 405, "POST, OPTIONS"],
    ["PUT", "/deploy/list", 405, "GET, HEAD, OPTIONS"],
    ["POST", "/deploy/list/", 405, "GET, HEAD, OPTIONS"],
    ["POST", "/deploy/abc", 405, "GET, PUT, DELETE, HEAD, OPTIONS"],
    ["OPTIONS", "/v1/me", 204, "GET, PATCH, HEAD, OPTIONS"],
  ])("%s %s is %i and says what there is", async (method, url, status, allow) => {
    const answer = await api.call(method, url, { body: "{" });
    expect([answer.status, answer.headers.allow]).toEqual([status, allow]);
  });

  test.each(["/", "/nosuch", "/deploy", "/deploy/a/b/c", "/v1", "//", "/routes", "/load"])(
    "%s is 404",
    async (url) => {
      const answer = await api.call("GET", url);
      expect([answer.status, answer.json]).toEqual([404, { error: expect.any(String) }]);
    },
  );

  test.each(["/deploy/%zz", `/deploy/${"x".repeat(600)}`, "/deploy/%00", "/deploy/..%2f..%2fetc"])(
    "%s is refused",
    async (url) => {
      const answer = await api.call("GET", url);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.json).toEqual({ error: expect.any(String) });
      expect(answer.headers["x-request-id"]).toEqual(expect.any(String));
    },
  );

  test("of a parameter given twice the last counts", async () => {
    expect((await api.call("GET", "/deploy/list?status=odd&status=running")).status).toBe(200);
  });
});

test("the request id is the gateway's, or a new one", async () => {
  const given = await api.call("GET", "/v1/me", { headers: { "x-request-id": "req-1" } });
  expect(given.headers["x-request-id"]).toBe("req-1");
  for (const url of ["/v1/me", "/nosuch"]) {
    const answer = await api.call("GET", url, { headers: { "x-request-id": "spaces are not sane" } });
    expect(answer.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  }
});

test("a secret in a path is not logged", async () => {
  await api.call("GET", "/v1/api-tokens/very-secret-token");
  await api.call("DELETE", "/v1/api-tokens/very-secret-token?x=very-secret-token");
  expect(api.logged.join("\n")).toContain("/v1/api-tokens/:api_token");
  expect(api.logged.join("\n")).not.toContain("very-secret");
});

test("a defect is a 500 that says nothing of it, and the log tells", async () => {
  const broken = await startRealApi();
  await broken.store.close();
  const answer = await broken.call("GET", "/v1/me", { headers: { "x-request-id": "req-2" } });
  expect([answer.status, answer.json]).toEqual([500, { error: expect.stringContaining("req-2") }]);
  expect(broken.logged.join("\n")).toContain("a request failed unexpectedly");
  await broken.app.close();
});
