/**
 * A restart of everything that serves, one part after another, under clients that never try again: neither a replaced
 * engine nor a replaced gateway costs anybody anything. A gateway that is killed loses only what it had begun.
 */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Berth, startBerth, token, until, untilStatus } from "../harness/berth.ts";

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
});
afterAll(async () => await berth?.end());

const bothRun = () =>
  until("two instances", async () => {
    const { body } = await berth.call("GET", `/deploy/${id}`);
    return body.instances?.running === 2;
  });

/** Answered to the end, or what was lost; status 0 when no answer began. */
type Outcome = "whole" | { readonly status: number; readonly text: string };

async function ask(stream: boolean): Promise<Outcome> {
  let failure = "";
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      ...{ model: "mine", stream, max_tokens: 40, temperature: 0 },
      messages: [{ role: "user", content: "Tell me a story about a fox." }],
    }),
  }).catch((error: unknown) => {
    failure = String((error as Error).cause ?? error);
    return null;
  });
  if (response === null) return { status: 0, text: failure };
  const text = await response.text().catch((error: unknown) => String(error));
  const isWhole = stream ? text.endsWith("data: [DONE]\n\n") : text.includes('"finish_reason"');
  const isGood = response.status === 200 && isWhole && !text.includes('"error"');
  return isGood ? "whole" : { status: response.status, text };
}

function startLoad() {
  let isOver = false;
  const outcomes: Outcome[] = [];
  const client = async (stream: boolean) => {
    while (!isOver) outcomes.push(await ask(stream));
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

test("the gateway is replaced, by itself and by a signal to Berth: no client notices", async () => {
  const load = startLoad();
  const engines = berth.pids("engine");
  for (const renew of [
    (old: number) => process.kill(old, "SIGTERM"),
    () => berth.process.kill("SIGUSR2"),
    () => berth.process.kill("SIGHUP"),
  ]) {
    await served(load.outcomes, 8);
    const [old = 0] = berth.pids("gateway");
    renew(old);
    await until("another gateway alone", () => {
      const now = berth.pids("gateway");
      return now.length === 1 && !now.includes(old);
    });
  }
  await served(load.outcomes, 8);
  await load.end();
  expect(load.outcomes.filter((outcome) => outcome !== "whole")).toEqual([]);
  expect(berth.pids("engine")).toEqual(engines);
  const begun = berth.output().match(/POST \/v1\/chat\/completions \d+|"isClientGone":\w+/g) ?? [];
  expect(begun.length).toBeGreaterThan(load.outcomes.length);
  expect(new Set(begun)).toEqual(new Set(["POST /v1/chat/completions 200", '"isClientGone":false']));
});

test("a gateway that is killed: who comes meanwhile waits and is served", async () => {
  const [old = 0] = berth.pids("gateway");
  process.kill(old, "SIGKILL");
  await until("its end", () => !berth.pids("gateway").includes(old));
  const statuses = await Promise.all(Array.from({ length: 100 }, freshReadiness));
  expect(new Set(statuses)).toEqual(new Set([200]));
});

/** Over a connection of its own. */
async function freshReadiness(): Promise<number | undefined> {
  const asked = request(`${berth.url}/readyz`, { agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}
