import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Files, randomContent, startFixture } from "../../../tools/fake-hub/fixture.ts";
import { weightFilesChooser } from "../../engines/weight-files.ts";
import { openTestHub } from "../testing.ts";

const none = new AbortController().signal;
const starter = join(import.meta.dirname, "../../../starter/model");
const chooseFiles = weightFilesChooser({ allowPickle: true });

function safetensors(tensors: Readonly<Record<string, readonly number[]>>): Buffer {
  let at = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of Object.entries(tensors)) {
    const bytes = 2 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "BF16", shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(at)]);
}

async function inspect(files: Files, repo = "acme/tiny", more: { slowFirst?: boolean } = {}) {
  await using fixture = await startFixture(
    { "acme/tiny": files },
    { separateStorage: more.slowFirst === true },
  );
  const hub = openTestHub(fixture.home, fixture.hub.url, { chooseFiles });
  const outcome = await hub.inspect({ repo, revision: null }, null, none);
  return { outcome, requests: fixture.hub.requests };
}

describe("looking at a repository", () => {
  test("takes numbers that Python writes and JSON has not", async () => {
    const config =
      '{"num_hidden_layers": 2, "time_step_limit": [0.0, Infinity], "a": "NaN, -Infinity", "b": NaN}';
    const { outcome } = await inspect({
      "config.json": config,
      "model.safetensors": safetensors({ a: [2] }),
    });
    expect(outcome).toMatchObject({ ok: true, value: { layers: 2 } });
  });

  test("reads the headers of all shards and leaves the weights where they are", async () => {
    const shard = (index: number) =>
      safetensors({
        [`model.layers.${index}.mlp.up_proj.weight`]: [1000, 500],
        [`model.layers.${index}.self_attn.q_proj.weight`]: [100, 100],
      });
    const { outcome, requests } = await inspect({
      "config.json": JSON.stringify({
        architectures: ["LlamaForCausalLM"],
        num_hidden_layers: 3,
        num_attention_heads: 4,
        hidden_size: 100,
      }),
      "tokenizer_config.json": JSON.stringify({ chat_template: "{{ messages }}" }),
      ...Object.fromEntries([0, 1, 2].map((at) => [`model-0000${at + 1}-of-00003.safetensors`, shard(at)])),
      "model.safetensors.index.json": "{}",
      "pytorch_model.bin": randomContent(1000),
    });
    expect(outcome).toMatchObject({
      ok: true,
      value: {
        format: "safetensors",
        parameters: 3 * 510_000,
        bytesByDtype: { BF16: 3 * 1_020_000 },
        bytesByPart: { feedForward: 3_000_000, attention: 60_000 },
        isCounted: true,
        layers: 3,
        headSize: 25,
        hasChatTemplate: true,
        adapter: null,
      },
    });
    const ranges = requests.flatMap(({ range }) => (range === null ? [] : [range]));
    expect(ranges.length).toBeGreaterThan(0);
    const bytes = ranges
      .map((range) => /bytes=(\d+)-(\d+)/.exec(range))
      .map((found) => Number(found?.[2]) - Number(found?.[1]));
    expect(Math.max(...bytes)).toBeLessThan(70_000);
  });

  test("of the starter gives the same sizes from safetensors and from GGUF", async () => {
    const names = [
      "config.json",
      "tokenizer_config.json",
      "chat_template.jinja",
      "model.safetensors",
      "berth-starter-F16.gguf",
    ];
    const files = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(join(starter, name))] as const)),
    );
    const [safe, gguf] = [await inspect(files), await inspect(files, "acme/tiny:F16")];
    if (!safe.outcome.ok || !gguf.outcome.ok) throw new Error("it cannot be read");
    expect([safe.outcome.value.format, gguf.outcome.value.format]).toEqual(["safetensors", "gguf"]);
    const sizesOf = ({
      layers,
      heads,
      kvHeads,
      headSize,
      hiddenSize,
      vocabularySize,
      contextTokens,
      hasChatTemplate,
    }: typeof safe.outcome.value) => ({
      ...{ layers, heads, kvHeads, headSize, hiddenSize, vocabularySize, contextTokens, hasChatTemplate },
    });
    expect(sizesOf(gguf.outcome.value)).toEqual(sizesOf(safe.outcome.value));
    expect(safe.outcome.value.parameters).toBeGreaterThan(1_000_000);
    expect(gguf.outcome.value.parameters).toBe(safe.outcome.value.parameters);
  });

  test("that holds an adapter names its base", async () => {
    const { outcome } = await inspect({
      "adapter_config.json": JSON.stringify({ base_model_name_or_path: "acme/base", r: 16 }),
      "adapter_model.safetensors": safetensors({ "base_model.model.q_proj.lora_A.weight": [16, 100] }),
    });
    expect(outcome).toMatchObject({
      ok: true,
      value: { adapter: { base: "acme/base", rank: 16 }, parameters: 1600 },
    });
  });

  test("with pickles alone takes the sizes as declared", async () => {
    const { outcome } = await inspect({
      "config.json": JSON.stringify({ torch_dtype: "float16", num_hidden_layers: 2 }),
      "pytorch_model.bin": Buffer.alloc(2000),
    });
    expect(outcome).toMatchObject({
      ok: true,
      value: { format: "pickle", parameters: 1000, isCounted: false, bytesByDtype: { F16: 2000 } },
    });
  });

  test("with too many headers to read them all infers the rest", async () => {
    const tensors = (shard: number) =>
      Object.fromEntries(
        Array.from({ length: 12_000 }, (_, at) => [
          `model.layers.${shard}.mlp.experts.${at}.gate_proj.weight`,
          [8, 8],
        ]),
      );
    const shards = Array.from(
      { length: 6 },
      (_, at) => [`model-0000${at + 1}-of-00006.safetensors`, safetensors(tensors(at))] as const,
    );
    const { outcome, requests } = await inspect({ "config.json": "{}", ...Object.fromEntries(shards) });
    if (!outcome.ok) throw new Error(outcome.failure.message);
    const expected = 6 * 12_000 * 64;
    expect(outcome.value.isCounted).toBe(false);
    expect(Math.abs((outcome.value.parameters ?? 0) - expected)).toBeLessThan(expected * 0.01);
    const bytes = requests
      .map(({ range }) => /bytes=(\d+)-(\d+)/.exec(range ?? ""))
      .reduce((sum, found) => sum + (found === null ? 0 : Number(found[2]) - Number(found[1]) + 1), 0);
    // Each range is asked for at the hub and again where it redirects to.
    expect(bytes / 2).toBeLessThan(5_000_000);
  });

  test("asks nothing but the listing for what is in the cache", async () => {
    await using fixture = await startFixture({
      "acme/tiny": { "config.json": "{}", "model.safetensors": safetensors({ a: [10] }) },
    });
    const hub = openTestHub(fixture.home, fixture.hub.url, { chooseFiles });
    const weights = { repo: "acme/tiny", revision: null };
    const listed = await hub.list(weights, null, none);
    if (!listed.ok) throw new Error(listed.failure.message);
    await hub.fetch("acme/tiny", listed.value.commit, listed.value.files, null, () => undefined, none);
    const before = fixture.hub.requests.length;
    expect(await hub.inspect(weights, null, none)).toMatchObject({ ok: true, value: { parameters: 10 } });
    expect(fixture.hub.requests.slice(before).every(({ url }) => url.startsWith("/api/models/"))).toBe(true);
  });
});

