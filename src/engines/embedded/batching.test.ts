/** Requests that share a batch do not touch each other's answers: the real engine with the model Berth ships. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type RunningEngine, startReadyEngine } from "../../../tools/tiny-gguf/start-engine.ts";

const starter = new URL("../../../starter/", import.meta.url).pathname;
const model = join(
  starter,
  "model",
  readdirSync(join(starter, "model")).find((name) => name.endsWith(".gguf")) ?? "",
);
/** Questions the model answers with certainty, so that no rounding can change a word; of many lengths. */
const questions = readFileSync(join(starter, "heldout.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as { kind: string; messages: unknown })
  .filter(({ kind }) => ["berth", "world", "common"].includes(kind));

const slots = 16;
let engine: RunningEngine;
beforeAll(async () => {
  engine = await startReadyEngine({ model, launch: { slots } });
});
afterAll(async () => {
  await engine?.stop();
});

async function answer(messages: unknown, scope: string): Promise<string> {
  const body = { model: "tiny", messages, temperature: 0, max_tokens: 60 };
  const { status, body: reply } = await engine.post("/v1/chat/completions", body, { scope });
  expect(status).toBe(200);
  return (reply as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}

it("answers each of many different questions as if it were alone", async () => {
  const alone: string[] = [];
  for (const { messages } of questions) alone.push(await answer(messages, "alone"));
  const together: string[] = [];
  const left = questions.entries();
  await Promise.all(
    Array.from({ length: slots }, async (_, worker) => {
      for (const [index, { messages }] of left) together[index] = await answer(messages, `worker ${worker}`);
    }),
  );
  expect(together).toEqual(alone);
});
