/**
 * What people read when an engine fails: the sentence in `fail_reason`, the same with its code among the events, and in the answer
 * to "why". One Berth for all cases. The embedded engine and, where it is there, llama.cpp's server really run out of memory at a limit;
 * what vLLM prints when it fails was recorded from real ones, and comes from a stand-in of its command, which is also the engine
 * that says it is well and is not.
 */
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fixture, startFixture } from "../../tools/fake-hub/fixture.ts";
import { installFakeVllm } from "../../tools/fake-vllm/installed.ts";
import { buildTinyModel } from "../../tools/tiny-gguf/tiny-gguf.ts";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";
import { starterFolder, starterGguf } from "../harness/weights.ts";

const limitMb = 400;
let hub: Fixture;
let berth: Berth;
let vllm: string;
const ids = new Map<string, string>();

const tensors = () => {
  const names = readdirSync(starterFolder).filter((name) => /\.(json|safetensors|jinja)$/.test(name));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(starterFolder, name))]));
};

const onVllm = { hf: { repo: "acme/tensors" } };

// Each engine is chosen by an argument that the other has not.
const llamaServer = process.env.BERTH_TEST_LLAMA_SERVER;
const onServer = (...more: string[]) => ({ extra_args: ["--flash-attn", "off", ...more] });
const onEmbedded = { extra_args: ["--prefix-caching", "1"] };

beforeAll(async () => {
  vllm = await mkdtemp(join(tmpdir(), "berth-fake-vllm-"));
  await chmod(vllm, 0o755);
  installFakeVllm(vllm);
  const tiny = readFileSync(starterGguf);
  hub = await startFixture({
    "acme/tiny": { "tiny-F16.gguf": tiny },
    "acme/licensed": { "tiny-F16.gguf": tiny },
    "acme/wide": { "wide-F16.gguf": buildTinyModel({ layers: 8, contextTokens: 500_000 }) },
    "acme/tensors": tensors(),
    "acme/adapter": {
      "adapter_config.json": JSON.stringify({
        base_model_name_or_path: "acme/tiny",
        peft_type: "LORA",
        r: 16,
      }),
      "adapter_model.safetensors": "not read",
    },
  });
  await hub.setAccess({ private: [], gated: { "acme/licensed": "manual" }, tokens: {} });
  berth = await startBerth({
    env: {
      ...{ HF_ENDPOINT: hub.hub.url, BERTH_HUB_PRIVATE: "on", BERTH_STARTER: "off", BERTH_VLLM: vllm },
      BERTH_LLAMA_SERVER: llamaServer ?? "off",
      ...{ BERTH_LOAD_TRIES: "1", BERTH_LOAD_S: "30", BERTH_RESTARTS: "2", BERTH_FIRST_TOKEN_S: "4" },
      ...{ BERTH_ENGINE_MEMORY: String(limitMb), BERTH_CPU_CONTEXT_MB: "16000" },
    },
  });
  await deploy("neighbour", { hf: { repo: "acme/tiny" }, max_batch_size: 2, ...onEmbedded });
  // Loads for ever, while the others are looked at.
  await deploy("stuck", onVllm);
  await untilStatus(berth, idOf("neighbour"), "running");
});
afterAll(async () => {
  await berth?.end();
  await hub?.[Symbol.asyncDispose]();
  await rm(vllm, { recursive: true, force: true });
});

async function deploy(name: string, body: Record<string, unknown>): Promise<void> {
  const answer = await berth.call("POST", "/deploy/llm", { model_name: name, gpu: "other", ...body });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  ids.set(name, answer.body.deploy_id);
}

const idOf = (name: string) => ids.get(name) ?? "not deployed";
const eventsOf = async (name: string) =>
  (await berth.call("GET", `/deploy/${idOf(name)}/events`)).body.events;

function ask(
  name: string,
  more: Record<string, unknown> = {},
  signal: AbortSignal | null = null,
): Promise<Response> {
  const body = { model: `first/${name}`, messages: [{ role: "user", content: "Hello" }], ...more };
  return fetch(`${berth.url}/v1/chat/completions`, {
    ...{ method: "POST", headers: { authorization: `Bearer ${token}` }, body: JSON.stringify(body), signal },
  });
}

