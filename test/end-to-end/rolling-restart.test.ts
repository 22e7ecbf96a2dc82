/**
 * A restart of everything that serves, one part after another, under clients that never try again: a replaced engine costs
 * nobody anything; a replaced gateway finishes what it has begun, and is away for a moment.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Berth, isReady, startBerth, token, until, untilStatus } from "../harness/berth.ts";

let berth: Berth;
let id = "";
beforeAll(async () => {
  berth = await startBerth({ env: { BERTH_STARTER: "off", BERTH_CPU_CONTEXT_MB: "64" } });
  const { body } = await berth.call("POST", "/deploy/llm", {
    model_name: "mine",
    gpu: "other",
    max_batch_size: 2,
    hf: { repo: "berth/starter" },
    settings: { min_instances: 2, max_instances: 2 },
    extra_args: ["--ctx-size", "512"],
  });
  id = body.deploy_id;
  await untilStatus(berth, id, "running");
  await bothRun();
}, 120_000);
afterAll(async () => await berth?.end());

const bothRun = () =>
  until("two instances", async () => {
    const { body } = await berth.call("GET", `/deploy/${id}`);
    return body.instances?.running === 2;
  });

/** whole: answered to the end; unreached: the connection failed before a byte came; anything else is what was lost. */
type Outcome = "whole" | "unreached" | { readonly status: number; readonly text: string };

async function ask(stream: boolean): Promise<Outcome> {
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      ...{ model: "mine", stream, max_tokens: 40, temperature: 0 },
      messages: [{ role: "user", content: "Tell me a story about a fox." }],
    }),
  }).catch(() => null);
  if (response === null) return "unreached";
  const text = await response.text().catch((error: unknown) => String(error));
  const isWhole = stream ? text.endsWith("data: [DONE]\n\n") : text.includes('"finish_reason"');
  const isGood = response.status === 200 && isWhole && !text.includes('"error"');
  return isGood ? "whole" : { status: response.status, text };
}

function startLoad() {
  let isOver = false;
  const outcomes: Outcome[] = [];
  const client = async (stream: boolean) => {
    while (!isOver) {
      const outcome = await ask(stream);
      outcomes.push(outcome);
      if (outcome === "unreached") await until("somebody at the port", () => isReady(berth.url));
    }
  };
  const clients = Promise.all([client(true), client(true), client(true), client(false)]);
  return {
    outcomes,
    async end() {
      isOver = true;
      await clients;
    },
  };
}

const served = (outcomes: readonly Outcome[], more: number) => {
  const before = outcomes.length;
  return until("more answers", () => outcomes.length >= before + more);
};

test("engines end one after another: no client notices", async () => {
  const load = startLoad();
  await served(load.outcomes, 8);
  for (const pid of berth.pids("engine")) {
    process.kill(pid, "SIGTERM");
    await until("another engine", () => {
      const now = berth.pids("engine");
      return now.length === 2 && !now.includes(pid);
    });
    await bothRun();
    await served(load.outcomes, 8);
  }
  await load.end();
  expect(load.outcomes.filter((outcome) => outcome !== "whole")).toEqual([]);
});

test("the gateway is replaced: what it has begun it finishes", async () => {
  const load = startLoad();
  await served(load.outcomes, 8);
  const [old = 0] = berth.pids("gateway");
  const engines = berth.pids("engine");
  process.kill(old, "SIGTERM");
  await until("another gateway", () => {
    const [now = old] = berth.pids("gateway");
    return now !== old;
  });
  await served(load.outcomes, 8);
  await load.end();
  // Between the two nobody is at the port: who comes then is turned away before anything of the request is read.
  expect(load.outcomes.filter((outcome) => outcome !== "whole" && outcome !== "unreached")).toEqual([]);
  expect(berth.pids("engine")).toEqual(engines);
  const begun = berth.output().match(/POST \/v1\/chat\/completions \d+|"isClientGone":\w+/g) ?? [];
  expect(begun.length).toBeGreaterThan(load.outcomes.length);
  expect(new Set(begun)).toEqual(new Set(["POST /v1/chat/completions 200", '"isClientGone":false']));
});
