/**
 * What every engine promises, as one suite of tests that each implementation passes with its real server: which files it
 * takes, that its command line gives nothing away, that it becomes ready, answers, streams and counts, keeps what it
 * declares, refuses strangers, and leaves a sentence when it fails. Only tests import it.
 */
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EngineArgs, RepoFile } from "../../src/core/deployment.ts";
import type { ObservedInstance } from "../../src/core/instance.ts";
import { createLocalDriver, type LocalDriver } from "../../src/drivers/local/driver.ts";
import type { InstanceSpec } from "../../src/ports/driver.ts";
import type { Engine } from "../../src/ports/engine.ts";
import { findHolders } from "../harness/holders.ts";

/** The model that Berth ships: a GGUF file and safetensors of the same weights. */
export const starterFolder = join(import.meta.dirname, "../../starter/model");

export type ContractOptions = {
  /** Longest time a step may take. */
  readonly patienceMs: number;
  /** A file of the model that it cannot do without. */
  readonly weightFile: string;
};

const noArgs: EngineArgs = { standardArgs: {}, extraArgs: [] };
/** An instance's id is known to the whole machine: other drivers' tests must not take these for theirs. */
const mark = randomBytes(6).toString("hex");
const id = (name: string) => `${name}-${mark}`;
const slots = 2;
const contextTokens = 256;
const servedNames = ["ann/starter", "starter", "deploy_id:abc"];

/** Whether engines are shut in as a Berth does it (as root with users of their own), see the driver's isolation. */
const isShutIn = process.env.BERTH_TEST_ISOLATED !== undefined;

const forbidden = [
  ["--host", "0.0.0.0"],
  ["--port=80"],
  ["--api-key", "mine"],
  ["--model", "other"],
  ["--chat_template", "x"],
  ["--trust-remote-code"],
  ["--tool-parser-plugin", "x"],
  ["--lora-modules", "a=b"],
  ["--download-dir", "x"],
  ["--no-such-argument", "1"],
  ["--ssl-keyfile", "x"],
] as const;

