/** The commands that look at and change what is there, one after another against a small real server. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

let berth: StandIn;
const id = "aaaabbbbccccdddd";
const qwen = sampleDeployment();
const starter = sampleDeployment({
  deploy_id: "ssssssssssssssss",
  model_name: "berth/starter",
  status: "deploying",
  instances: { running: 0, pending: 1, warming: 0 },
  settings: { min_instances: 0, max_instances: 4, inactive_shutdown: 900 },
});
beforeEach(async () => {
  berth = await startStandIn();
  berth.answer("GET /deploy/list", () => ({ json: [qwen, starter] }));
});
afterEach(() => berth.close());

const env = () => ({ BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" });
const lastRequest = () => {
  const { method, path, body } = berth.received.at(-1) ?? {};
  return [`${method} ${path}`, body];
};

test("ls is a table", async () => {
  const { code, stdout } = await runCli(["ls"], { env: env() });
  expect(code).toBe(0);
  expect(stdout).toBe(
    [
      "NAME           STATUS     INSTANCES   GPU    ID                AGE",
      "ann/qwen       running    1 of 1      other  aaaabbbbccccdddd  3m",
      "berth/starter  deploying  0+1 of 0-4  other  ssssssssssssssss  3m",
      "",
    ].join("\n"),
  );
  expect((await runCli(["ls"], { env: env(), isTty: true })).stdout).toContain("\u001b[32mrunning");
});

test("ls --json is the API's own list; filters are passed on; nothing there is no error", async () => {
  const json = await runCli(["ls", "--json"], { env: env() });
  expect([JSON.parse(json.stdout), json.stderr]).toEqual([[qwen, starter], ""]);
  await runCli(["ls", "--status", "running,failed", "--all-accounts"], { env: env() });
  expect(lastRequest()[0]).toBe("GET /deploy/list?status=running%2Cfailed&account=all");
  berth.answer("GET /deploy/list", () => ({ json: [] }));
  const empty = await runCli(["ls"], { env: env() });
  expect([empty.code, empty.stdout]).toEqual([0, ""]);
  expect(empty.stderr).toContain("berth deploy owner/name");
});

test("status says what it is, and why", async () => {
  const events = [
    {
      at: "2026-11-01T11:58:00+00:00",
      code: "a",
      text: "Placed on\u001b[2J this machine.",
      next: "Old.",
      inputs: {},
    },
    {
      at: "2026-11-01T11:59:00+00:00",
      code: "b",
      text: "It runs with 8 slots.",
      next: "Give more.",
      inputs: {},
    },
  ];
  berth.answer(`GET /deploy/${id}/events`, () => ({ json: { events, progress: null } }));
  const { code, stdout } = await runCli(["status", "qwen"], { env: env() });
  expect(code).toBe(0);
  expect(stdout).toBe(
    [
      "ann/qwen  running",
      "  id                aaaabbbbccccdddd",
      "  weights           own/Qwen-GGUF at 0123456789ab",
      "  gpu               other",
      "  requests at once  96 an instance",
      "  instances         1 running, 0 starting",
      "  scale             always 1",
      "  task              text-generation",
      "  created           2026-11-01 11:57:00 UTC (3m ago)",
      "  changed           2026-11-01 11:59:00 UTC (1m ago)",
      "",
      "Latest events",
      "  2m ago  Placed on this machine.",
      "  1m ago  It runs with 8 slots.",
      "",
      "Next: Give more.",
      "",
    ].join("\n"),
  );
  const json = await runCli(["status", "qwen", "--json", "--events", "1"], { env: env() });
  expect(JSON.parse(json.stdout)).toEqual({ deployment: qwen, events: [events[1]], progress: null });
});

test("a failed deployment shows its reason", async () => {
  const reason = "The repository is gated. Accept its licence.";
  const failed = sampleDeployment({ status: "failed", fail_reason: reason });
  berth.answer("GET /deploy/list", () => ({ json: [failed] }));
  berth.answer(`GET /deploy/${id}/events`, () => ({ json: { events: [], progress: null } }));
  const { stdout } = await runCli(["status", "qwen"], { env: env() });
  expect(stdout).toContain(`ann/qwen  failed\n${reason}\n`);
});

test("an id that is in no list is asked for; what is nowhere is exit code 4", async () => {
  const deleted = sampleDeployment({ deploy_id: "zzzzzzzzzzzzzzzz", status: "deleted" });
  berth.answer("GET /deploy/zzzzzzzzzzzzzzzz", () => ({ json: deleted }));
  berth.answer("GET /deploy/zzzzzzzzzzzzzzzz/events", () => ({ json: { events: [], progress: null } }));
  expect((await runCli(["status", "zzzzzzzzzzzzzzzz"], { env: env() })).code).toBe(0);
  for (const name of ["nope", "xxxxxxxxxxxxxxxx", "../v1/me", "bob/qwen"]) {
    const { code, stderr } = await runCli(["status", name], { env: env() });
    expect(code).toBe(4);
    expect(stderr).toContain(`There is no deployment "${name}"`);
  }
});

test("stop, scale and rm --yes send what they say", async () => {
  const done = () => ({ json: { deploy_id: id } });
  berth.answer(`POST /deploy/${id}/stop`, done);
  berth.answer(`PUT /deploy/${id}`, done);
  berth.answer(`DELETE /deploy/${id}`, done);
  expect((await runCli(["stop", "qwen"], { env: env() })).stdout).toBe("ann/qwen is stopped.\n");
  expect(lastRequest()[0]).toBe(`POST /deploy/${id}/stop`);
  expect(
    (await runCli(["scale", "qwen", "--min", "0", "--inactive-shutdown", "60"], { env: env() })).code,
  ).toBe(0);
  expect(lastRequest()).toEqual([
    `PUT /deploy/${id}`,
    { settings: { min_instances: 0, inactive_shutdown: 60 } },
  ]);
  const rule = ["--schedule", "mon-fri 08:00-20:00 2", "--time-zone", "Europe/Berlin"];
  expect((await runCli(["scale", "qwen", ...rule], { env: env() })).code).toBe(0);
  const days = ["mon", "tue", "wed", "thu", "fri"];
  const rules = [{ days, from: "08:00", until: "20:00", min_instances: 2 }];
  expect(lastRequest()[1]).toEqual({ settings: { schedule: { time_zone: "Europe/Berlin", rules } } });
  expect((await runCli(["scale", "qwen", "--no-schedule"], { env: env() })).code).toBe(0);
  expect(lastRequest()[1]).toEqual({ settings: { schedule: null } });
  expect((await runCli(["scale", "qwen", "--time-zone", "UTC"], { env: env() })).code).toBe(2);
  const removed = await runCli(["rm", "qwen", "--yes", "--json"], { env: env() });
  expect([removed.code, JSON.parse(removed.stdout)]).toEqual([0, { deploy_id: id }]);
});

test("start follows until it runs; a wrong state is the server's sentence", async () => {
  berth.answer(`POST /deploy/${id}/start`, () => ({ json: { deploy_id: id } }));
  berth.answer(`GET /deploy/${id}`, () => ({ json: qwen }));
  const started = await runCli(["start", "qwen"], { env: env() });
  expect([started.code, started.stderr]).toEqual([0, "ann/qwen is running (0.0 s).\n"]);
  berth.answer(`POST /deploy/${id}/start`, () => ({ status: 400, json: { error: "It runs already." } }));
  expect(await runCli(["start", "qwen"], { env: env() })).toMatchObject({
    code: 1,
    stderr: "berth: It runs already.\n",
  });
});

test("rm asks on a terminal, and refuses where nobody can be asked", async () => {
  berth.answer(`DELETE /deploy/${id}`, () => ({ json: { deploy_id: id } }));
  const deletes = () => berth.received.filter((one) => one.method === "DELETE").length;
  const silent = await runCli(["rm", "qwen"], { env: env() });
  expect([silent.code, deletes()]).toEqual([2, 0]);
  const say = async (answer: string) => {
    let isAsked = false;
    return runCli(["rm", "qwen"], {
      env: env(),
      isTty: true,
      onOutput: (_, stderr, keys) => {
        if (isAsked || !stderr.includes("[y/N]")) return;
        isAsked = true;
        keys.type(answer);
      },
    });
  };
  expect([(await say("\r")).code, (await say("n\r")).code, deletes()]).toEqual([1, 1, 0]);
  expect([(await say("\u0003")).code, (await say("\u0004")).code, deletes()]).toEqual([130, 1, 0]);
  expect([(await say("y\r")).code, deletes()]).toEqual([0, 1]);
});

test("accounts: the new one's token is alone on standard output", async () => {
  const limits = { rate_limit: 0, requests_per_minute: null, tpm_rate_limit: null, gpus: { other: 4 } };
  const created_at = Date.UTC(2026, 10, 1) / 1000;
  const ann = { name: "ann", is_admin: true, is_disabled: false, created_at, limits };
  berth.answer("GET /v1/accounts", () => ({ json: [ann] }));
  expect((await runCli(["account", "ls"], { env: env() })).stdout).toBe(
    "NAME  ADMIN  STATE   AGE\nann   yes    active  12h\n",
  );
  berth.answer("POST /v1/accounts", () => ({
    json: { ...ann, name: "bob", token: "new-secret", token_id: "t1" },
  }));
  const created = await runCli(["account", "create", "bob", "--admin"], { env: env() });
  expect([created.code, created.stdout]).toEqual([0, "new-secret\n"]);
  expect(lastRequest()[1]).toEqual({ name: "bob", is_admin: true });
  berth.answer("PATCH /v1/accounts/ann", () => ({ json: ann }));
  await runCli(["account", "disable", "ann"], { env: env() });
  expect(lastRequest()).toEqual(["PATCH /v1/accounts/ann", { is_disabled: true }]);
  const argv = ["account", "limits", "ann", "--concurrent", "0", "--gpu", "other=4"];
  expect((await runCli(argv, { env: env() })).stdout).toMatch(/concurrent +none.*other +4/s);
  expect(lastRequest()[1]).toEqual({ limits: { rate_limit: 0, gpus: { other: 4 } } });
  expect((await runCli([...argv, "--gpu", "other"], { env: env() })).code).toBe(2);
});

test("tokens: create, list, remove by name or id", async () => {
  const token = {
    token: "****abcde",
    created_at: Date.UTC(2026, 10, 1) / 1000,
    name: "laptop",
    token_id: "t1",
    allowed_ips: null,
    fragment: "abcde",
  };
  berth.answer("GET /v1/api-tokens", () => ({ json: [token] }));
  berth.answer("POST /v1/api-tokens", () => ({ json: { ...token, token: "new-secret" } }));
  berth.answer("DELETE /v1/api-tokens/id/t1", () => ({ json: {} }));
  expect((await runCli(["token", "ls"], { env: env() })).stdout).toContain("laptop  …abcde   t1  12h\n");
  expect((await runCli(["token", "create", "ci"], { env: env() })).stdout).toBe("new-secret\n");
  expect((await runCli(["token", "rm", "laptop"], { env: env() })).code).toBe(0);
  expect(lastRequest()[0]).toBe("DELETE /v1/api-tokens/id/t1");
  berth.answer("PUT /v1/api-tokens/id/t1", () => ({ json: { ...token, allowed_ips: ["::1"] } }));
  expect((await runCli(["token", "ips", "laptop", "::1"], { env: env() })).code).toBe(0);
  expect(lastRequest()[1]).toEqual({ allowed_ips: ["::1"] });
  expect((await runCli(["token", "ips", "laptop"], { env: env() })).code).toBe(2);
  berth.answer("POST /v1/scoped-jwt", () => ({ json: { token: "jwt:a.b.c" } }));
  const jwt = await runCli(["token", "jwt", "laptop", "--model", "m", "--expires", "1h"], { env: env() });
  expect(jwt.stdout).toBe("jwt:a.b.c\n");
  expect(lastRequest()[1]).toEqual({ api_key_name: "laptop", models: ["m"], expires_delta: 3600 });
  const missing = await runCli(["token", "rm", "by-mistake-a-secret"], { env: env() });
  expect(missing.code).toBe(4);
  expect(missing.stderr).not.toContain("by-mistake");
});

test("doctor says of each thing how it is and what to do", async () => {
  const person = { email_verified: false, account_setup: true, is_business_account: false, is_admin: true };
  const texts = [
    "uid",
    "provider",
    "name",
    "first_name",
    "last_name",
    "country",
    "company",
    "website",
    "title",
  ];
  const me = { ...person, ...Object.fromEntries(texts.map((key) => [key, ""])), email: null, picture: null };
  berth.answer("HEAD /hub", () => ({}));
  berth.answer("GET /healthz", () => ({ text: "ok" }));
  berth.answer("GET /readyz", () => ({ text: "ok" }));
  berth.answer("GET /v1/me", () => ({ json: { ...me, display_name: "ann" } }));
  const gpu = { gpu_config: "1xother-16GB", usd_per_hour: 0, available: true, recommended: true };
  berth.answer("GET /deploy/llm/gpu_availability", () => ({ json: { gpus: [gpu] } }));
  const missing = { isolated: false, reason: "no unshare", next: "Install util-linux." };
  const h100 = { id: "GPU-1", name: "NVIDIA H100", type: "H100-80GB", memory_gb: 85.5, usable: true };
  const gpus = [
    { ...h100, outage: null, reason: null },
    { ...h100, id: "GPU-2", usable: false, outage: "busy", reason: "process 7 (python) uses it" },
  ];
  const restarts = [
    { process: "gateway", at: "2026-11-24T10:00:00.000Z", reason: "was ended by SIGKILL" },
    {
      process: "control",
      at: "2026-11-24T11:00:00.000Z",
      reason: "gave no sign of life for 30 s and was killed",
    },
  ];
  const info = { version: "1", account: "ann", isolation: missing, gpus, restarts };
  berth.answer("GET /v1/berth/info", () => ({ json: info }));
  const hub = { HF_ENDPOINT: `${berth.url}/hub` };
  const well = await runCli(["doctor", "--json"], { env: { ...env(), ...hub } });
  const findings = JSON.parse(well.stdout) as { check: string; state: string; detail: string }[];
  const server = findings.filter(({ check }) => !["machine", "disk", "state"].includes(check));
  expect(server.map(({ check, state, detail }) => [check, state, detail])).toEqual([
    ["node", "ok", `Node ${process.versions.node}`],
    ["hub", "ok", `${new URL(berth.url).host} answers`],
    ["server", "ok", `${berth.url} answers`],
    ["ready", "ok", "serves requests"],
    ["token", "ok", "account ann, administrator"],
    ["isolation", "warn", "engines are not isolated: no unshare; only one account may deploy"],
    ["gpu", "warn", "NVIDIA H100 (GPU-2) is not offered: process 7 (python) uses it"],
    [
      ...["processes", "warn"],
      "control gave no sign of life for 30 s and was killed, and was started again (2026-11-24T11:00:00.000Z; 2 restarts are known)",
    ],
    ["hardware", "ok", "free: 1xother-16GB"],
    ["models", "ok", "2 deployments, 1 running, 0 failed"],
  ]);
  expect(berth.received.find((one) => one.method === "HEAD")?.headers.authorization).toBeUndefined();
  berth.answer("GET /v1/me", () => ({ status: 401, json: { error: "No." } }));
  const ill = await runCli(["doctor"], { env: { ...env(), ...hub } });
  expect(ill.code).toBe(1);
  expect(ill.stdout).toMatch(/^fail {2}token {7}.*BERTH_API_TOKEN/m);
});
