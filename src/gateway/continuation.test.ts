import { expect, test } from "vitest";
import { eventually } from "../../test/harness/until.ts";
import type { FakeEngine, Fault } from "../../tools/fake-engine/engine.ts";
import { unknownAbilities } from "../core/abilities.ts";
import type { RouteInstance } from "../core/routing.ts";
import { modelOf, type Rig, startRig } from "./test-rig.ts";

const abilities = { ...unknownAbilities, engine: "fake", exactContinuation: true, usageByDefault: true };
const prices = { inputUsd: 1, outputUsd: 1, cachedUsd: 1 };

type Engines = { rig: Rig; engines: FakeEngine[]; instances: RouteInstance[] };

/** Two engines with one slot each and the same answer of six words; the first has the fault. */
async function twoEngines(fault: Fault | null, given: Parameters<typeof startRig>[0] = {}): Promise<Engines> {
  const rig = await startRig(given);
  const both = [];
  for (let i = 0; i < 2; i += 1) both.push(await rig.engine({ tokens: 6, tokenText: "wörd# ", slots: 1 }));
  const [first] = both;
  if (first !== undefined) first.engine.fault = fault;
  const instances = both.map(({ instance }) => instance);
  await rig.publish(modelOf(instances, { abilities, prices }));
  return { rig, engines: both.map(({ engine }) => engine), instances };
}

type Chunk = {
  id?: string;
  created?: number;
  error?: { code: string };
  choices: { delta?: { role?: string; content?: string }; text?: string; finish_reason: string | null }[];
  usage?: Record<string, unknown>;
};

async function chunksOf(response: Response): Promise<{ chunks: Chunk[]; raw: string }> {
  const raw = await response.text();
  const data = raw.split("\n\n").filter((event) => event !== "" && event !== "data: [DONE]");
  return { raw, chunks: data.map((event) => JSON.parse(event.slice("data: ".length)) as Chunk) };
}

const whole = "wörd0 wörd1 wörd2 wörd3 wörd4 wörd5 ";
const textOf = (chunks: readonly Chunk[]) =>
  chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? choices?.[0]?.text ?? "").join("");

test.each<[string, Fault]>([
  ["dies", { kind: "die-after", tokens: 3 }],
  ["dies after its first token", { kind: "die-after", tokens: 1 }],
  ["falls silent", { kind: "hang-after", tokens: 2 }],
  ["breaks its own framing", { kind: "bad-chunk" }],
  ["ends in order, but too early", { kind: "end-after", tokens: 4 }],
])(
  "an engine that %s within a stream: another goes on, and the client sees one answer",
  async (_name, fault) => {
    const { rig, engines } = await twoEngines(fault, { limits: { silenceMs: 300 } });
    const undisturbed = await twoEngines(null);
    const expected = await (await undisturbed.rig.chat({ stream: true })).text();
    const { chunks, raw } = await chunksOf(await rig.chat({ stream: true }));
    expect(raw).toBe(expected);
    expect(textOf(chunks)).toBe(whole);
    expect(chunks.filter(({ choices }) => choices[0]?.delta?.role !== undefined)).toHaveLength(1);
    expect(new Set(chunks.map(({ id }) => id))).toEqual(new Set(["fake-1"]));
    expect(chunks.at(-1)?.usage).toMatchObject({
      prompt_tokens: 7,
      completion_tokens: 6,
      estimated_cost: 0.000013,
    });
    const [, second] = engines;
    const { continuation } = JSON.parse(second?.seen[0]?.body ?? "") as { continuation: string };
    expect(whole.startsWith(continuation) && continuation !== "").toBe(true);
    await rig.idle();
    await eventually(() =>
      expect(rig.records.at(-1)).toMatchObject({
        ...{ status: 200, error: null, continuations: 1 },
        ...{ inputTokens: 7, outputTokens: 6 },
      }),
    );
  },
);

test("completions too; all else is asked again as it was", async () => {
  const { rig, engines } = await twoEngines({ kind: "die-after", tokens: 2 });
  const body = JSON.stringify({
    model: "ann/chat",
    prompt: "Say: ",
    stream: true,
    max_tokens: 5,
    seed: null,
  });
  const { chunks } = await chunksOf(await rig.ask("/v1/completions", { method: "POST", body }));
  expect(textOf(chunks)).toBe("wörd0 wörd1 wörd2 wörd3 wörd4 ");
  expect(engines[1]?.seen[0]?.body).toBe(`${body.slice(0, -1)},"continuation":"wörd0 wörd1 "}`);
  expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 5 });
});

