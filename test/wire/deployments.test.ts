/** The life of a deployment over the API: what is written, what is refused, what wakes the reconciler. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { failure } from "../../src/core/failure.ts";
import { type RealApi, startRealApi } from "./real-api.ts";

let api: RealApi;
beforeEach(async () => {
  api = await startRealApi();
});
afterEach(async () => await api.close());

const body = { model_name: "m", gpu: "other", hf: { repo: "org/model" } };

async function create(extra: object = {}): Promise<string> {
  const answer = await api.call("POST", "/deploy/llm", { body: { ...body, ...extra } });
  expect(answer.status, answer.text).toBe(200);
  return (answer.json as { deploy_id: string }).deploy_id;
}

describe("POST /deploy/llm", () => {
  test("writes what was asked, wakes the reconciler and says why", async () => {
    const id = await create({
      num_gpus: "2",
      max_batch_size: 8,
      hf: { repo: "org/model:Q4_K_M", revision: "main", token: "hf_topsecret" },
      settings: { min_instances: 0, max_instances: 3, inactive_shutdown: 90 },
      extra_args: ["--seed", "1"],
      unknown_field: true,
    });
    const { json, text } = await api.call("GET", `/deploy/${id}`);
    expect(json).toEqual({
      deploy_id: id,
      model_name: "ann/m",
      version: "",
      task: "text-generation",
      status: "initializing",
      fail_reason: "",
      created_at: "2026-11-23T12:00:00.000+00:00",
      updated_at: "2026-11-23T12:00:00.000+00:00",
      type: "llm",
      instances: { running: 0, pending: 0, warming: 0 },
      config: {
        gpu: "other",
        num_gpus: 2,
        max_batch_size: 8,
        weights: { repo: "org/model:Q4_K_M", revision: "main", token: null },
        base_model: null,
        container_image: null,
      },
      settings: { min_instances: 0, max_instances: 3, inactive_shutdown: 90 },
      standard_args: {},
      extra_args: ["--seed", "1"],
      update_error: null,
      rollout: null,
    });
    expect(text).not.toContain("topsecret");
    expect(api.poked).toEqual([id]);
    const sealed = (await api.store.sealedHfToken(id)) ?? "";
    expect(sealed).not.toContain("topsecret");
    expect(api.vault.open(sealed, `hf-token:${id}`)).toBe("hf_topsecret");
    const events = await api.call("GET", `/deploy/${id}/events`);
    expect(events.json).toMatchObject({ events: [{ code: "accepted" }], progress: null });
    expect(events.text + api.logged.join()).not.toContain("topsecret");
  });

  test("the smallest body, and a catalogued model", async () => {
    await create();
    const id = await create({ model_name: "ann/s", hf: null, base_model: "berth/starter" });
    const { json } = await api.call("GET", `/deploy/${id}`);
    expect(json).toMatchObject({
      model_name: "ann/s",
      config: {
        num_gpus: 1,
        max_batch_size: 96,
        weights: { repo: "berth/starter" },
        base_model: "berth/starter",
      },
      settings: { min_instances: 1, max_instances: 1, inactive_shutdown: null },
    });
  });

  test("a name in use is 409 in any case, and free again after deletion", async () => {
    const id = await create();
    for (const model_name of ["m", "M", "ann/m"]) {
      const again = await api.call("POST", "/deploy/llm", { body: { ...body, model_name } });
      expect(again.status).toBe(409);
      expect(again.json).toEqual({ error: expect.stringContaining("already") });
    }
    expect((await api.call("POST", "/deploy/llm", { body, token: api.tokens.bob })).status).toBe(200);
    await api.call("DELETE", `/deploy/${id}`);
    await create();
  });

  const refusals: [string, object, string, RegExp][] = [
    ["hf and base_model", { base_model: "berth/starter" }, "body", /not both/],
    ["neither", { hf: null }, "body", /is required/],
    [
      "an unknown base_model",
      { hf: null, base_model: "constructor" },
      "body.base_model",
      /models\/deployment\/list/,
    ],
    ["another account's prefix", { model_name: "bob/m" }, "body.model_name", /"ann\/"/],
    ["a name with a slash", { model_name: "ann/a/b" }, "body.model_name", /letters/],
    ["an empty name", { model_name: "" }, "body.model_name", /letters/],
    ["a name that climbs", { model_name: "../../etc" }, "body.model_name", /bare name/],
    ["a long name", { model_name: "x".repeat(97) }, "body.model_name", /96/],
    ["a malformed repository", { hf: { repo: "nope" } }, "body.hf.repo", /owner\/name/],
    ["a repository that climbs", { hf: { repo: "../.." } }, "body.hf.repo", /owner\/name/],
    ["a path that climbs", { hf: { repo: "file:///models/../etc" } }, "body.hf.repo", /absolute, without/],
    ["a path with a token", { hf: { repo: "file:///m", token: "hf_x" } }, "body.hf", /needs no token/],
    ["a URL as repository", { hf: { repo: "http://x/y" } }, "body.hf.repo", /owner\/name/],
    ["a malformed revision", { hf: { repo: "a/b", revision: "../x" } }, "body.hf.revision", /branch/],
    ["a token with a line break", { hf: { repo: "a/b", token: "hf_x\r\nEvil: 1" } }, "body.hf.token", /512/],
    ["min over max", { settings: { min_instances: 2 } }, "body.settings.min_instances", /larger/],
    [
      "over the quota",
      { num_gpus: 8, settings: { max_instances: 9 } },
      "body.settings.max_instances",
      /72 GPUs/,
    ],
    ["an unsafe argument", { extra_args: ["--host=0.0.0.0"] }, "body.extra_args", /--host/],
    [
      "a knob out of range",
      { standard_args: { max_context_size: 0 } },
      "body.standard_args.max_context_size",
      /equal to 1/,
    ],
    [
      "a fraction that is a text",
      { standard_args: { gpu_memory_fraction: "half" } },
      "body.standard_args.gpu_memory_fraction",
      /valid number/,
    ],
    [
      "an unknown knob",
      { standard_args: { max_context: 1 } },
      "body.standard_args.max_context",
      /Extra inputs/,
    ],
    ["an argument no engine has", { extra_args: ["--unknown"] }, "body.extra_args", /no --unknown/],
    ["an unknown preset", { preset_id: "x" }, "body.preset_id", /no preset/],
    ["an image that is not allowed", { container_image: "x" }, "body.container_image", /administrator/],
    ["an unknown gpu", { gpu: "H100" }, "body.gpu", /'L4-24GB', .* or 'other'/],
    ["too many GPUs", { num_gpus: 9 }, "body.num_gpus", /less than or equal to 8/],
    ["no slots", { max_batch_size: 0 }, "body.max_batch_size", /greater than or equal to 1/],
    ["negative instances", { settings: { min_instances: -1 } }, "body.settings.min_instances", /equal to 0/],
    ["arguments that are no list", { extra_args: "--seed" }, "body.extra_args", /valid list/],
  ];
  test.each(refusals)("%s is refused and changes nothing", async (_what, extra, loc, sentence) => {
    const { status, json } = await api.call("POST", "/deploy/llm", { body: { ...body, ...extra } });
    expect(status).toBe(422);
    const { detail, error } = json as { detail: { loc: string[] }[]; error: string };
    expect(detail.map((issue) => issue.loc.join("."))).toEqual([loc]);
    expect(error).toMatch(sentence);
    expect(await api.store.deployments({ account: "ann", includeDeleted: true })).toEqual([]);
    expect(api.poked).toEqual([]);
  });

  test("both at zero, inactive_shutdown 0, and several GPUs of type other are legal", async () => {
    const id = await create({
      num_gpus: 4,
      settings: { min_instances: 0, max_instances: 0, inactive_shutdown: 0 },
    });
    const { json } = await api.call("GET", `/deploy/${id}`);
    expect(json).toMatchObject({ settings: { min_instances: 0, max_instances: 0, inactive_shutdown: null } });
  });
});

describe("PUT /deploy/{deploy_id}", () => {
  const always = { from: "00:00", until: "24:00", min_instances: 1 };
  test("a half that is absent stays", async () => {
    const id = await create({ settings: { min_instances: 1, max_instances: 2, inactive_shutdown: 60 } });
    const put = (settings: object) => api.call("PUT", `/deploy/${id}`, { body: { settings } });
    const read = async () => ((await api.call("GET", `/deploy/${id}`)).json as { settings: object }).settings;
    expect((await put({ min_instances: 0 })).json).toEqual({ deploy_id: id });
    expect(await read()).toEqual({ min_instances: 0, max_instances: 2, inactive_shutdown: 60 });
    await put({ max_instances: "4", inactive_shutdown: null });
    expect(await read()).toEqual({ min_instances: 0, max_instances: 4, inactive_shutdown: null });
    expect(api.poked).toEqual([id, id, id]);
  });

  test("a schedule of the minimum is replaced as a whole, told in the events and by why, and goes with null", async () => {
    const rule = { days: ["mon", "tue"], from: "08:00", until: "20:00", min_instances: 2 };
    const schedule = { time_zone: "Europe/Berlin", rules: [rule] };
    const bounds = { min_instances: 0, max_instances: 2 };
    const id = await create({ settings: { ...bounds, schedule } });
    const put = (settings: object) => api.call("PUT", `/deploy/${id}`, { body: { settings } });
    const read = async () => ((await api.call("GET", `/deploy/${id}`)).json as { settings: object }).settings;
    expect(await read()).toMatchObject({ ...bounds, schedule });
    expect((await put({ max_instances: 1 })).status).toBe(422);
    const daily = { from: "22:00", until: "06:00", min_instances: 1 };
    expect((await put({ schedule: { rules: [daily] } })).status).toBe(200);
    const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    expect(await read()).toMatchObject({ schedule: { time_zone: "UTC", rules: [{ ...daily, days }] } });
    const { events } = (await api.call("GET", `/deploy/${id}/events`)).json as { events: { text: string }[] };
    expect(events.at(-1)?.text).toContain("0 to 2 instances, at least 1 daily 22:00-06:00 (UTC)");
    const why = (await api.call("GET", `/deploy/${id}/why`)).json as { would_change: string[] };
    expect(why.would_change.join()).toMatch(
      /Its schedule asks for at least [01] from .* [a-z]{3} (22|06):00 \(UTC\) on/,
    );
    await put({ schedule: null });
    expect(await read()).toEqual({ ...bounds, inactive_shutdown: null });
  });

  test("the newer form with nulls", async () => {
    const id = await create();
    const settings = { min_instances: 0, max_instances: 1 };
    const put = await api.call("PUT", `/deploy/${id}`, {
      body: { settings, standard_args: null, extra_args: null },
    });
    expect(put.status).toBe(200);
  });

  test.each([
    [{ settings: { min_instances: 3 } }, 422],
    [{ settings: { max_instances: 65 } }, 422],
    [{ settings: { min_instances: "x" } }, 422],
    [{ settings: { schedule: { time_zone: "Mars/Olympus", rules: [always] } } }, 422],
    [{ settings: { schedule: { rules: [{ ...always, min_instances: 2 }] } } }, 422],
    [{ settings: { schedule: { rules: [{ ...always, until: "00:00" }] } } }, 422],
    [{ settings: { schedule: { rules: [{ ...always, days: ["someday"] }] } } }, 422],
    [{ settings: { schedule: { rules: [{ ...always, from: "24:00" }] } } }, 422],
    [{ settings: { schedule: { rules: Array.from({ length: 51 }, () => always) } } }, 422],
    [{ settings: null }, 422],
    [{}, 422],
    [[], 422],
    ["{", 422],
    [undefined, 422],
    [{ extra_args: ["--host=0.0.0.0"] }, 422],
    [{ extra_args: ["--unknown"] }, 422],
    [{ extra_args: "--seed 1" }, 422],
    [{ standard_args: { gpu_memory_fraction: 0.98 } }, 422],
    [{ standard_args: { nosuch: 1 } }, 422],
    [{ settings: { min_instances: 3 }, extra_args: ["--seed", "1"] }, 422],
  ])("%j is refused and changes nothing", async (update, status) => {
    const id = await create();
    const before = await api.store.deployment(id);
    api.now += 1000;
    expect((await api.call("PUT", `/deploy/${id}`, { body: update })).status).toBe(status);
    expect(await api.store.deployment(id)).toEqual(before);
    expect(api.poked).toEqual([id]);
  });
});

describe("arguments", () => {
  const read = async (id: string) => (await api.call("GET", `/deploy/${id}`)).json;
  const put = (id: string, update: object) => api.call("PUT", `/deploy/${id}`, { body: update });

  test("each half replaces what there was; a knob that is not named is cleared", async () => {
    const id = await create({ standard_args: { max_context_size: 4096, enable_prefix_caching: null } });
    expect(await read(id)).toMatchObject({ standard_args: { max_context_size: 4096 }, extra_args: [] });
    expect((await put(id, { standard_args: { max_concurrent_requests: "8" } })).json).toEqual({
      deploy_id: id,
    });
    await put(id, { extra_args: ["--seed", "1"], standard_args: null });
    expect(await read(id)).toMatchObject({
      standard_args: { max_concurrent_requests: 8 },
      extra_args: ["--seed", "1"],
    });
    await put(id, { standard_args: {}, extra_args: [] });
    expect(await read(id)).toMatchObject({ standard_args: {}, extra_args: [] });
  });

  test("the history lists what was, and gives it back", async () => {
    const id = await create({ extra_args: ["--seed", "1"] });
    api.now += 1000;
    await put(id, { extra_args: ["--seed", "2"] });
    const history = await api.call("GET", `/deploy/${id}/config/history`);
    expect(history.json).toEqual([
      {
        entry_id: "1",
        retired_at: "2026-11-23T12:00:01.000+00:00",
        standard_args: {},
        extra_args: ["--seed", "1"],
      },
    ]);
    const restore = (entry: string, token = api.tokens.ann) =>
      api.call("POST", `/deploy/${id}/config/history/${entry}/restore`, { token });
    expect((await restore("9")).status).toBe(404);
    expect((await restore("1", api.tokens.bob)).status).toBe(404);
    expect((await restore("1")).json).toEqual({ deploy_id: id });
    expect(await read(id)).toMatchObject({ extra_args: ["--seed", "1"] });
  });

  test("a deployment that runs is updating until every instance has the new ones", async () => {
    const id = await create();
    const resolved = {
      ...{ commit: "a".repeat(40), files: [], engine: "e", entryFile: "f" },
      task: "text-generation",
    };
    await api.store.changeDeployment(id, (now) => ({ ...now, resolved, weightsReadyAtMs: 1, hasRun: true }));
    expect(await read(id)).toMatchObject({ status: "deploying", rollout: null });
    await put(id, { extra_args: ["--seed", "2"] });
    expect(await read(id)).toMatchObject({
      status: "updating",
      rollout: { up_to_date: 0, outdated: 0, booting: 0 },
    });
    await put(id, { extra_args: [] });
    expect(await read(id)).toMatchObject({ status: "deploying", rollout: null });
  });
});

describe("stop, start, delete", () => {
  test("stop and start, each once", async () => {
    const id = await create();
    const post = async (what: string) => (await api.call("POST", `/deploy/${id}/${what}`)).status;
    expect(await post("start")).toBe(400);
    expect(await post("stop")).toBe(200);
    expect(await post("stop")).toBe(400);
    expect(await post("start")).toBe(200);
    expect(await post("start")).toBe(400);
    const codes = (await api.store.events(id, 10)).map((event) => event.code);
    expect(codes).toEqual(["accepted", "stopped", "started"]);
  });

  test("start forgets a failure and everything that led to it", async () => {
    const id = await create();
    const gone = failure("engine_crashed", "It crashed.", "Look.");
    await api.store.changeDeployment(id, (now) => ({
      ...now,
      failure: gone,
      hasRun: true,
      weightsReadyAtMs: 5,
      tries: { count: 3, lastAtMs: 4, lastFailure: gone },
    }));
    const failed = await api.call("GET", `/deploy/${id}`);
    expect(failed.json).toMatchObject({ status: "failed", fail_reason: "It crashed. Look." });
    expect((await api.call("POST", `/deploy/${id}/start`)).status).toBe(200);
    expect(await api.store.deployment(id)).toMatchObject({
      desired: "run",
      failure: null,
      hasRun: false,
      weightsReadyAtMs: null,
      tries: { count: 0, lastAtMs: null, lastFailure: null },
    });
  });

  test("a failed deployment can be stopped", async () => {
    const id = await create();
    await api.store.changeDeployment(id, (now) => ({ ...now, failure: failure("disk_full", "A.", "B.") }));
    expect((await api.call("POST", `/deploy/${id}/stop`)).status).toBe(200);
    expect((await api.call("GET", `/deploy/${id}`)).json).toMatchObject({
      status: "stopped",
      fail_reason: "",
    });
  });

  test("delete is final, wipes the token and keeps the record", async () => {
    const id = await create({ hf: { repo: "a/b", token: "hf_x" } });
    expect((await api.call("DELETE", `/deploy/${id}`)).json).toEqual({ deploy_id: id });
    expect(await api.store.sealedHfToken(id)).toBeNull();
    expect((await api.call("GET", `/deploy/${id}`)).json).toMatchObject({ status: "deleted" });
    expect((await api.call("GET", "/deploy/list")).json).toEqual([]);
    const listed = await api.call("GET", "/deploy/list?status=deleted");
    expect(listed.json).toMatchObject([{ deploy_id: id }]);
    for (const [method, url, payload] of [
      ["DELETE", `/deploy/${id}`, undefined],
      ["POST", `/deploy/${id}/stop`, undefined],
      ["POST", `/deploy/${id}/start`, undefined],
      ["PUT", `/deploy/${id}`, { settings: {} }],
    ] as const) {
      expect((await api.call(method, url, { body: payload })).status).toBe(404);
    }
  });
});

test("lists are narrowed by status and by account", async () => {
  const id = await create();
  const names = async (url: string, token?: string) => {
    const { status, json } = await api.call("GET", url, token === undefined ? {} : { token });
    return status === 200 ? (json as { model_name: string }[]).map((each) => each.model_name) : status;
  };
  await api.call("POST", `/deploy/${id}/stop`);
  await create({ model_name: "n" });
  expect(await names("/deploy/list?status=stopped")).toEqual(["ann/m"]);
  expect(await names("/deploy/list?status=stopped,initializing")).toHaveLength(2);
  expect(await names("/deploy/list?status=")).toHaveLength(2);
  expect(await names("/deploy/list?status=gone")).toBe(400);
  expect(await names("/deploy/list?account=ann")).toHaveLength(2);
  expect(await names("/deploy/list?account=all")).toBe(403);
  expect(await names("/deploy/list?account=bob")).toBe(403);
  expect(await names("/deploy/list", api.tokens.bob)).toEqual([]);
  expect(await names("/deploy/list", api.tokens.root)).toEqual(["berth/starter"]);
  expect(await names("/deploy/list?account=all", api.tokens.root)).toHaveLength(3);
  expect(await names("/deploy/list?account=ann", api.tokens.root)).toHaveLength(2);
});

test("the starter is there for everyone to see, for administrators to change", async () => {
  const [starter] = await api.store.deployments({ account: "berth", includeDeleted: false });
  const id = starter?.id ?? "";
  expect((await api.call("GET", `/deploy/${id}`)).json).toMatchObject({ model_name: "berth/starter" });
  expect((await api.call("GET", `/deploy/${id}/events`)).status).toBe(200);
  for (const [method, url] of [
    ["DELETE", `/deploy/${id}`],
    ["POST", `/deploy/${id}/stop`],
    ["GET", `/v1/logs/query?deploy_id=${id}`],
  ] as const) {
    expect((await api.call(method, url)).status).toBe(403);
  }
  expect((await api.call("POST", `/deploy/${id}/stop`, { token: api.tokens.root })).status).toBe(200);
});

test("the progress of a download", async () => {
  const id = await create();
  api.progress = { bytesDone: 25, bytesTotal: 100, bytesPerS: 5, currentFiles: ["a.gguf"] };
  expect((await api.call("GET", `/deploy/${id}/events`)).json).toMatchObject({
    progress: { bytes_done: 25, bytes_total: 100, bytes_per_s: 5, eta_s: 15, files: ["a.gguf"] },
  });
  api.progress = { ...api.progress, bytesPerS: 0 };
  expect((await api.call("GET", `/deploy/${id}/events`)).json).toMatchObject({ progress: { eta_s: null } });
});
