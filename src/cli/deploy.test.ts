import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { DeploymentOut } from "../schema/deploy.ts";
import type { EventsOut } from "../schema/events.ts";
import { buildBody } from "./deploy.ts";
import { runCli, type StandIn, sampleDeployment, startStandIn } from "./stand-in.ts";

let berth: StandIn;
beforeEach(async () => {
  berth = await startStandIn();
});
afterEach(() => berth.close());

const id = "aaaabbbbccccdddd";
const statusPath = `GET /deploy/${id}`;

/** The Berth goes through these states, one a look, and stays in the last. */
function goThrough(states: readonly Partial<DeploymentOut>[], progress: EventsOut["progress"] = null): void {
  let looks = 0;
  berth.answer("POST /deploy/llm", () => ({
    json: sampleDeployment({ status: "initializing", version: "" }),
  }));
  berth.answer(statusPath, () => {
    const state = states[Math.min(looks, states.length - 1)];
    looks += 1;
    return { json: sampleDeployment(state) };
  });
  const event = { at: "2026-11-01T12:00:00+00:00", code: "x", text: "Fetching.", next: "", inputs: {} };
  berth.answer(`GET /deploy/${id}/events`, () => ({ json: { events: [event], progress } }));
}

const half = { bytes_done: 5e8, bytes_total: 1e9, bytes_per_s: 1e8, eta_s: 5, files: ["model.gguf"] };
const lifetime: Partial<DeploymentOut>[] = [
  { status: "initializing" },
  { status: "downloading" },
  { status: "deploying" },
  { status: "running" },
];
const env = () => ({ BERTH_URL: berth.url, BERTH_API_TOKEN: "secret-token" });

test("a deployment is followed until it runs, with what to copy at the end", async () => {
  goThrough(lifetime, half);
  const { code, stdout, stderr } = await runCli(["deploy", "own/Qwen-GGUF"], { env: env() });
  expect(code).toBe(0);
  expect(stderr.split("\n")).toEqual([
    `ann/qwen is accepted (id ${id}).`,
    "initializing    0 s  Fetching.",
    "downloading     50%  500 MB of 1.0 GB  100 MB/s  5 s left",
    "deploying       2 s  Fetching.",
    "ann/qwen is running (3.0 s).",
    "",
  ]);
  expect(stdout).toBe(
    [
      "",
      'berth chat ann/qwen "Hello"',
      "",
      `curl ${berth.url}/v1/openai/chat/completions \\`,
      '  -H "Authorization: Bearer $BERTH_API_TOKEN" \\',
      '  -H "Content-Type: application/json" \\',
      `  -d '{"model":"ann/qwen","messages":[{"role":"user","content":"Hello"}]}'`,
      "",
    ].join("\n"),
  );
  expect(stdout + stderr).not.toContain("secret-token");
  expect(berth.received[0]?.headers.authorization).toBe("Bearer secret-token");
  expect(berth.received[0]?.body).toEqual({
    model_name: "Qwen-GGUF",
    gpu: "other",
    hf: { repo: "own/Qwen-GGUF", revision: null, token: null },
  });
});

test("on a terminal one line is redrawn and gone at the end", async () => {
  goThrough(lifetime, half);
  const { stderr } = await runCli(["deploy", "own/Qwen-GGUF"], { env: env(), isTty: true });
  expect(stderr).toContain("\r\u001b[2Kdownloading     50%  ━━━━━━━━━━──────────  500 MB of 1.0 GB");
  expect(stderr).toContain("\r\u001b[2Kann/qwen is running");
});

test("with --json there is one JSON document and nothing else", async () => {
  goThrough(lifetime, half);
  const { code, stdout, stderr } = await runCli(["deploy", "own/Qwen-GGUF", "--json"], { env: env() });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ model_name: "ann/qwen", status: "running" });
  expect(stderr).toBe("");
});

test("a deployment that fails gives its reason and exit code 1", async () => {
  const reason = "The repository own/none does not exist. Check its name.";
  goThrough([{ status: "initializing" }, { status: "failed", fail_reason: `${reason}\u001b[2J` }]);
  const plainRun = await runCli(["deploy", "own/none"], { env: env() });
  expect(plainRun.code).toBe(1);
  expect(plainRun.stderr).toContain(`berth: ann/qwen failed: ${reason}\n`);
  expect(plainRun.stdout).toBe("");
  const jsonRun = await runCli(["deploy", "own/none", "--json"], { env: env() });
  expect(jsonRun.code).toBe(1);
  expect(JSON.parse(jsonRun.stdout)).toMatchObject({ status: "failed" });
  expect(JSON.parse(jsonRun.stderr)).toEqual({ error: `ann/qwen failed: ${reason}` });
});

