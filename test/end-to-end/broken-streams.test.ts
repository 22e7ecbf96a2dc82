/**
 * Streams whose engine is killed, in every face, with the real engine: what may be continued is one whole answer, the
 * undisturbed one; what may not ends in a typed error, in its face's own words.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Berth, startBerth, until, untilStatus } from "../harness/berth.ts";
import { type Streamed, type StreamFace, startStream } from "../harness/streams.ts";

type Ask = readonly [face: StreamFace, fields: Readonly<Record<string, unknown>>];

const model = "m";
const question = "Tell me a story about a fox.";
const messages = [{ role: "user", content: question }];
/** Where a face has ignore_eos, the answer is long enough to be still under way when its engine dies. */
const long = { temperature: 0, max_tokens: 800, ignore_eos: true };
const adding = {
  name: "add",
  description: "Adds two numbers.",
  parameters: { type: "object", properties: { a: { type: "integer" } } },
};
const numbers = { type: "array", items: { type: "integer" }, minItems: 300 };

const continued: Readonly<Record<string, Ask>> = {
  "a chat": ["chat", { ...long, messages }],
  "a completion": ["completions", { ...long, prompt: "Once upon a ti" }],
  "a chat with stop texts and limits of sampling": [
    "chat",
    { ...long, messages, top_p: 0.9, top_k: 5, min_p: 0.1, stop: ["zzzz"], user: "someone" },
  ],
  "Anthropic's message": ["messages", { messages, temperature: 0, max_tokens: 800 }],
  "a response": ["responses", { input: question, temperature: 0, max_output_tokens: 800 }],
};

const refused: Readonly<Record<string, Ask>> = {
  "several choices": ["chat", { ...long, messages, n: 2 }],
  "log probabilities": ["chat", { ...long, messages, logprobs: true }],
  tools: [
    "chat",
    { messages, temperature: 0, max_tokens: 800, tools: [{ type: "function", function: adding }] },
  ],
  "a format": [
    "chat",
    {
      messages,
      temperature: 0,
      max_tokens: 800,
      response_format: { type: "json_schema", json_schema: { name: "numbers", schema: numbers } },
    },
  ],
  "a seed": ["chat", { ...long, messages, seed: 7 }],
  "a penalty": ["chat", { ...long, messages, presence_penalty: 0.5 }],
  "the native form, which has log probabilities": [
    "native",
    { input: "Once there was", temperature: 0, max_new_tokens: 800, ignore_eos: true },
  ],
};

/** Enough for what is asked at the same time below. */
const slots = Object.keys({ ...continued, ...refused }).length;

async function start(env: Record<string, string>): Promise<Berth> {
  const berth = await startBerth({ env: { BERTH_STARTER: "off", ...env } });
  const { body } = await berth.call("POST", "/deploy/llm", {
    ...{ model_name: model, gpu: "other", max_batch_size: slots },
    hf: { repo: "berth/starter" },
  });
  await untilStatus(berth, body.deploy_id, "running");
  return berth;
}

const ask = ({ url }: Berth, [face, fields]: Ask) => startStream(url, face, { model, ...fields });

/** Asks for all of these at once and kills the engine when each has begun. */
async function breakAll<Name extends string>(
  berth: Berth,
  asks: Readonly<Record<Name, Ask>>,
): Promise<ReadonlyMap<string, Streamed>> {
  const names = Object.keys(asks) as Name[];
  const running = names.map((name) => ask(berth, asks[name]));
  await Promise.all(running.map(({ begun }) => begun));
  const [engine, ...others] = berth.pids("engine");
  expect(others).toEqual([]);
  if (engine === undefined) throw new Error("no engine runs");
  process.kill(engine, "SIGKILL");
  const answers = await Promise.all(running.map(({ ended }) => ended));
  return new Map(answers.map((answer, at) => [names[at] ?? "", answer]));
}

