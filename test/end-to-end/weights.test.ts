/** Weights from a Hugging Face endpoint: what works, and what fails with a reason a person can act on. */

import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";
import { eventually } from "../harness/until.ts";
import { startTestHub, type TestHub } from "../harness/weights.ts";

let hub: TestHub;
let berth: Berth;
let models: string;
const starter = new URL("../../starter/model/berth-starter-F16.gguf", import.meta.url).pathname;
beforeAll(async () => {
  hub = await startTestHub();
  models = mkdtempSync(join(tmpdir(), "berth-models-"));
  copyFileSync(starter, join(models, "local.gguf"));
  berth = await startBerth({
    env: {
      HF_ENDPOINT: hub.url,
      BERTH_STARTER: "off",
      BERTH_LOCAL_ROOTS: models,
      HF_TOKEN: "hf_bob",
    },
  });
});
afterAll(async () => {
  await berth?.end();
  await hub?.end();
  rmSync(models, { recursive: true, force: true });
});

let count = 0;
async function deploy(hf: Record<string, string>, more: Record<string, unknown> = {}): Promise<string> {
  count += 1;
  const { status, body } = await berth.call("POST", "/deploy/llm", {
    model_name: `w${count}`,
    gpu: "other",
    max_batch_size: 2,
    hf,
    ...more,
  });
  expect(status, JSON.stringify(body)).toBe(200);
  return body.deploy_id;
}

describe("what works", () => {
  it("a private repository with its token; only the needed file, verified, in the Hugging Face layout", async () => {
    const id = await deploy({ repo: "acme/secret", token: "hf_alice" });
    const { version } = await untilStatus(berth, id, "running", "failed");
    const folder = join(berth.home, "hub", "models--acme--secret");
    const link = join(folder, "snapshots", version, "tiny-F16.gguf");
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    const blob = realpathSync(link);
    expect(createHash("sha256").update(readFileSync(blob)).digest("hex")).toBe(blob.split("/").at(-1));
    expect(readdirSync(join(folder, "snapshots", version))).toEqual(["tiny-F16.gguf"]);
    await berth.call("DELETE", `/deploy/${id}`);
  });

  it("a second deployment of the same commit fetches nothing again", async () => {
    const first = await deploy({ repo: "acme/tiny:F16" });
    await untilStatus(berth, first, "running");
    const before = hub.requests.filter(
      (request) => request.at === "storage" || request.url.includes("/storage/"),
    ).length;
    const second = await deploy({ repo: "acme/tiny" });
    await untilStatus(berth, second, "running");
    expect(hub.requests.filter((request) => request.url.includes("/storage/")).length).toBe(before);
    for (const id of [first, second]) await berth.call("DELETE", `/deploy/${id}`);
  });
});

it("a model on this machine's disk serves from where it is, until it is another", async () => {
  const path = join(models, "local.gguf");
  const id = await deploy({ repo: `file://${path}` });
  await untilStatus(berth, id, "running");
  const answer = await berth.call("POST", "/v1/chat/completions", {
    model: `deploy_id:${id}`,
    messages: [{ role: "user", content: "What is 2 + 3?" }],
    max_tokens: 8,
    temperature: 0,
  });
  expect(JSON.stringify(answer.body)).toContain("5");
  expect(existsSync(join(berth.home, "hub", "blobs"))).toBe(false);
  await berth.call("POST", `/deploy/${id}/stop`);
  await untilStatus(berth, id, "stopped");
  utimesSync(path, 1, 1);
  await berth.call("POST", `/deploy/${id}/start`);
  const { fail_reason } = await untilStatus(berth, id, "failed");
  expect(fail_reason).toContain("not what they were when they were deployed");
  await berth.call("DELETE", `/deploy/${id}`);
});