export function describeEngine(name: string, open: () => Promise<Engine>, options: ContractOptions): void {
  const { patienceMs, weightFile } = options;
  describe(`${name} keeps the contract`, { timeout: patienceMs }, () => {
    let engine: Engine;
    let home: string;
    let driver: LocalDriver;
    let running: ObservedInstance;

    beforeAll(async () => {
      engine = await open();
      home = await mkdtemp(join(tmpdir(), "berth-contract-"));
      driver = createLocalDriver({
        ...{ home, socketDirectory: join(home, "s"), engines: new Map([[engine.name, engine]]) },
        clock: { now: Date.now, sleep: (ms, signal) => sleep(ms, undefined, { signal }) },
        ...{ readyTimeoutMs: patienceMs, environment: process.env },
        ...{ isolates: isShutIn, programs: [join(import.meta.dirname, "../.."), dirname(process.execPath)] },
        log: () => undefined,
      });
      await driver.start(specOf(engine, id("one"), starterFolder, await choose(engine)));
      running = await until(driver, id("one"), "running");
    }, patienceMs);

    afterAll(async () => {
      await driver.remove(id("one"), 2000);
      await driver.close();
      await rm(home, { recursive: true, force: true });
    }, patienceMs);

    test("takes the files of its model, and says what is wrong with a repository that has none", async () => {
      const files = await listFiles(starterFolder);
      const listing = { repo: "ann/starter", commit: "c", files };
      const choice = engine.chooseFiles(listing, null);
      expect(choice.ok && choice.value.files.map(({ path }) => path)).toContain(weightFile);
      const none = engine.chooseFiles(
        { ...listing, files: files.filter(({ path }) => path === "README.md") },
        null,
      );
      expect(none).toMatchObject({ ok: false, failure: { code: "no_loadable_weights" } });
      expect(!none.ok && none.failure.message).toMatch(/ann\/starter.*[.]$/);
    });

    test("takes no argument that it does not know, or that leads out of its place, and names it", () => {
      expect(engine.refuseArgs(noArgs)).toBeNull();
      for (const [flag, ...rest] of forbidden) {
        const refusal = engine.refuseArgs({ standardArgs: {}, extraArgs: [flag, ...rest] });
        expect(refusal, flag).toContain(flag.split("=")[0]);
      }
      const refusal = engine.refuseArgs({ standardArgs: { quantization: "awq" }, extraArgs: [] });
      if (refusal !== null) expect(refusal).toContain("quantization");
    });

    test("its command line and environment give no secret away", async () => {
      const { launch } = specOf(engine, "x", starterFolder, await choose(engine));
      const secret = "a-secret-that-is-looked-for";
      const endpoint = { kind: "unix", path: "/tmp/x/s.sock" } as const;
      const placement = { node: "here", gpus: [] };
      const made = engine.launch({ ...launch, instanceId: "x", endpoint, secret, placement });
      expect(JSON.stringify([made.command, made.args, made.env])).not.toContain(secret);
      expect(made.files.some(({ content }) => content.includes(secret))).toBe(true);
    });

    test("is ready with what was asked for", () => {
      expect(running).toMatchObject({ slots, contextTokens, state: "running" });
    });

    test("gives its first token", async () => {
      const { endpoint, secret } = running;
      for (const servedName of servedNames) {
        expect(await engine.warmUp({ endpoint, secret, servedName }, patienceMs)).toBeNull();
      }
    });

    test("answers nobody without the secret", async () => {
      const { endpoint } = running;
      const answer = await ask({ ...running, secret: "wrong" }, "/v1/chat/completions", chat({}));
      expect(answer.status).toBe(401);
      expect(await engine.warmUp({ endpoint, secret: "", servedName: "starter" }, patienceMs)).toMatchObject({
        code: "warm_up_failed",
      });
    });

    test("is silent, not a failure, where nobody listens", async () => {
      const endpoint = { kind: "unix", path: join(home, "nobody.sock") } as const;
      expect(await engine.probe(endpoint, "x", 1000)).toEqual({ state: "silent" });
    });

    test("answers a chat and counts", async () => {
      const answer = await ask(running, "/v1/chat/completions", chat({ max_tokens: 8 }));
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.text)).toMatchObject({
        choices: [{ message: { role: "assistant", content: expect.stringMatching(/\w/) } }],
        usage: { prompt_tokens: expect.any(Number), completion_tokens: expect.any(Number) },
      });
    });

    test("streams a chat, with usage at its end", async () => {
      const body = chat({ max_tokens: 8, stream: true, stream_options: { include_usage: true } });
      const events = readEvents((await ask(running, "/v1/chat/completions", body)).text);
      expect(events.at(-1)).toBe("[DONE]");
      const chunks = events.slice(0, -1).map((text) => JSON.parse(text) as Chunk);
      expect(chunks.map(({ choices }) => choices[0]?.delta?.content ?? "").join("")).toMatch(/\w/);
      expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(0);
    });

    test("has what it declares", async () => {
      const { abilities } = engine;
      const body: Record<string, unknown> = { max_tokens: 40 };
      if (abilities.logprobs) Object.assign(body, { logprobs: true, top_logprobs: 2 });
      if (abilities.maxChoices > 1) Object.assign(body, { n: 2, temperature: 1 });
      const plain = await ask(running, "/v1/chat/completions", chat(body));
      expect(plain.status, plain.text).toBe(200);
      const { choices } = JSON.parse(plain.text) as Answer;
      expect(choices).toHaveLength(abilities.maxChoices > 1 ? 2 : 1);
      if (abilities.logprobs) expect(choices[0]?.logprobs?.content?.[0]?.top_logprobs).toHaveLength(2);
      if (abilities.jsonSchema) {
        const schema = {
          type: "object",
          properties: { a: { enum: ["x", "y"] } },
          required: ["a"],
          additionalProperties: false,
        };
        const json = { type: "json_schema", json_schema: { name: "s", strict: true, schema } };
        const answer = await ask(
          running,
          "/v1/chat/completions",
          chat({ max_tokens: 60, response_format: json }),
        );
        const content = (JSON.parse(answer.text) as Answer).choices[0]?.message?.content ?? "";
        expect(JSON.parse(content)).toMatchObject({ a: expect.stringMatching(/^[xy]$/) });
      }
      if (abilities.tokenize) {
        const answer = await ask(running, "/tokenize", { model: "starter", prompt: "Hello" });
        expect(JSON.parse(answer.text)).toMatchObject({ count: expect.any(Number) });
      }
    });

    test("uses a prompt's beginning again, of the same account alone where it says so", async () => {
      const prompt = Array.from({ length: 160 }, (_, index) => 300 + index);
      const body = { model: "starter", prompt, max_tokens: 1, temperature: 0 };
      const cachedTokens = async (account: string) => {
        const salt = engine.abilities.cacheScope === "salt" ? { cache_salt: account } : {};
        const answer = await ask(running, "/v1/completions", { ...body, ...salt }, account);
        expect(answer.status, answer.text).toBe(200);
        return (JSON.parse(answer.text) as Answer).usage?.prompt_tokens_details?.cached_tokens ?? 0;
      };
      expect(await cachedTokens("ann")).toBe(0);
      expect(await cachedTokens("ann")).toBeGreaterThan(100);
      if (engine.abilities.cacheScope !== "none") expect(await cachedTokens("ben")).toBe(0);
    });

    test("uses no prompt again where accounts share it and it cannot keep them apart", async () => {
      if (engine.abilities.cacheScope !== "none") return;
      const shared = specOf(engine, id("shared"), starterFolder, await choose(engine));
      await driver.start({ ...shared, launch: { ...shared.launch, isShared: true } });
      const seen = await until(driver, id("shared"), "running");
      const body = chat({
        messages: [{ role: "user", content: "1 2 3 4 5 6 7 8 ".repeat(8) }],
        max_tokens: 1,
      });
      for (const account of ["ann", "ben", "ann", "ann", "ben"]) {
        const answer = await ask(seen, "/v1/chat/completions", body, account);
        const { usage } = JSON.parse(answer.text) as Answer;
        expect(usage?.prompt_tokens_details?.cached_tokens ?? 0, account).toBe(0);
      }
      await driver.remove(id("shared"), 0);
    });

    test("counts its own work where it says that it does", async () => {
      const load = await engine.load?.(running.endpoint, running.secret, patienceMs);
      if (load !== undefined) expect(load).toMatchObject({ running: expect.any(Number), waiting: 0 });
    });

    test("is free again when a client leaves", async () => {
      const endless = { prompt: "1 2 3", max_tokens: 200, stream: true, ignore_eos: true };
      for (let turn = 0; turn < slots * 2; turn += 1) await leave(running, { model: "starter", ...endless });
      const answer = await ask(running, "/v1/chat/completions", chat({ max_tokens: 2 }));
      expect(answer.status).toBe(200);
    });

    test("a damaged model ends with a sentence and what to do", async () => {
      const folder = join(home, "damaged");
      await mkdir(folder);
      for (const { path } of await listFiles(starterFolder)) {
        await copyFile(join(starterFolder, path), join(folder, path));
      }
      await truncate(join(folder, weightFile), 4000);
      await driver.start(specOf(engine, id("two"), folder, await choose(engine)));
      const ended = await until(driver, id("two"), "exited");
      expect(ended.failure).toMatchObject({ code: "engine_refused_model" });
      expect(ended.failure?.message).toMatch(/^\S.*[.]$/);
      expect(ended.failure?.message).not.toContain(home);
      expect(ended.failure?.next).toMatch(/[.]$/);
      await driver.remove(id("two"), 0);
    });

    // The last of them: it ends the instance that the others asked.
    test("nothing of it goes on when its own process is killed", async () => {
      const recordPath = join(home, "instances", id("one"), "record.json");
      const record = JSON.parse(await readFile(recordPath, "utf8")) as { process: { pid: number } };
      const seen = (await driver.observe()).find((instance) => instance.id === id("one"));
      expect(seen, "still runs").toMatchObject({ state: "running", failure: null });
      expect(findHolders(home).map(({ pid }) => pid)).toContain(record.process.pid);
      process.kill(record.process.pid, "SIGKILL");
      const ended = await until(driver, id("one"), "exited");
      expect(ended.failure?.message).toMatch(/^\S.*[.]$/);
      expect(findHolders(home)).toEqual([]);
    });
  });
}

