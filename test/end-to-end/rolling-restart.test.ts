/**
 * A restart of everything that serves, one part after another, under clients that never try again: a replaced engine costs
 * nobody anything, nor does a gateway that is renewed; one that is killed takes its own requests along, and refuses nobody.
 */
import { request } from "node:http";
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
}, 120_000);
afterAll(async () => await berth?.end());

const bothRun = () =>
  until("two instances", async () => {
    const { body } = await berth.call("GET", `/deploy/${id}`);
    return body.instances?.running === 2;
  });

/** whole: answered to the end; anything else is what was lost. */
type Outcome = "whole" | { readonly status: number; readonly text: string };

async function ask(stream: boolean): Promise<Outcome> {
  const response = await fetch(`${berth.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      ...{ model: "mine", stream, max_tokens: 40, temperature: 0 },
      messages: [{ role: "user", content: "Tell me a story about a fox." }],
    }),
  }).catch((error: Error) => error);
  if (response instanceof Error) return { status: 0, text: String(response.cause) };
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

test("the gateway is renewed on SIGHUP: no client notices", async () => {
  const load = startLoad();
  await served(load.outcomes, 8);
  const [old = 0] = berth.pids("gateway");
  const engines = berth.pids("engine");
  berth.process.kill("SIGHUP");
  await until("a successor alone", () => {
    const pids = berth.pids("gateway");
    return pids.length === 1 && pids[0] !== old;
  });
  await served(load.outcomes, 8);
  await load.end();
  expect(load.outcomes.filter((outcome) => outcome !== "whole")).toEqual([]);
  expect(berth.pids("engine")).toEqual(engines);
});

/** A request on a connection of its own: the status, or how the connection failed. */
function knock(): Promise<number | string> {
  return new Promise((resolve) => {
    request(`${berth.url}/readyz`, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end();
  });
}

test("the gateway is killed: whoever connects is served by the next one", async () => {
  const [old = 0] = berth.pids("gateway");
  const answers: (number | string)[] = [];
  let isOver = false;
  const clients = [1, 2, 3, 4].map(async () => {
    while (!isOver) answers.push(await knock());
  });
  await until("answers", () => answers.length > 20);
  process.kill(old, "SIGKILL");
  await until("another gateway", () => berth.pids("gateway").some((pid) => pid !== old));
  const whileStarting = knock();
  expect(await whileStarting).toBe(200);
  isOver = true;
  await Promise.all(clients);
  // What it had accepted went with it: at most one request a client.
  const lost = answers.filter((answer) => answer !== 200);
  expect(lost.length).toBeLessThanOrEqual(clients.length);
  expect(new Set(lost)).not.toContain("ECONNREFUSED");
  expect(new Set(lost)).not.toContain(503);
});