test("only Berth tells an engine what an answer begins with", async () => {
  const { rig, engines } = await twoEngines(null);
  await (await rig.chat({ continuation: "wörd0 wörd1 " })).text();
  expect(engines[0]?.seen[0]?.body).not.toContain("continuation");
});

test("a stream that lost only its last line is ended, not continued", async () => {
  const { rig, engines } = await twoEngines({ kind: "die-after", tokens: 6 });
  const { chunks, raw } = await chunksOf(await rig.chat({ stream: true }));
  expect(textOf(chunks)).toBe(whole);
  expect(raw.endsWith("data: [DONE]\n\n")).toBe(true);
  expect(engines[1]?.seen).toEqual([]);
});

test.each<[string, Record<string, unknown>]>([
  ["several choices", { n: 2 }],
  ["log probabilities", { logprobs: true }],
  ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
  ["a constraint", { response_format: { type: "json_object" } }],
  ["an engine's own constraint", { guided_regex: "a+" }],
  ["a penalty", { presence_penalty: 0.5 }],
  ["a repetition penalty", { repetition_penalty: 1.1 }],
  ["a seed", { seed: 7 }],
  ["a least length", { min_tokens: 3 }],
])("with %s a stream that breaks off ends in a typed error", async (_name, fields) => {
  const { rig, engines } = await twoEngines({ kind: "die-after", tokens: 2 });
  const { chunks, raw } = await chunksOf(await rig.chat({ stream: true, ...fields }));
  expect(chunks.at(-1)?.error?.code).toBe("engine_failed");
  expect(raw).not.toContain("[DONE]");
  expect(engines[1]?.seen).toEqual([]);
  await rig.idle();
});

test("a seed does not stand in the way where the engine is deterministic", async () => {
  const { rig, instances } = await twoEngines({ kind: "die-after", tokens: 2 });
  await rig.publish(modelOf(instances, { abilities: { ...abilities, deterministic: true } }));
  expect(textOf((await chunksOf(await rig.chat({ stream: true, seed: 7 }))).chunks)).toBe(whole);
});

test("an engine that cannot continue, and the setting that is off", async () => {
  const { rig, instances } = await twoEngines({ kind: "die-after", tokens: 2 });
  await rig.publish(modelOf(instances, { abilities: { ...abilities, exactContinuation: false } }));
  expect((await chunksOf(await rig.chat({ stream: true }))).chunks.at(-1)?.error?.code).toBe("engine_failed");
  const off = await twoEngines({ kind: "die-after", tokens: 2 }, { continuesStreams: false });
  expect((await chunksOf(await off.rig.chat({ stream: true }))).chunks.at(-1)?.error?.code).toBe(
    "engine_failed",
  );
});

test("a request that was in flight at two crashes is not tried again", async () => {
  const { rig, engines } = await twoEngines({ kind: "die-after", tokens: 2 });
  const third = await rig.engine({ tokens: 6, tokenText: "wörd# ", slots: 1 });
  if (engines[1] !== undefined) engines[1].fault = { kind: "die-after", tokens: 4 };
  const { chunks } = await chunksOf(await rig.chat({ stream: true }));
  expect(textOf(chunks.slice(0, -1))).toBe("wörd0 wörd1 wörd2 wörd3 ");
  expect(chunks.at(-1)?.error?.code).toBe("engine_failed");
  expect(third.engine.seen).toEqual([]);
  await rig.idle();
});

test("before the first byte another instance answers, also a whole answer that broke off", async () => {
  const { rig } = await twoEngines({ kind: "die-after", tokens: 0 });
  expect(textOf((await chunksOf(await rig.chat({ stream: true }))).chunks)).toBe(whole);
  const other = await twoEngines({ kind: "die-after", tokens: 3 });
  const response = await other.rig.chat();
  expect([response.status, await response.json()]).toMatchObject([
    200,
    { choices: [{ message: { content: whole } }] },
  ]);
});