describe("what fails, with the reason, still listed and deletable, nothing left running", () => {
  it.each<[string, Record<string, string>, Record<string, unknown>, RegExp]>([
    ["no such repository", { repo: "acme/nothing" }, {}, /acme\/nothing/],
    ["a private one without a token", { repo: "acme/secret" }, {}, /acme\/secret/],
    ["a private one with a token that may not", { repo: "acme/secret", token: "hf_bob" }, {}, /acme\/secret/],
    ["a gated one", { repo: "acme/licensed", token: "hf_bob" }, {}, /gated/i],
    ["a file on the disk that nobody allows", { repo: "file:///etc/passwd.gguf" }, {}, /no model at file/],
    ["no such revision", { repo: "acme/tiny", revision: "v9" }, {}, /v9/],
    ["no weights", { repo: "acme/weightless" }, {}, /weightless/],
    ["safetensors, which no engine here loads", { repo: "acme/tensors" }, {}, /safetensors/i],
    ["a quantization that is not there", { repo: "acme/tiny:Q2_K" }, {}, /Q2_K/],
    ["a GGUF that is none", { repo: "acme/broken" }, {}, /tries|load|read/i],
    [
      "a GPU that is not here",
      { repo: "acme/tiny" },
      { gpu: "H100-80GB", num_gpus: 2 },
      /No machine here has 2 x H100-80GB; there is the CPU/,
    ],
    ["several CPUs", { repo: "acme/tiny" }, { num_gpus: 2 }, /num_gpus 1/],
  ])("%s", async (_, hf, more, reason) => {
    const id = await deploy(hf, more);
    const failed = await untilStatus(berth, id, "failed", "running");
    expect(failed.status).toBe("failed");
    expect(failed.fail_reason).toMatch(reason);
    expect(failed.fail_reason).not.toMatch(/hf_alice|hf_bob|\/storage\/|undefined|Error:/);
    expect(await berth.listIds()).toContain(id);
    const refused = await berth.call("POST", "/v1/chat/completions", {
      model: `deploy_id:${id}`,
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(refused.status).toBe(503);
    const { body } = await berth.call("GET", `/deploy/${id}/events`);
    expect(body.events.at(-1)).toMatchObject({
      code: expect.any(String),
      text: expect.any(String),
      next: expect.stringMatching(/\S/),
    });
    expect((await berth.call("DELETE", `/deploy/${id}`)).status).toBe(200);
  });

  it("leaves no engine behind", async () => {
    await until("no engine", () => berth.pids("engine").length === 0);
  });

  it("keeps every secret out of the state, the answers, the log and the processes", async () => {
    const tokens = ["hf_canary0123456789", "hf_pullcanary012345", "hf_bob"];
    const id = await deploy({ repo: "acme/tiny", token: tokens[0] ?? "" });
    await untilStatus(berth, id, "failed", "running");
    const pull = { repo: "acme/other", token: tokens[1] };
    const { body: job } = await berth.call("POST", "/v1/berth/hub/pull", pull);
    const answers: unknown[] = [job];
    await until("the end of the pull", async () => {
      const { body } = await berth.call("GET", `/v1/berth/hub/jobs/${job.id}`);
      answers.push(body);
      return body.state !== "running";
    });
    // The mirror asks with the account's own tokens, also for what it then refuses.
    for (const path of [
      "acme/tiny/resolve/main/tiny-F16.gguf",
      "acme/secret/resolve/main/x",
      "api/models/acme/tiny",
    ]) {
      const answer = await fetch(`${berth.url}/hub/${path}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      answers.push([...answer.headers], (await answer.text()).slice(0, 10_000));
    }
    for (const path of [`/deploy/${id}`, `/deploy/${id}/events`, "/deploy/list", "/v1/berth/audit"]) {
      answers.push((await berth.call("GET", path)).body);
    }
    answers.push(await (await fetch(`${berth.url}/metrics`)).text());
    // As one look: what is renamed while it goes on, as the spool does, would be missed under both names.
    const everything = await eventually(() =>
      readdirSync(berth.home, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
        .join("\n"),
    );
    for (const secret of tokens) {
      expect(everything).not.toContain(secret);
      expect(JSON.stringify(answers)).not.toContain(secret);
      expect(berth.output()).not.toContain(secret);
    }
    // Control was given HF_TOKEN in its environment; what it starts was not.
    for (const role of ["control", "gateway", "engine"] as const) {
      for (const pid of berth.pids(role)) {
        const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
        const visible =
          readFileSync(`/proc/${pid}/cmdline`, "latin1") + (role === "engine" ? environment : "");
        for (const secret of tokens) expect(visible).not.toContain(secret);
        for (const secret of tokens.slice(0, 2)) expect(environment).not.toContain(secret);
      }
    }
    await berth.call("DELETE", `/deploy/${id}`);
  });
});

describe("HF_TOKEN of the installation", () => {
  it("serves the accounts that an administrator named, and the mirror goes by the same", async () => {
    const env = { HF_ENDPOINT: hub.url, BERTH_STARTER: "off", HF_TOKEN: "hf_alice" };
    const named = await startBerth({ env: { ...env, BERTH_HF_TOKEN_ACCOUNTS: "second" } });
    try {
      const { body: second } = await named.call("POST", "/v1/accounts", { name: "second" });
      const start = async (token: string | undefined) => {
        const model = { model_name: "m", gpu: "other", hf: { repo: "acme/secret" } };
        return (await named.call("POST", "/deploy/llm", model, token)).body.deploy_id;
      };
      const mirrored = async (as: string) =>
        (
          await fetch(`${named.url}/hub/api/models/acme/secret`, {
            headers: { authorization: `Bearer ${as}` },
          })
        ).status;
      // `first` is the first account, which would have it where none is named.
      const refused = await untilStatus(named, await start(undefined), "running", "failed");
      expect(refused.fail_reason).toMatch(/acme\/secret/);
      expect(await mirrored(token)).toBe(404);
      const id = await start(second.token);
      await until("the weights of the second account", async () => {
        const { body } = await named.call("GET", `/deploy/${id}`, undefined, second.token);
        return body.status === "running";
      });
      expect(await mirrored(second.token)).toBe(200);
    } finally {
      await named.end();
    }
  });
});
