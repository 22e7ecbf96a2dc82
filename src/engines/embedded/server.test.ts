/** The server program's life: start, refusal to start, secret, signals. */
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../../../test/harness/until.ts";
import { type RunningEngine, startEngine, startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";
import { buildTinyModel } from "../../../tools/tiny-gguf/tiny-gguf.ts";
import { createEmbeddedEngine } from "../embedded.ts";

const started: RunningEngine[] = [];
const keep = (engine: RunningEngine) => {
  started.push(engine);
  return engine;
};

afterEach(async () => {
  for (const engine of started.splice(0)) await engine.stop();
});

const adapter = createEmbeddedEngine({
  nodePath: process.execPath,
  serverPath: "server.ts",
  contextMemoryBytes: 1,
  threads: 1,
});

describe("a start that fails", () => {
  it.each([
    ["a file that is no GGUF", { model: Buffer.from("not a model") }, "engine_refused_model"],
    ["a file that is cut off", { model: buildTinyModel().subarray(0, 60_000) }, "engine_refused_model"],
    ["a file that is not there", { model: "/nowhere/model.gguf" }, "engine_refused_model"],
    ["a launch file without a secret", { model: "", launch: { secret: "" } }, "engine_crashed"],
    ["an argument that is not known", { model: "", launch: { extraArgs: ["--x"] } }, "bad_engine_args"],
    [
      "more context than the model has",
      { model: buildTinyModel(), launch: { extraArgs: ["--ctx-size", "1000000"] } },
      "bad_engine_args",
    ],
    [
      "too little context memory",
      { model: buildTinyModel(), launch: { contextMemoryBytes: 1000 } },
      "out_of_memory",
    ],
  ])("ends with code 1 and one clear line: %s", async (_, start, code) => {
    const engine = keep(await startEngine(start.model === "" ? { ...start, model: Buffer.alloc(0) } : start));
    const exit = await engine.exited;
    expect(exit).toEqual({ code: 1, signal: null });
    expect(engine.lines.filter((line) => line.startsWith("berth-engine: error: "))).toHaveLength(1);
    const failure = adapter.explainExit(exit, engine.lines);
    expect(failure.code, failure.message).toBe(code);
    expect(failure.message).not.toContain("/tmp/");
  });
});

describe("a model that llama.cpp refuses", () => {
  it.each([
    ["unknown architecture", (bytes: string) => bytes.replaceAll("llama", "zzama"), /unknown.*'zzama'/],
    ["cut off", (bytes: string) => bytes.slice(0, -1000), /corrupted or incomplete/],
  ])("is refused with llama.cpp's own reason: %s", async (_, spoil, reason) => {
    const model = Buffer.from(spoil(buildTinyModel().toString("latin1")), "latin1");
    const engine = keep(await startEngine({ model }));
    const failure = adapter.explainExit(await engine.exited, engine.lines);
    expect(failure).toMatchObject({ code: "engine_refused_model", message: expect.stringMatching(reason) });
  });
});

describe("a running server", () => {
  it("answers only with the secret, and says what it is", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    const endpoint = { kind: "unix", path: engine.socketPath } as const;
    expect(await adapter.probe(endpoint, engine.secret, 5000)).toEqual({
      state: "ready",
      slots: 4,
      contextTokens: 512,
      note: null,
    });
    expect(await adapter.probe(endpoint, "wrong", 5000)).toEqual({ state: "silent" });
    const wrong = await engine.open("/v1/chat/completions", "{}", { authorization: "Bearer wrong" });
    wrong.resume();
    expect(wrong.statusCode).toBe(401);
    expect((await engine.get("/v1/models")).body).toMatchObject({
      data: [{ id: "ann/tiny" }, { id: "tiny" }],
    });
    expect((await engine.get("/v1/nothing")).status).toBe(404);
    expect((await engine.get("/v1/completions")).status).toBe(405);
    const bad = await engine.open("/v1/completions", "{");
    bad.resume();
    expect(bad.statusCode).toBe(400);
  });

  it("prints what it took of memory, and nothing more while it serves", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    await eventually(() =>
      expect(adapter.loadReport?.(engine.lines)).toMatchObject({
        weightBytes: expect.any(Number),
        workBytes: expect.any(Number),
        cacheBytes: expect.any(Number),
      }),
    );
    const before = engine.lines.length;
    const body = { model: "tiny", prompt: "CANARY", max_tokens: 20 };
    expect((await engine.post("/v1/completions", body)).status).toBe(200);
    expect(engine.lines).toHaveLength(before);
  });

  it("refuses a body that is too large", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    const headers = { "content-length": String(33 * 1024 * 1024) };
    const large = await engine.open("/v1/completions", " ".repeat(33 * 1024 * 1024), headers);
    large.resume();
    expect(large.statusCode).toBe(413);
  });

  it("says when memory holds fewer slots than asked for", async () => {
    // 2 layers x 2 heads x (32 + 32) x 2 bytes = 512 bytes a token.
    const launch = { slots: 8, contextMemoryBytes: 512 * 512 * 3 };
    const engine = keep(await startReadyEngine({ model: buildTinyModel(), launch }));
    expect((await engine.get("/health")).body).toMatchObject({
      slots: 3,
      contextTokens: 512,
      note: "1 MB of context memory hold 3 of the 8 slots asked for at 512 tokens of context each.",
    });
  });

  it("lets a stream finish after SIGTERM, then ends with code 0", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    const body = { model: "tiny", prompt: "a", max_tokens: 200, ignore_eos: true };
    const stream = engine.stream("/v1/completions", body);
    await stream.next();
    engine.child.kill("SIGTERM");
    let last: unknown;
    for await (const event of stream) last = event;
    expect(last).toMatchObject({ choices: [{ finish_reason: "length" }] });
    expect(await engine.exited).toEqual({ code: 0, signal: null });
  });

  it("takes little time to end when idle, and is silent then", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    engine.child.kill("SIGTERM");
    expect(await engine.exited).toEqual({ code: 0, signal: null });
    const endpoint = { kind: "unix", path: engine.socketPath } as const;
    expect(await adapter.probe(endpoint, engine.secret, 500)).toEqual({ state: "silent" });
  });
});

