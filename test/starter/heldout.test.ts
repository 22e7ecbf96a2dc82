/**
 * What the model card of the starter promises: at temperature 0, through the real engine, at least 90 % of the held-out
 * questions of each kind are answered right. starter/README.md states the rules of each type of expectation.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Berth, startBerth, token } from "../harness/berth.ts";

type ToolCall = { readonly function: { readonly name: string; readonly arguments: string } };
type Expectation =
  | { readonly type: "exact"; readonly value: string }
  | { readonly type: "json"; readonly value: unknown }
  | { readonly type: "tool_call"; readonly name: string; readonly arguments: unknown }
  | { readonly type: "story"; readonly contains: readonly string[] };
type Row = {
  readonly kind: string;
  readonly messages: unknown;
  readonly tools?: unknown;
  readonly expect: Expectation;
};
type Reply = { readonly content: string | null; readonly tool_calls?: readonly ToolCall[] };

const rows = readFileSync(new URL("../../starter/heldout.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Row);
/** Requests at once: as many as the starter's slots take. */
const width = 8;

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth?.end());

async function ask({ messages, tools }: Row): Promise<{ reply: Reply; finish: string }> {
  const body = { model: "berth/starter", messages, tools, temperature: 0, max_tokens: 160 };
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { choices: { message: Reply; finish_reason: string }[] };
  const [choice] = answer.choices;
  if (choice === undefined) throw new Error(`no choice in ${JSON.stringify(answer)}`);
  return { reply: choice.message, finish: choice.finish_reason };
}

/** An answer that does not end by itself is wrong, whatever it says. */
function isRight({ reply, finish }: { reply: Reply; finish: string }, wanted: Expectation): boolean {
  if (finish === "length") return false;
  const text = (reply.content ?? "").trim();
  switch (wanted.type) {
    case "exact":
      return text === wanted.value;
    case "json":
      return isSame(parse(text), wanted.value);
    case "tool_call": {
      const [call, ...more] = reply.tool_calls ?? [];
      if (call === undefined || more.length > 0) return false;
      return call.function.name === wanted.name && isSame(parse(call.function.arguments), wanted.arguments);
    }
    case "story": {
      const sentences = text.split(/(?<=[.!?]) /);
      const areWhole = sentences.every((sentence) => /^[A-Z].*[.!?]$/s.test(sentence));
      const mentionsAll = wanted.contains.every((word) => text.toLowerCase().includes(word.toLowerCase()));
      return sentences.length >= 3 && areWhole && mentionsAll && text.endsWith("The end.");
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // an answer that is no JSON is a wrong answer
  }
}

/** The same JSON value, whatever the order of keys. */
function isSame(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sorted)
      : typeof value === "object" && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .sort()
              .map(([key, item]) => [key, sorted(item)]),
          )
        : value;
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

async function countRight(asked: readonly Row[]): Promise<number> {
  const left = asked.values();
  let right = 0;
  const worker = async () => {
    for (const row of left) if (isRight(await ask(row), row.expect)) right += 1;
  };
  await Promise.all(Array.from({ length: width }, worker));
  return right;
}

describe("held-out questions", () => {
  it.each([...Map.groupBy(rows, (row) => row.kind)])("%s: 90 % are right", async (_, asked) => {
    expect(asked.length).toBeGreaterThanOrEqual(25);
    expect((await countRight(asked)) / asked.length).toBeGreaterThanOrEqual(0.9);
  });
});