test("Ctrl-C stops following and says that the deployment goes on", async () => {
  goThrough([{ status: "downloading" }], half);
  const { code, stderr } = await runCli(["deploy", "own/Qwen-GGUF"], {
    env: env(),
    onWait: (count, keys) => {
      if (count === 3) keys.interrupt();
    },
  });
  expect(code).toBe(130);
  expect(stderr).toContain("Stopped following; ann/qwen goes on without this terminal.");
  expect(berth.received.map((one) => one.method)).not.toContain("DELETE");
});

test("a control that restarts meanwhile is waited for, within a bound", async () => {
  goThrough(lifetime, half);
  let looks = 0;
  berth.answer(statusPath, () => {
    looks += 1;
    return looks < 5 ? { status: 503, json: { error: "Restarting." } } : { json: sampleDeployment() };
  });
  expect((await runCli(["deploy", "own/Qwen-GGUF"], { env: env() })).code).toBe(0);
  berth.answer(statusPath, () => ({ status: 503, json: { error: "Restarting." } }));
  const { code, stderr } = await runCli(["deploy", "own/Qwen-GGUF"], { env: env() });
  expect(code).toBe(3);
  expect(stderr).toContain("berth: Restarting.");
});

test("--no-wait returns at once", async () => {
  goThrough(lifetime);
  const { code, stdout } = await runCli(["deploy", "own/Qwen-GGUF", "--no-wait"], { env: env() });
  expect(code).toBe(0);
  expect(stdout).toBe("berth status ann/qwen\n");
  expect(berth.received).toHaveLength(1);
});

test("a refused deployment is exit code 1 with the server's sentence", async () => {
  const detail = [{ loc: ["body", "model_name"], msg: "bad", type: "value_error" }];
  berth.answer("POST /deploy/llm", () => ({ status: 422, json: { error: "model_name is taken.", detail } }));
  const { code, stderr } = await runCli(["deploy", "own/x"], { env: env() });
  expect([code, stderr]).toEqual([1, "berth: model_name is taken.\n"]);
});

test("exactly one of a repository and --base-model", async () => {
  for (const argv of [["deploy"], ["deploy", "a/b", "--base-model", "berth/starter"]]) {
    const { code, stderr } = await runCli(argv, { env: env() });
    expect(code).toBe(2);
    expect(stderr).toContain("Name one model");
  }
  expect(berth.received).toEqual([]);
});

test("every option has its place in the body", () => {
  expect(
    buildBody(
      "own/Model:Q4_K_M",
      {
        name: "tiny",
        gpu: "H100-80GB",
        numGpus: 2,
        maxBatchSize: 8,
        min: 0,
        max: 4,
        inactiveShutdown: 600,
        revision: "main",
        arg: ["--a=1", "--b"],
        set: { max_context_size: 4096 },
        preset: "own/Model@2xH100-80GB",
      },
      "hf_x",
    ),
  ).toEqual({
    model_name: "tiny",
    gpu: "H100-80GB",
    num_gpus: 2,
    max_batch_size: 8,
    hf: { repo: "own/Model:Q4_K_M", revision: "main", token: "hf_x" },
    settings: { min_instances: 0, max_instances: 4, inactive_shutdown: 600 },
    extra_args: ["--a=1", "--b"],
    standard_args: { max_context_size: 4096 },
    preset_id: "own/Model@2xH100-80GB",
  });
  const body = buildBody(undefined, { gpu: "other", baseModel: "berth/starter" }, null);
  expect(body).toEqual({ model_name: "starter", gpu: "other", base_model: "berth/starter" });
});

test("one bound brings a fitting other one", () => {
  const settings = (given: { min?: number; max?: number }) =>
    buildBody("o/m", { gpu: "other", ...given }, null).settings;
  expect(settings({ min: 3 })).toEqual({ min_instances: 3, max_instances: 3 });
  expect(settings({ min: 0 })).toEqual({ min_instances: 0, max_instances: 1 });
  expect(settings({ max: 0 })).toEqual({ min_instances: 0, max_instances: 0 });
  expect(settings({ max: 4 })).toEqual({ min_instances: 1, max_instances: 4 });
});

