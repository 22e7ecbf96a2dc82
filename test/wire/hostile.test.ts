/** Generated bodies, from valid to hostile: never a 5xx, and what is refused has changed nothing. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeAll(async () => {
  api = await startRealApi();
});
afterAll(async () => await api.close());

const hostile = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    null,
    true,
    -1,
    0,
    1e308,
    0.5,
    2 ** 53,
    "",
    "1",
    "\u0000",
    "\ud800",
    "../../etc/passwd",
    "'; DROP TABLE deployments; --",
    "http://169.254.169.254/",
    "x".repeat(5000),
    [],
    {},
    [[]],
    { __proto__: { a: 1 } },
    { constructor: 1 },
  ),
);

const settings = fc.record({
  min_instances: fc.integer({ min: 0, max: 1 }),
  max_instances: fc.integer({ min: 1, max: 4 }),
  inactive_shutdown: fc.constantFrom(null, 0, 60),
});

const valid = fc.record(
  {
    model_name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
    gpu: fc.constantFrom("other", "L4-24GB", "H100-80GB"),
    num_gpus: fc.integer({ min: 1, max: 8 }),
    max_batch_size: fc.integer({ min: 1, max: 256 }),
    hf: fc.record(
      { repo: fc.constant("org/model"), revision: fc.constant("main"), token: fc.constant("hf_x") },
      { requiredKeys: ["repo"] },
    ),
    settings,
    extra_args: fc.constantFrom(null, [], ["--seed", "1"]),
  },
  { requiredKeys: ["model_name", "gpu", "hf"] },
);

/** A valid body with some fields, also nested or unknown ones, replaced. */
const spoiled = fc
  .tuple(
    valid,
    fc.dictionary(
      fc.constantFrom(
        "model_name",
        "gpu",
        "num_gpus",
        "max_batch_size",
        "hf",
        "hf.repo",
        "hf.revision",
        "hf.token",
        "base_model",
        "settings",
        "settings.min_instances",
        "settings.inactive_shutdown",
        "extra_args",
        "standard_args",
        "preset_id",
        "container_image",
        "unknown",
        "__proto__",
      ),
      hostile,
      { maxKeys: 4 },
    ),
  )
  .map(([body, changes]) => {
    const copy: Record<string, unknown> = structuredClone(body);
    for (const [path, value] of Object.entries(changes)) {
      const [outer = "", inner] = path.split(".");
      const target = inner === undefined ? copy : (copy[outer] as Record<string, unknown>);
      if (typeof target === "object" && target !== null) {
        Object.defineProperty(target, inner ?? outer, {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
    return copy as unknown;
  });

/** Typed knobs, each in its range or anything. */
const knobs = fc.record(
  {
    max_context_size: fc.oneof(fc.integer({ min: 1, max: 10_000_000 }), hostile),
    gpu_memory_fraction: fc.oneof(fc.double({ min: 0.5, max: 0.97, noNaN: true }), hostile),
    kv_cache_dtype: fc.oneof(fc.constantFrom("auto", "fp8"), hostile),
    enable_prefix_caching: fc.oneof(fc.boolean(), hostile),
    unknown: hostile,
  },
  { requiredKeys: [] },
);

const bodies = fc.oneof(
  { weight: 1, arbitrary: valid },
  { weight: 4, arbitrary: spoiled },
  { weight: 1, arbitrary: hostile },
);

const documented = new Set([200, 400, 409, 413, 422]);

test("POST /deploy/llm", async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(bodies, async (body) => {
      const before = await api.store.deployments({ includeDeleted: true });
      const pokes = api.poked.length;
      const { status, json } = await api.call("POST", "/deploy/llm", { body: JSON.stringify(body) });
      expect(documented.has(status), `${status} for ${JSON.stringify(body)}`).toBe(true);
      if (status === 200) {
        accepted += 1;
        const { deploy_id } = json as { deploy_id: string };
        await api.call("DELETE", `/deploy/${deploy_id}`);
        return;
      }
      expect(json).toMatchObject({ error: expect.stringMatching(/./) });
      if (status === 422) expect(json).toMatchObject({ detail: expect.any(Array) });
      expect(await api.store.deployments({ includeDeleted: true })).toEqual(before);
      expect(api.poked).toHaveLength(pokes);
    }),
    { numRuns: 150 },
  );
  expect(accepted).toBeGreaterThan(0);
});

test("PUT /deploy/{deploy_id}", async () => {
  const created = await api.call("POST", "/deploy/llm", {
    body: { model_name: "target", gpu: "other", hf: { repo: "a/b" } },
  });
  const { deploy_id } = created.json as { deploy_id: string };
  const updates = fc.oneof(
    fc.record({ settings }),
    fc.record({ settings: hostile, extra_args: hostile }),
    fc.record({
      standard_args: fc.oneof(hostile, knobs),
      extra_args: fc.constantFrom(null, [], ["--seed", "1"]),
    }),
    spoiled,
    hostile,
  );
  await fc.assert(
    fc.asyncProperty(updates, async (body) => {
      const before = await api.store.deployment(deploy_id);
      api.now += 1;
      const { status } = await api.call("PUT", `/deploy/${deploy_id}`, { body: JSON.stringify(body) });
      expect(documented.has(status), `${status} for ${JSON.stringify(body)}`).toBe(true);
      const after = await api.store.deployment(deploy_id);
      if (status !== 200) expect(after).toEqual(before);
      expect(after?.config).toEqual(before?.config);
    }),
    { numRuns: 150 },
  );
});

test("the other operations, with hostile bodies, queries and paths", async () => {
  // What ends sessions or Berth itself is left to its own tests.
  const open = api.operations.filter(({ path }) => path !== "/v1/berth/down");
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom("", "..", "\u0000", "0", "-1"),
  );
  const call = fc.record({ operation: fc.constantFrom(...open), body: hostile, text, query: text });
  await fc.assert(
    fc.asyncProperty(call, async ({ operation, body, text, query }) => {
      const encode = (raw: string) => encodeURIComponent(raw.toWellFormed());
      const path = operation.path.replace(/:[a-z_]+/g, () => encode(text));
      const q = encode(query);
      const url = `${path}?status=${q}&deploy_id=${q}&from=${q}&to=${q}&limit=${q}&account=${q}&x=${q}&version=${q}&hf_repo_id=${q}&engine=${q}&gpu=${q}&model_name=${q}&base_model=${q}&source=${q}`;
      const answer = await api.call(operation.method, url, {
        body: JSON.stringify(body),
        token: api.tokens.root,
      });
      // A path with dots can lead to what Berth does not have, which says so; any other 5xx is a defect.
      const isDeclined = answer.status === 501 && /"error":"Berth /.test(answer.text);
      expect(isDeclined || answer.status < 500, `${operation.method} ${url}: ${answer.text}`).toBe(true);
    }),
    { numRuns: 500 },
  );
});