/**
 * An answer that was broken off. A short one may have been complete before its engine died: then it is asked for again,
 * for a bounded number of times.
 */
async function breakOne(
  berth: Berth,
  asked: Ask | undefined,
  first: Streamed | undefined,
  isBroken: (answer: Streamed) => boolean | Promise<boolean>,
): Promise<Streamed> {
  if (asked === undefined) throw new Error("there is no such case");
  let answer = first;
  for (let tries = 0; tries < 6; tries += 1) {
    if (answer !== undefined && (await isBroken(answer))) return answer;
    await until("an engine", () => berth.pids("engine").length === 1);
    answer = (await breakAll(berth, { it: asked })).get("it");
  }
  throw new Error(`its answer is always complete already: ${JSON.stringify(answer)}`);
}

/** How often the gateway says that it continued the stream. */
async function continuationsOf(berth: Berth, { requestId }: Streamed): Promise<number> {
  return await until(`${requestId} in the access log`, () => {
    const line =
      berth
        .output()
        .split("\n")
        .find((each) => each.includes(requestId)) ?? null;
    const count = /"continuations":(\d+)/.exec(line ?? "")?.[1];
    return count === undefined ? null : { count: Number(count) };
  }).then(({ count }) => count);
}

describe("an engine is killed under its streams", () => {
  let berth: Berth;
  let answers: ReadonlyMap<string, Streamed>;
  const undisturbed = new Map<string, Streamed>();

  beforeAll(async () => {
    berth = await start({});
    for (const [name, each] of Object.entries(continued)) undisturbed.set(name, await ask(berth, each).ended);
    answers = await breakAll(berth, { ...refused, ...continued });
  });
  afterAll(() => berth?.end());

  it.each(Object.entries(continued))("%s goes on to its end, as if nothing had been", async (name, asked) => {
    const whole = undisturbed.get(name);
    expect(whole).toMatchObject({ status: 200, error: null, ends: 1 });
    const isBroken = async (answer: Streamed) => (await continuationsOf(berth, answer)) === 1;
    const answer = await breakOne(berth, asked, answers.get(name), isBroken);
    expect({ ...answer, requestId: "" }).toEqual({ ...whole, requestId: "" });
  });

  it.each(Object.entries(refused))("with %s it ends in a typed error", async (name, asked) => {
    const answer = await breakOne(berth, asked, answers.get(name), ({ error }) => error !== null);
    expect(answer).toMatchObject({ status: 200, error: "engine_failed", usage: null, ends: 0 });
    expect(answer.text).not.toBe("");
    expect(await continuationsOf(berth, answer)).toBe(0);
  });

  it("every slot is free again", async () => {
    const asks = Object.fromEntries(
      Array.from({ length: slots }, (_, at) => [
        `${at}`,
        ["chat", { ...long, max_tokens: 300, messages }] as const,
      ]),
    );
    const running = Object.values(asks).map((each) => ask(berth, each));
    let ended = 0;
    const all = running.map(({ ended: end }) => end.finally(() => (ended += 1)));
    await Promise.all(running.map(({ begun }) => begun));
    expect(ended).toBe(0);
    expect((await Promise.all(all)).map(({ error }) => error)).toEqual(all.map(() => null));
  });
});

describe("with continuing turned off", () => {
  let berth: Berth;
  beforeAll(async () => {
    berth = await start({ BERTH_CONTINUE: "off" });
  });
  afterAll(() => berth?.end());

  it.each<[name: string, error: string]>([
    ["a chat", "engine_failed"],
    ["a completion", "engine_failed"],
    ["Anthropic's message", "api_error"],
    ["a response", "engine_failed"],
  ])("%s ends in a typed error", async (name, error) => {
    const answer = await breakOne(berth, continued[name], undefined, (each) => each.error !== null);
    expect(answer).toMatchObject({ status: 200, error, usage: null, ends: 0 });
  });
});
