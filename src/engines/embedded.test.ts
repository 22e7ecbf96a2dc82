import { describe, expect, it } from "vitest";
import { parseEngineArguments } from "./embedded/arguments.ts";
import { parseLaunchFile } from "./embedded/launch.ts";
import { createEmbeddedEngine } from "./embedded.ts";

const engine = createEmbeddedEngine({
  nodePath: "/usr/bin/node",
  serverPath: "/opt/server.ts",
  contextMemoryBytes: 1024,
  threads: 2,
});

describe("launch", () => {
  const launch = engine.launch({
    instanceId: "i",
    snapshotPath: "/hub/snap",
    entryFile: "q/m.gguf",
    servedNames: ["ann/m"],
    maxBatchSize: 8,
    engineArgs: { standardArgs: {}, extraArgs: ["--ctx-size", "512"] },
    endpoint: { kind: "tcp", host: "127.0.0.1", port: 4000 },
    secret: "very-secret",
    placement: { node: "n", gpus: [] },
  });

  it("keeps the secret out of arguments and environment", () => {
    expect(JSON.stringify([launch.command, launch.args, launch.env])).not.toContain("very-secret");
    expect(launch.args.slice(-2)).toEqual(["/opt/server.ts", "{dir}/launch.json"]);
  });

  it("writes a launch file that the program reads", () => {
    expect(parseLaunchFile(launch.files[0]?.content ?? "")).toEqual({
      modelPath: "/hub/snap/q/m.gguf",
      servedNames: ["ann/m"],
      slots: 8,
      endpoint: { kind: "tcp", host: "127.0.0.1", port: 4000 },
      secret: "very-secret",
      contextMemoryBytes: 1024,
      threads: 2,
      extraArgs: ["--ctx-size", "512"],
    });
  });
});

describe("extra arguments", () => {
  it.each([
    [[]],
    [["--ctx-size", "4096"]],
    [["--ctx-size=4096", "--threads", "2"]],
    [["--ctx_size 4096", "-t", "2", "--prefill", "64"]],
  ])("accepts %j", (args) => {
    expect(engine.refuseArgs({ standardArgs: {}, extraArgs: args })).toBeNull();
  });

  it.each([
    [["--host", "0.0.0.0"], "--host"],
    [["--model", "/etc/passwd"], "--model"],
    [["--pref", "64"], "could be --prefill-tokens, --prefix-caching"],
    [["--ctx-size"], "--ctx-size"],
    [["--ctx-size", "many"], "--ctx-size"],
    [["--threads", "0"], "--threads"],
    [["--ctx-size", "4096", "file"], '"file"'],
    [["__proto__"], "__proto__"],
  ])("refuses %j by name", (args, name) => {
    expect(engine.refuseArgs({ standardArgs: {}, extraArgs: args })).toContain(name);
  });
});

describe("standard arguments", () => {
  it("become the program's own, before those that were given", () => {
    const { files } = engine.launch({
      ...{ instanceId: "i", snapshotPath: "/hub/snap", entryFile: "m.gguf", servedNames: ["m"] },
      ...{ maxBatchSize: 8, endpoint: { kind: "unix", path: "/s" }, secret: "s" },
      placement: { node: "n", gpus: [] },
      engineArgs: {
        standardArgs: {
          ...{ maxContextSize: 4096, maxConcurrentRequests: 3 },
          ...{ maxPrefillTokens: 512, enablePrefixCaching: false },
        },
        extraArgs: ["--ctx-size", "512"],
      },
    });
    const file = parseLaunchFile(files[0]?.content ?? "");
    expect(file.slots).toBe(3);
    expect(parseEngineArguments(file.extraArgs)).toEqual({
      ok: true,
      value: { contextTokens: 512, threads: null, prefillTokens: 512, prefixCaching: 0 },
    });
  });

  it.each([
    [{ gpuMemoryFraction: 0.9 }, "The embedded engine has no gpu_memory_fraction."],
    [{ quantization: "fp8" }, "The embedded engine has no quantization."],
    [{ kvCacheDtype: "fp8" }, "The embedded engine cannot do kv_cache_dtype fp8, only auto."],
    [{ maxConcurrentRequests: 257 }, "cannot do max_concurrent_requests 257, only up to 256."],
    [{ maxContextSize: 15 }, "cannot do max_context_size 15, only 16 and more."],
    [{ maxImagesPerPrompt: 1 }, "cannot do max_images_per_prompt 1, only 0."],
  ] as const)("%j is refused by knob and engine", (standardArgs, sentence) => {
    expect(engine.refuseArgs({ standardArgs, extraArgs: [] })).toContain(sentence);
  });

  it("accepts what it can do", () => {
    const standardArgs = { kvCacheDtype: "auto", maxImagesPerPrompt: 0, maxContextSize: 16 } as const;
    expect(engine.refuseArgs({ standardArgs, extraArgs: [] })).toBeNull();
  });
});

describe("exits", () => {
  const explain = (code: number | null, signal: string | null, ...lines: string[]) =>
    engine.explainExit({ code, signal }, lines);

  it("repeats the program's own last word", () => {
    const failure = explain(
      1,
      null,
      "noise",
      "berth-engine: error: engine_refused_model: unknown architecture 'x'",
      "",
    );
    expect(failure.code).toBe("engine_refused_model");
    expect(failure.message).toBe("The embedded engine cannot load this model: unknown architecture 'x'.");
  });

  it.each([
    ["SIGKILL", "out_of_memory"],
    ["SIGILL", "engine_refused_model"],
    ["SIGSEGV", "engine_crashed"],
  ])("explains %s", (signal, code) => {
    expect(explain(null, signal).code).toBe(code);
  });

  // The first from llama.cpp, the others from Node 24, each where no more could be mapped.
  it.each([
    [
      "llama.cpp: ggml_aligned_malloc: insufficient memory (attempted to allocate 7816.00 MB)\nllama.cpp: llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache\nberth-engine: error: engine_refused_model: Failed to create context",
      "The embedded engine ran out of memory: it asked for 7816 MB more.",
    ],
    [
      "FATAL ERROR: NewSpace::EnsureCurrentCapacity Allocation failed - JavaScript heap out of memory\n----- Native stack trace -----",
      "The embedded engine ran out of memory.",
    ],
    ["# Fatal process out of memory: Worklist::Segment::Create\n#", "The embedded engine ran out of memory."],
    ["RangeError: Failed to allocate memory", "The embedded engine ran out of memory."],
  ])("tells want of memory by %j", (output, message) => {
    expect(explain(1, null, ...output.split("\n"))).toMatchObject({ code: "out_of_memory", message });
  });

  it("bounds what it quotes", () => {
    expect(explain(134, null, "x".repeat(10_000)).message.length).toBeLessThan(400);
    expect(
      explain(1, null, `berth-engine: error: internal: ${"x".repeat(10_000)}`).message.length,
    ).toBeLessThan(400);
  });

  it("takes a defect of one request for no reason to end", () => {
    expect(explain(null, "SIGABRT", "berth-engine: error: defect: something").message).toContain("SIGABRT");
  });
});

describe("probe", () => {
  it("is silent when nothing listens", async () => {
    expect(await engine.probe({ kind: "unix", path: "/nowhere/s.sock" }, "s", 1000)).toEqual({
      state: "silent",
    });
  });
});