test("a schedule comes with bounds that hold it", async () => {
  goThrough([{ status: "running" }]);
  const rule = ["--schedule", "mon-fri 08:00-20:00 3", "--time-zone", "Europe/Berlin"];
  await runCli(["deploy", "own/m", "--no-wait", "--min", "0", ...rule], { env: env() });
  const days = ["mon", "tue", "wed", "thu", "fri"];
  const rules = [{ days, from: "08:00", until: "20:00", min_instances: 3 }];
  expect(berth.received.at(-1)?.body).toMatchObject({
    settings: { min_instances: 0, max_instances: 3, schedule: { time_zone: "Europe/Berlin", rules } },
  });
  const { code, stderr } = await runCli(["deploy", "own/m", "--time-zone", "UTC"], { env: env() });
  expect([code, stderr]).toEqual([2, expect.stringContaining("--time-zone belongs to a --schedule")]);
});

test("the Hugging Face token: from the environment, standard input, or not at all; never shown", async () => {
  goThrough([{ status: "running" }]);
  const hf = { ...env(), HF_TOKEN: "hf_ambient" };
  const sent = () => (berth.received.at(-1)?.body as { hf: { token: string | null } } | undefined)?.hf.token;
  const argv = ["deploy", "own/m", "--no-wait"];
  const first = await runCli(argv, { env: hf });
  expect(sent()).toBe("hf_ambient");
  expect(first.stderr).toContain("Using the Hugging Face token from HF_TOKEN.");
  expect(first.stdout + first.stderr).not.toContain("hf_ambient");
  await runCli([...argv, "--no-hf-token"], { env: hf });
  expect(sent()).toBeNull();
  await runCli([...argv, "--hf-token-stdin"], { env: hf, input: "hf_typed\n" });
  expect(sent()).toBe("hf_typed");
  const base = await runCli(["deploy", "--base-model", "berth/starter", "--no-wait"], { env: hf });
  expect(base.code).toBe(0);
  expect(JSON.stringify(berth.received.at(-1)?.body)).not.toContain("hf_");
});

test("a token typed on a terminal is not shown; Ctrl-C and Ctrl-D leave", async () => {
  goThrough([{ status: "running" }]);
  const type = (text: string) => {
    let isAsked = false;
    return runCli(["deploy", "own/m", "--no-wait", "--hf-token-stdin"], {
      env: env(),
      isTty: true,
      onOutput: (_, stderr, keys) => {
        if (isAsked || !stderr.includes("(not shown): ")) return;
        isAsked = true;
        keys.type(text);
      },
    });
  };
  const given = await type("hf_typed\r");
  expect(given.code).toBe(0);
  expect(given.stdout + given.stderr).not.toContain("hf_typed");
  expect(berth.received[0]?.body).toMatchObject({ hf: { token: "hf_typed" } });
  expect([(await type("\u0003")).code, (await type("\u0004")).code]).toEqual([130, 2]);
  expect(berth.received).toHaveLength(1);
});

test("a deployment at zero is ready; its first request starts it", async () => {
  goThrough([{ status: "running", instances: { running: 0, pending: 0, warming: 0 } }]);
  const { code, stderr } = await runCli(["deploy", "own/m", "--min", "0"], { env: env() });
  expect(code).toBe(0);
  expect(stderr).toContain("ann/qwen is ready; its first request starts it");
});

test("a line to copy runs nothing but what it shows, whatever the server calls its model", async () => {
  const hostile = sampleDeployment({ model_name: "ann/x'; touch pwned; '" });
  berth.answer("POST /deploy/llm", () => ({ json: hostile }));
  berth.answer(statusPath, () => ({ json: hostile }));
  berth.answer(`GET /deploy/${id}/events`, () => ({ json: { events: [], progress: null } }));
  const { stdout } = await runCli(["deploy", "own/m"], { env: env() });
  expect(stdout.split("\n")[1]).toBe(`berth chat ${String.raw`'ann/x'\''; touch pwned; '\'''`} "Hello"`);
});

test("the token file that `hf auth login` leaves is used", async () => {
  goThrough([{ status: "running" }]);
  const folder = await mkdtemp(join(tmpdir(), "berth-cli-"));
  try {
    await writeFile(join(folder, "token"), "hf_login\n");
    const { code } = await runCli(["deploy", "own/m", "--no-wait"], { env: { ...env(), HF_HOME: folder } });
    expect(code).toBe(0);
    expect(berth.received[0]?.body).toMatchObject({ hf: { token: "hf_login" } });
  } finally {
    await rm(folder, { recursive: true });
  }
});