type Chunk = {
  choices: { delta?: { content?: string | null } }[];
  usage?: { completion_tokens: number } | null;
};
type Answer = {
  choices: {
    message?: { content?: string };
    logprobs?: { content?: { top_logprobs: unknown[] }[] };
  }[];
  usage?: { prompt_tokens_details?: { cached_tokens?: number } | null };
};

function chat(more: Record<string, unknown>): Record<string, unknown> {
  return { model: "starter", messages: [{ role: "user", content: "Hello" }], temperature: 0, ...more };
}

async function choose(engine: Engine): Promise<string> {
  const listing = { repo: "ann/starter", commit: "c", files: await listFiles(starterFolder) };
  const choice = engine.chooseFiles(listing, null);
  if (!choice.ok) throw new Error(choice.failure.message);
  return choice.value.entryFile;
}

async function listFiles(folder: string): Promise<RepoFile[]> {
  const names = (await readdir(folder)).sort();
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return names.map(
    (path, index) => ({ path, bytes: sizes[index] ?? 0, blob: path, lfs: null }) as unknown as RepoFile,
  );
}

function specOf(engine: Engine, instanceId: string, snapshotPath: string, entryFile: string): InstanceSpec {
  const engineArgs = { standardArgs: { maxContextSize: contextTokens }, extraArgs: [] };
  return {
    ...{ id: instanceId, deploymentId: "dep", engine: engine.name, placement: { node: "here", gpus: [] } },
    launch: {
      snapshotPath,
      entryFile,
      servedNames,
      maxBatchSize: slots,
      engineArgs,
      modelContextTokens: 1024,
    },
  };
}