/** It has failed, with the sentence, and says the same everywhere. */
async function expectFailed(name: string, code: string, reason: RegExp): Promise<void> {
  const { fail_reason } = await untilStatus(berth, idOf(name), "failed");
  expect(fail_reason).toMatch(reason);
  // Nothing of the machine, of Python or of JavaScript.
  expect(fail_reason).not.toMatch(/\/tmp|\/weights|dist-packages|Traceback|undefined|null|\[object/);
  const events = await eventsOf(name);
  const told = events.find((event) => event.code === code);
  expect(told, JSON.stringify(events)).toBeDefined();
  expect(fail_reason).toContain(told?.text);
  expect(events.at(-1)).toMatchObject({ code: "failed", next: expect.stringMatching(/\S/) });
  const why = (await berth.call("GET", `/deploy/${idOf(name)}/why`)).raw as { facts: string[] };
  expect(why.facts[0]).toBe(`Berth has given up: ${fail_reason}`);
}

describe("a start that fails", () => {
  it.each<[name: string, body: Record<string, unknown>, code: string, reason: RegExp]>([
    [
      "too-wide",
      // 8 GB of context, where an engine may have a twentieth of it.
      { hf: { repo: "acme/wide" }, max_batch_size: 8, ...onEmbedded },
      "out_of_memory",
      /^The embedded engine ran out of memory: it asked for 7816 MB more\. An engine here may have 400 MiB\. It was tried once\. Choose .* BERTH_ENGINE_MEMORY gives engines more\.$/,
    ],
    [
      "licensed",
      { hf: { repo: "acme/licensed" } },
      "repo_gated",
      /^The repository "acme\/licensed" is gated and .*\. .*https?:\/\/.*$/,
    ],
    [
      "adapter",
      { hf: { repo: "acme/adapter" } },
      "no_loadable_weights",
      /^acme\/adapter holds a LoRA adapter for acme\/tiny, and no model of its own\. Deploy acme\/tiny, or/,
    ],
    [
      "bad-argument",
      { ...onVllm, extra_args: ["--tool-call-parser", "mystral"] },
      "bad_engine_args",
      /^This version of vLLM has no tool call parser mystral\. Correct extra_args/,
    ],
    [
      "cuda-oom",
      onVllm,
      "out_of_memory",
      /^vLLM ran out of GPU memory while loading, when it asked for 50\.00 MiB\. .*It was tried once\. Lower/,
    ],
    [
      "unknown-architecture",
      onVllm,
      "engine_refused_model",
      /does not know the architecture ZamfirForCausalLM\. Install a newer/,
    ],
  ])("%s", async (name, body, code, reason) => {
    await deploy(name, body);
    await expectFailed(name, code, reason);
  });
});

describe.runIf(llamaServer !== undefined)("llama.cpp's server", () => {
  it.each<[name: string, body: Record<string, unknown>, code: string, reason: RegExp]>([
    [
      "server-too-wide",
      { hf: { repo: "acme/wide" }, max_batch_size: 8, ...onServer() },
      "out_of_memory",
      /^llama\.cpp's server ran out of memory .*\. An engine here may have 400 MiB\. It was tried once\. Choose .* BERTH_ENGINE_MEMORY/,
    ],
    [
      "server-argument",
      { hf: { repo: "acme/tiny" }, ...onServer("--cache-type-v", "q4_0") },
      "bad_engine_args",
      /^llama\.cpp's server cannot do what it was asked for together: quantized V cache requires flash_attn .*Correct extra_args\.$/,
    ],
  ])("%s", async (name, body, code, reason) => {
    await deploy(name, body);
    await expectFailed(name, code, reason);
  });

  it("killed while it streams: the client is told, and the events say so", async () => {
    await deploy("server", { hf: { repo: "acme/tiny" }, ...onServer() });
    await untilStatus(berth, idOf("server"), "running");
    const response = await ask("server", { stream: true, max_tokens: 900, ignore_eos: true });
    const reader = response.body?.getReader();
    await reader?.read();
    for (const pid of berth.pids("engine").filter(isLlamaServer)) process.kill(pid, "SIGKILL");
    let rest = "";
    for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read()) {
      rest += Buffer.from(piece.value).toString();
    }
    expect(rest).toMatch(
      /data: \{"error":\{"message":"The engine of first\/server failed during this request: /,
    );
    const told = await until("the end to be told", async () =>
      (await eventsOf("server")).find(({ code }) => code === "out_of_memory"),
    );
    expect(told.text).toMatch(
      /^llama\.cpp's server was killed, most likely because the machine ran out of memory\./,
    );
    await berth.call("DELETE", `/deploy/${idOf("server")}`);
  });
});

function isLlamaServer(pid: number): boolean {
  return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("llama-server");
}

describe("an engine that says it is well and is not", () => {
  it.each<[name: string, reason: RegExp]>([
    [
      "mute",
      /^The engine says that it is well, but it gave no answer in 4 s when it was asked for one token\. .* It was tried once\./,
    ],
    ["page", /but it answered with something that is no answer when/],
  ])("%s: never serves", async (name, reason) => {
    await deploy(name, onVllm);
    await expectFailed(name, "warm_up_failed", reason);
    expect((await eventsOf(name)).map(({ code }) => code)).not.toContain("instance_running");
  });

  it("deaf: gives tokens no more while it serves, and is replaced, with the reason", async () => {
    await deploy("deaf", onVllm);
    await untilStatus(berth, idOf("deaf"), "running");
    // A whole answer may take hours, so nobody waits for the end of this one.
    const leaving = new AbortController();
    const asked = ask("deaf", {}, leaving.signal).catch(() => null);
    const reason = await until("it to be found out", async () =>
      (await eventsOf("deaf")).find(({ code }) => code === "warm_up_failed"),
    );
    expect(reason.text).toMatch(/gave no answer in 4 s when it was asked for one token\.$/);
    leaving.abort();
    await asked;
    const starts = async () =>
      (await eventsOf("deaf")).filter(({ code }) => code === "instance_starting").length;
    await until("another instance", async () => (await starts()) === 2);
    await berth.call("DELETE", `/deploy/${idOf("deaf")}`);
  });
});

describe("an engine that crashes while it serves", () => {
  it("after a thousand tokens: the client is told, it is started again, and given up when that goes on", async () => {
    await deploy("crash", onVllm);
    for (const _ of ["first", "second"]) {
      await untilStatus(berth, idOf("crash"), "running");
      const before = (await eventsOf("crash")).filter(({ code }) => code === "engine_crashed").length;
      const text = await (await ask("crash", { stream: true, max_tokens: 4000 })).text();
      expect(text.split("\n\n").filter((event) => event.includes('"word "'))).toHaveLength(1000);
      expect(text).toMatch(
        /data: \{"error":\{"message":"The engine of first\/crash failed during this request: /,
      );
      await until(
        "the end to be told",
        async () => (await eventsOf("crash")).filter(({ code }) => code === "engine_crashed").length > before,
      );
    }
    await expectFailed(
      "crash",
      "engine_crashed",
      /^A computation of vLLM on a GPU went wrong \(CUDA: an illegal memory access\)\. It has ended 2 times in a row/,
    );
  });
});

it("stuck: one that loads for ever is ended at the limit, with what it printed last", async () => {
  await expectFailed(
    "stuck",
    "engine_timeout",
    /^The engine was still loading after 30 s, the limit, and was ended\. The last it printed was: .*Starting to load model.*\. It was tried once\. .*BERTH_LOAD_S/,
  );
});

it("none of it touched a neighbour, and nothing is left of it", async () => {
  await untilStatus(berth, idOf("neighbour"), "running");
  expect((await ask("neighbour", { max_tokens: 4 })).status).toBe(200);
  const started = (await eventsOf("neighbour")).filter(({ code }) => code === "instance_starting");
  expect(started).toHaveLength(1);
  await until("one engine", () => berth.pids("engine").length === 1);
});
