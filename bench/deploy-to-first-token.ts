/**
 * From `POST /deploy/llm` of a cached model to its first streamed token, beside the same engine started by hand on the
 * same file and asked at once. The difference is Berth's share: API, plan, start, readiness, routing, proxy.
 *
 *   node bench/deploy-to-first-token.ts [rounds, default 11]
 *
 * Both ways alternate within one run, so that a machine whose speed drifts treats them alike; medians are compared.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEmbeddedEngine } from "../src/engines/embedded.ts";
import { startBerth, token, until } from "../test/harness/berth.ts";
import { starterFolder, starterGguf } from "../test/harness/weights.ts";

const rounds = Number(process.argv[2] ?? 11);
const limitMs = 300;
const question = { messages: [{ role: "user", content: "Hello!" }], temperature: 0, stream: true };
const now = () => performance.now();

type Target = {
  path: string;
  headers: Record<string, string>;
  socketPath?: string;
  host?: string;
  port?: string;
};

/** Milliseconds until the first event with content; null when the server refuses or is not there. */
async function firstToken(target: Target, body: object): Promise<number | null> {
  return await new Promise((resolve) => {
    const outgoing = request({ ...target, method: "POST" }, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        return resolve(null);
      }
      let text = "";
      response.on("data", (chunk) => {
        text += String(chunk);
        if (/"content":"[^"]/.test(text)) {
          resolve(now());
          response.destroy();
        }
      });
    });
    outgoing.on("error", () => resolve(null));
    outgoing.end(JSON.stringify(body));
  });
}

async function byHand(folder: string, round: number): Promise<number> {
  const engine = createEmbeddedEngine({
    nodePath: process.execPath,
    serverPath: new URL("../src/engines/embedded/server.ts", import.meta.url).pathname,
    contextMemoryBytes: 2 ** 30,
    threads: 0,
  });
  const secret = randomBytes(16).toString("hex");
  const endpoint = { kind: "unix" as const, path: join(folder, `${round}.sock`) };
  const launch = engine.launch({
    ...{ instanceId: "by-hand", snapshotPath: starterFolder, entryFile: starterGguf.split("/").at(-1) ?? "" },
    ...{
      servedNames: ["m"],
      maxBatchSize: 4,
      engineArgs: { standardArgs: {}, extraArgs: [] },
      endpoint,
      secret,
      placement: { node: "here", gpus: [] },
    },
  });
  const startedAt = now();
  for (const { name, content } of launch.files) writeFileSync(join(folder, name), content);
  const args = launch.args.map((arg) => arg.replaceAll("{dir}", folder));
  const child = spawn(launch.command, args, { stdio: "ignore", env: { ...process.env, ...launch.env } });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const target = {
    socketPath: endpoint.path,
    path: "/v1/chat/completions",
    headers: { authorization: `Bearer ${secret}` },
  };
  await until("the engine", async () => (await engine.probe(endpoint, secret, 1000)).state === "ready");
  const at = await firstToken(target, { model: "m", ...question });
  child.kill("SIGKILL");
  await exited;
  if (at === null) throw new Error("the engine started by hand gave no token");
  return at - startedAt;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const folder = mkdtempSync(join(tmpdir(), "berth-bench-"));
const berth = await startBerth({ env: { BERTH_STARTER: "off" } });
const { hostname: host, port } = new URL(berth.url);

async function throughBerth(): Promise<number> {
  const startedAt = now();
  const { body } = await berth.call("POST", "/deploy/llm", {
    model_name: "bench",
    gpu: "other",
    max_batch_size: 4,
    hf: { repo: "berth/starter" },
  });
  const target = { host, port, path: "/v1/chat/completions", headers: { authorization: `Bearer ${token}` } };
  // The gateway holds the request until the model is there; only a route that is not known yet is asked for again.
  const at = await until("the first token", () => firstToken(target, { model: "bench", ...question }));
  await berth.call("DELETE", `/deploy/${body.deploy_id}`);
  await until("no engine", () => berth.pids("engine").length === 0);
  return at - startedAt;
}

try {
  await throughBerth(); // fills the cache; not counted
  const hand: number[] = [];
  const through: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    hand.push(await byHand(folder, round));
    through.push(await throughBerth());
  }
  const share = median(through) - median(hand);
  const line = (name: string, values: number[]) =>
    `${name.padEnd(16)} median ${median(values).toFixed(0)} ms   min ${Math.min(...values).toFixed(0)}   max ${Math.max(...values).toFixed(0)}`;
  console.log(`${rounds} rounds, alternating`);
  console.log(line("by hand", hand));
  console.log(line("through Berth", through));
  console.log(`Berth's share    ${share.toFixed(0)} ms (bar: under ${limitMs} ms)`);
  process.exitCode = share < limitMs ? 0 : 1;
} finally {
  await berth.end();
  rmSync(folder, { recursive: true, force: true });
}
