/**
 * Whether the embedded engine's memory grows with the requests it has served: thousands of them with changing lengths, some
 * streamed, some given up half-way, some with a grammar or log probabilities, and after each part of them what the idle
 * process holds. `node bin/node.js bench/engines/memory-growth.ts [--requests 4000] [--model PATH]`
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type RunningEngine, startReadyEngine } from "../../tools/tiny-gguf/start-engine.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "4000" },
    model: {
      type: "string",
      default: new URL("../../starter/model/berth-starter-F16.gguf", import.meta.url).pathname,
    },
  },
});

const slots = 8;
/** Fewer: a slot whose client has left is free a moment later. */
const clients = 4;
const parts = 20;

/** The same numbers in each run. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 12 }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

function bodyOf(random: () => number): Record<string, unknown> {
  const words = 1 + Math.floor(random() ** 3 * 300);
  const content = Array.from({ length: words }, () => Math.floor(random() * 100)).join(" ");
  const kind = random();
  return {
    model: "ann/tiny",
    messages: [{ role: "user", content }],
    max_tokens: 1 + Math.floor(random() * 40),
    ...(kind < 0.1
      ? { response_format: { type: "json_schema", json_schema: { name: "p", schema } } }
      : kind < 0.2
        ? { logprobs: true, top_logprobs: 5 }
        : {}),
  };
}

async function ask(engine: RunningEngine, random: () => number): Promise<void> {
  const body = bodyOf(random);
  const scope = `account-${Math.floor(random() * 5)}`;
  const how = random();
  if (how < 0.5) {
    await engine.post("/v1/chat/completions", body, { scope });
    return;
  }
  const leaveAfter = how < 0.7 ? Math.floor(random() * 10) : Number.POSITIVE_INFINITY;
  const leaving = new AbortController();
  let seen = 0;
  try {
    for await (const _ of engine.stream("/v1/chat/completions", body, { scope, signal: leaving.signal })) {
      seen += 1;
      if (seen > leaveAfter) leaving.abort();
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
  }
}

function heldMib(pid: number, name: string): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) / 1024;
}

const engine = await startReadyEngine({
  model: values.model,
  launch: { slots, contextMemoryBytes: 512 * 2 ** 20 },
});
const pid = engine.child.pid ?? 0;
const random = createRandom(7);
const total = Number(values.requests);
const row = (done: number) =>
  console.log(
    `${String(done).padStart(7)} requests  ${heldMib(pid, "VmRSS").toFixed(0)} MiB resident, ${heldMib(pid, "RssAnon").toFixed(0)} MiB of it the process's own`,
  );
try {
  row(0);
  for (let part = 1; part <= parts; part += 1) {
    let left = Math.floor(total / parts);
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        await ask(engine, random);
      }
    };
    await Promise.all(Array.from({ length: clients }, worker));
    row(Math.floor((total / parts) * part));
  }
} finally {
  await engine.stop();
}