describe("standard arguments", () => {
  it("compute each prompt from its first token where caching is off, in steps as small as asked", async () => {
    const extraArgs = ["--prefix-caching", "0", "--prefill-tokens", "8"];
    const engine = keep(await startReadyEngine({ model: buildTinyModel(), launch: { extraArgs } }));
    const prompt = `A long beginning ${"that is the same ".repeat(5)}`;
    const body = { model: "tiny", prompt, max_tokens: 1, temperature: 0 };
    const answers = [await engine.post("/v1/completions", body), await engine.post("/v1/completions", body)];
    const usages = answers.map(
      ({ body: answer }) => (answer as { usage: { prompt_tokens_details: unknown } }).usage,
    );
    expect(usages.map((usage) => usage.prompt_tokens_details)).toEqual([
      { cached_tokens: 0 },
      { cached_tokens: 0 },
    ]);
  });
});

describe("a warm-up", () => {
  it("is null once a token came, and says why not otherwise", async () => {
    const engine = keep(await startReadyEngine({ model: buildTinyModel() }));
    const endpoint = { kind: "unix", path: engine.socketPath } as const;
    const warm = (secret: string, servedName: string) =>
      adapter.warmUp({ endpoint, secret, servedName }, 20_000);
    expect(await warm(engine.secret, "tiny")).toBeNull();
    expect(await warm("wrong", "tiny")).toMatchObject({
      code: "warm_up_failed",
      message: expect.stringContaining("answered with status 401"),
    });
    engine.child.kill("SIGKILL");
    await engine.exited;
    expect(await warm(engine.secret, "tiny")).toMatchObject({
      code: "warm_up_failed",
      message: expect.stringContaining("broke off"),
    });
  });
});
