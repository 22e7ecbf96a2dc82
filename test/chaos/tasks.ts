/**
 * What the clients of the chaos test ask, drawn from a seed. Pure. All at temperature 0, so that each task has one answer;
 * owns which of them may be continued by another engine.
 */
import type { StreamFace } from "../harness/streams.ts";

export type Task = {
  readonly name: string;
  readonly face: StreamFace;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly mayContinue: boolean;
};

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<Item>(random: () => number, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("there is nothing to pick from");
  return item;
}

const questions = [
  "Tell me a story about a fox.",
  "Tell me a story about an owl.",
  "Write the numbers from 1 to 9.",
  "Count from 3 to 12.",
  "Tell me about Tidewell.",
];
const asked = (content: string) => [{ role: "user", content }];
const numbers = { type: "array", items: { type: "integer" }, minItems: 200 };
const adding = { name: "add", parameters: { type: "object", properties: { a: { type: "integer" } } } };
const format = { type: "json_schema", json_schema: { name: "numbers", schema: numbers } };

function chats(question: string): Task[] {
  const base = { messages: asked(question), temperature: 0 };
  const long = { ...base, ignore_eos: true };
  const task = (name: string, mayContinue: boolean, fields: object): Task => ({
    ...{ name: `${name}: ${question}`, face: "chat", mayContinue },
    fields: { ...fields },
  });
  return [
    task("chat", true, { ...base, max_tokens: 300 }),
    task("long chat", true, { ...long, max_tokens: 400 }),
    task("very long chat", true, { ...long, max_tokens: 700 }),
    task("two answers", false, { ...long, max_tokens: 200, n: 2 }),
    task("log probabilities", false, { ...long, max_tokens: 300, logprobs: true }),
    task("a penalty", false, { ...base, max_tokens: 300, frequency_penalty: 0.3 }),
    task("a seed", false, { ...long, max_tokens: 300, seed: 11 }),
    task("tools", false, {
      ...base,
      max_tokens: 300,
      tools: [{ type: "function", function: adding }],
    }),
    task("a format", false, { ...base, max_tokens: 300, response_format: format }),
  ];
}

function otherFaces(question: string): Task[] {
  const task = (face: StreamFace, mayContinue: boolean, fields: object): Task => ({
    ...{ name: `${face}: ${question}`, face, mayContinue },
    fields: { temperature: 0, ...fields },
  });
  return [
    task("completions", true, { prompt: question, max_tokens: 500, ignore_eos: true }),
    task("messages", true, { messages: asked(question), max_tokens: 400 }),
    task("responses", true, { input: question, max_output_tokens: 400 }),
    task("native", false, { input: question, max_new_tokens: 300, ignore_eos: true }),
  ];
}

const lengths = ["max_tokens", "max_output_tokens", "max_new_tokens"];

/** @param share of the tokens that each answer has at most otherwise */
export function tasksOf(share: number): readonly Task[] {
  const tasks = questions.flatMap((question) => [...chats(question), ...otherFaces(question)]);
  return tasks.map((task) => ({
    ...task,
    fields: Object.fromEntries(
      Object.entries(task.fields).map(([name, value]) => [
        name,
        lengths.includes(name) ? Math.ceil(Number(value) * share) : value,
      ]),
    ),
  }));
}
