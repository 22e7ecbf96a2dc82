/** The starter between one and two instances: the second comes with load and goes when it is not needed any more. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";

let berth: Berth;
let id = "";
beforeAll(async () => {
  berth = await startBerth({
    env: { BERTH_STARTER: "off", BERTH_CPU_CONTEXT_MB: "64", BERTH_SCALE_DOWN_S: "2" },
  });
  const { body } = await berth.call("POST", "/deploy/llm", {
    model_name: "mine",
    gpu: "other",
    max_batch_size: 1,
    hf: { repo: "berth/starter" },
    extra_args: ["--ctx-size", "512"],
    settings: { min_instances: 1, max_instances: 2 },
  });
  id = body.deploy_id;
  await untilStatus(berth, id, "running");
});
afterAll(() => berth?.end());

const running = async () =>
  ((await berth.call("GET", `/deploy/${id}`)).raw as { instances: { running: number } }).instances.running;

async function ask(): Promise<number> {
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      model: "mine",
      max_tokens: 16,
      messages: [{ role: "user", content: "Tell me a story about a fox." }],
    }),
  });
  await response.text();
  return response.status;
}

it("grows to its maximum under load, loses nothing, and shrinks to its minimum afterwards", async () => {
  let isOver = false;
  const answers: number[] = [];
  const client = async () => {
    while (!isOver) answers.push(await ask());
  };
  const clients = Promise.all([client(), client(), client()]);
  await until("two instances run", async () => (await running()) === 2);
  isOver = true;
  await clients;
  await until("one instance is left", async () => (await running()) === 1);
  expect(new Set(answers)).toEqual(new Set([200]));
  expect(await ask()).toBe(200);
});