/** Waits for the state; fails at once when the instance ends instead. */
async function until(
  driver: LocalDriver,
  id: string,
  state: ObservedInstance["state"],
): Promise<ObservedInstance> {
  // Listens before it looks, so that no change falls between the two.
  let changed = Promise.withResolvers<void>();
  const stop = driver.watch(() => changed.resolve());
  try {
    for (;;) {
      changed = Promise.withResolvers<void>();
      const seen = (await driver.observe()).find((instance) => instance.id === id);
      if (seen?.state === state) return seen;
      if (seen?.state === "exited") throw new Error(`It ended: ${seen.failure?.message}`);
      await changed.promise;
    }
  } finally {
    stop();
  }
}

type Target = Pick<ObservedInstance, "endpoint" | "secret">;

function begin({ endpoint, secret }: Target, path: string, account = "") {
  if (endpoint.kind !== "unix") throw new Error("instances of this machine listen at sockets");
  const headers = {
    authorization: `Bearer ${secret}`,
    "content-type": "application/json",
    "x-berth-scope": account,
  };
  return request({ socketPath: endpoint.path, path, method: "POST", headers, agent: false });
}

async function ask(
  target: Target,
  path: string,
  body: unknown,
  account?: string,
): Promise<{ status: number; text: string }> {
  return await new Promise((resolve, reject) => {
    const outgoing = begin(target, path, account);
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    outgoing.end(JSON.stringify(body));
  });
}

/** Goes away after the first piece of an answer. */
async function leave(target: Target, body: unknown): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const outgoing = begin(target, "/v1/completions");
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      response.on("error", () => resolve());
      response.once("data", () => {
        response.destroy();
        resolve();
      });
    });
    outgoing.end(JSON.stringify(body));
  });
}

function readEvents(text: string): string[] {
  return [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => data);
}