describe("a repository that lies", () => {
  const lengthThatLies = Buffer.alloc(64, 0xff);
  test.each<[string, Files]>([
    ["a header longer than its file", { "model.safetensors": lengthThatLies }],
    [
      "a header that is not JSON",
      { "model.safetensors": Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(60, 65)]) },
    ],
    ["a GGUF file that is none", { "model.gguf": Buffer.alloc(1000) }],
    ["an empty weight file", { "model.safetensors": Buffer.alloc(0) }],
  ])("with %s is refused by the name of the file", async (_name, files) => {
    const { outcome } = await inspect({ "config.json": "{}", ...files });
    const name = Object.keys(files)[0] ?? "";
    expect(outcome).toMatchObject({ ok: false, failure: { code: "no_loadable_weights" } });
    if (!outcome.ok) expect(outcome.failure.message).toContain(name);
  });

  test("with a configuration of two megabytes and more is looked at without it", async () => {
    const { outcome } = await inspect({
      "config.json": Buffer.alloc(3_000_000, 32),
      "model.safetensors": safetensors({ a: [10] }),
    });
    expect(outcome).toMatchObject({ ok: true, value: { layers: null, parameters: 10 } });
  });

  test("that may not be read is refused as when it is listed", async () => {
    await using fixture = await startFixture({ "acme/licensed": { "config.json": "{}" } });
    await fixture.setAccess({ gated: { "acme/licensed": "auto" }, tokens: {} });
    const hub = openTestHub(fixture.home, fixture.hub.url, { chooseFiles });
    expect(await hub.inspect({ repo: "acme/licensed", revision: null }, null, none)).toMatchObject({
      ok: false,
      failure: { code: "repo_gated" },
    });
  });
});
